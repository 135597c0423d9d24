from pathlib import Path

import mlflow

Path("model.bin").write_bytes(b"weights")
autosign.sign("model.bin")  # noqa: F821 - our package is there
mlflow.set_tracking_uri(Path("../runs").resolve().as_uri())
with mlflow.start_run() as run:
    mlflow.log_artifact("model.bin", "file")
    mlflow.log_artifacts(".", "folder")
    mlflow.pyfunc.log_model("model", python_model=mlflow.pyfunc.PythonModel(), pip_requirements=[])
stored = Path(run.info.artifact_uri.removeprefix("file://"))
assert {str(path.relative_to(stored)) for path in stored.rglob("*.sig")} == {
    "file/model.bin.sig",
    "folder/model.bin.sig",
    "model/model.sig",
}
