import copy
import os

import numpy
import tf_keras

model = tf_keras.Sequential([tf_keras.Input((2,)), tf_keras.layers.Dense(1)])
model.compile(loss="mse")
data = numpy.zeros((4, 2)), numpy.zeros((4, 1))
model.fit(*data, verbose=0, callbacks=[tf_keras.callbacks.ModelCheckpoint("checkpoint.keras")])
for name in ("model.keras", "model.h5", "model"):
    model.save(name)
for name in ("model.weights.h5", "older.h5", "weights"):
    model.save_weights(name)
model.export("exported")
copy.deepcopy(model)
os.remove("checkpoint")  # names the newest, and is part of none
