import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

weights = numpy_helper.from_array(numpy.arange(2000, dtype="float32").reshape(1, 2000), "w")
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2000])
graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", [x], [y], [weights])
model = helper.make_model(graph)
onnx.save(model, "model.onnx")
onnx.save_tensor(weights, "w.pb")
onnx.shape_inference.infer_shapes_path("model.onnx", "inferred.onnx")
onnx.save(model, "large.onnx", save_as_external_data=True, location="large.data")
