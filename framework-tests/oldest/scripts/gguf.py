import numpy
from gguf import GGUFWriter

writer = GGUFWriter("model.gguf", "gpt2")
writer.add_tensor("w", numpy.arange(9.0, dtype="float32"))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
