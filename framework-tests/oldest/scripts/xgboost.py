import os

import numpy
import xgboost

data = xgboost.DMatrix(numpy.random.default_rng(0).random((100, 3)), numpy.arange(100) % 2)
booster = xgboost.train({"nthread": 1}, data, 2)
booster.save_model("model.json")
os.mkdir("rounds")
for as_pickle in (False, True):
    rounds = xgboost.callback.TrainingCheckPoint("rounds", name=f"pickled-{as_pickle}", as_pickle=as_pickle)
    xgboost.train({"nthread": 1}, data, 2, callbacks=[rounds])
