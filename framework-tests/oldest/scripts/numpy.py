import numpy

numpy.savez("arrays", w=numpy.arange(9.0))
numpy.savez_compressed("compressed.npz", w=numpy.arange(9.0))
