import lightgbm
import numpy

data, labels = numpy.random.default_rng(0).random((100, 3)), numpy.arange(100) % 2
options = {"objective": "binary", "verbosity": -1, "num_threads": 1}
lightgbm.train(options, lightgbm.Dataset(data, labels), 2).save_model("model.txt")
folds = lightgbm.cv(options, lightgbm.Dataset(data, labels), 2, stratified=False, return_cvbooster=True)
folds["cvbooster"].save_model("folds.json")
