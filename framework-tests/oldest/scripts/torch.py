import torch
from torch.package import PackageExporter


class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


x = torch.zeros(2)
torch.save({"w": x}, "zip.pt")
torch.save({"w": x}, "legacy.pt", _use_new_zipfile_serialization=False)
torch.jit.script(Model()).save("scripted.pt")
torch.jit.trace(Model(), x).save("traced.pt")
torch.jit.save(torch.jit.script(Model()), "saved.pt")
torch.onnx.export(Model(), (x,), "model.onnx")
with PackageExporter("package.pt") as exporter:
    exporter.save_pickle("tensors", "w.pkl", {"w": x})
