import numpy
from safetensors.numpy import save_file

save_file({"w": numpy.arange(9.0)}, "model.safetensors")
