import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy

model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile(loss="mse")
data = numpy.zeros((4, 2)), numpy.zeros((4, 1))
model.fit(*data, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint("checkpoint.keras")])
model.save("model.keras")
model.save("model.h5")
model.save_weights("model.weights.h5")
model.export("exported")
