"""What the guides say can be used: manifests parse and fit together, scripts are scripts, settings exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Keys

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs/guide").glob("*.md"))
WELL_KNOWN = "/var/run/secrets/model-signing/token"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def manifests(page: Path) -> list[dict[str, Any]]:
    return [one for block in blocks(page, "yaml") for one in yaml.safe_load_all(block)]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_blocks_are_what_they_say(page: Path) -> None:
    for language in ("yaml", "json", "python", "sh", "bash"):
        for block in blocks(page, language):
            if language == "yaml":
                assert all(yaml.safe_load_all(block))
            elif language == "json":
                json.loads(block)
            elif language == "python":
                compile(block, page.name, "exec")
            else:
                subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "docs/concepts/identity.md"], ids=lambda page: page.stem)
def test_settings_exist(page: Path) -> None:
    reference = (ROOT / "docs/reference/environment.md").read_text()
    for name in set(re.findall(r"\bMODEL_SIGNING_[A-Z_]+\b", page.read_text())):
        assert f"`{name}`" in reference, name


def test_every_source_is_explained() -> None:
    listed = (ROOT / "docs/reference/environment.md").read_text()
    (names,) = re.findall(r"`auto, or a list of ([a-z, -]+)`|auto, or a list of ([a-z, -]+) \|", listed)
    page = (ROOT / "docs/concepts/identity.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert rows == [name.strip() for name in "".join(names).split(",")]


def test_the_job_finds_the_token_that_kubernetes_projects() -> None:
    account, job, flush, role, binding = manifests(ROOT / "docs/guide/kubernetes.md")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == set(volumes)
    (source,) = volumes["signing"]["projected"]["sources"]
    token = source["serviceAccountToken"]
    assert token["audience"] == "sigstore"
    assert token["expirationSeconds"] >= 600, "Kubernetes takes no less"
    assert f"{mounts['signing']}/{token['path']}" == WELL_KNOWN
    assert WELL_KNOWN in (ROOT / "core/signing/src/identity/kubernetes.rs").read_text()

    name, namespace = account["metadata"]["name"], account["metadata"]["namespace"]
    assert pod["serviceAccountName"] == name
    assert job["metadata"]["namespace"] == namespace
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    expected = f"https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{name}"
    assert variables["MODEL_SIGNING_EXPECT_IDENTITY"] == expected
    assert variables["MODEL_SIGNING_SPOOL"].startswith(f"{mounts['checkpoints']}/")

    # A flush has all that the job has: the paths in the records are the job's.
    flushing = flush["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (other,) = flushing["containers"]
    assert (other["env"], other["volumeMounts"]) == (container["env"], container["volumeMounts"])
    assert (flushing["volumes"], flushing["serviceAccountName"]) == (pod["volumes"], name)
    assert flush["metadata"]["namespace"] == namespace

    (rule,) = role["rules"]
    assert (rule["resources"], rule["verbs"], rule["resourceNames"]) == (["serviceaccounts/token"], ["create"], [name])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]


SAVE = """
import model_signing.autosign
import numpy, safetensors.numpy
safetensors.numpy.save_file({"w": numpy.arange(3)}, "last.safetensors")
"""


def test_what_a_dead_pod_could_not_sign_the_cron_job_signs(tmp_path: Path, keys: Keys) -> None:
    _, job, flush, *_ = manifests(ROOT / "docs/guide/kubernetes.md")
    volume, key = tmp_path / "checkpoints", tmp_path / "key.pem"
    volume.mkdir()

    def run(command: list[str], pod: dict[str, Any], home: str, code: int) -> str:
        (container,) = pod["spec"]["containers"]
        settings = {one["name"]: one["value"].replace("/checkpoints", str(volume)) for one in container["env"]}
        del settings["MODEL_SIGNING_EXPECT_IDENTITY"]  # here a key stands for it, which is not there at first
        (tmp_path / home).mkdir()
        settings |= {"MODEL_SIGNING_PRIVATE_KEY": str(key), "HOME": str(tmp_path / home)}
        settings["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        ran = subprocess.run(command, cwd=volume, env=settings, capture_output=True, text=True, check=False)
        assert ran.returncode == code, ran.stderr
        return ran.stdout + ran.stderr

    run([sys.executable, "-c", SAVE], job["spec"]["template"], "first", 0)
    (flushing,) = flush["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    template = flush["spec"]["jobTemplate"]["spec"]["template"]
    assert "1 left" in run(flushing["command"], template, "second", 1)
    key.write_bytes(keys.private.read_bytes())
    assert "1 signed, 0 left" in run(flushing["command"], template, "third", 0)
    assert model_signing_autosign.verify(volume / "last.safetensors", public_key=keys.public) == ["last.safetensors"]


def test_every_page_on_machines_that_go_names_a_spool_that_stays() -> None:
    for name in ("kubernetes", "slurm", "cloud-training"):
        assert "MODEL_SIGNING_SPOOL" in (ROOT / f"docs/guide/{name}.md").read_text(), name
    vertex, sagemaker = (ROOT / "docs/guide/cloud-training.md").read_text().split("## SageMaker")
    assert "MODEL_SIGNING_SPOOL" in sagemaker
    assert "value: /mnt/nfs/checkpoints/.spool" in vertex


def test_the_messages_of_the_page_are_ours() -> None:
    """Each is in the sources of the core, but for the names in it."""
    page = (ROOT / "docs/guide/verify.md").read_text().split("## By message")[1]
    messages = re.findall(r"^\| (`.*?`(?:, and `.*?`)?) \|", page, re.MULTILINE)
    source = "".join(path.read_text() for path in (ROOT / "core").glob("*/src/**/*.rs"))
    assert len(messages) > 10
    for message in [one for row in messages for one in re.findall("`(.*?)`", row)]:
        for part in re.split(r'"\w+(?:\.\w+)?"|\bX\b|\bY\b|: |\.\.\.', message):
            assert part.strip(" ,") in source, part


SRUN = """#!/bin/bash
exec "$@"
"""
# Runs what it is given at once; prints the number of the job.
SBATCH = """#!/bin/bash
for argument in "$@"; do
    case $argument in --wrap=*) exec bash -c "${argument#--wrap=}" ;; esac
done
SLURM_JOB_ID=8 bash "${@: -1}" >&2 && echo 8
"""
TRAIN = """
import sys
import model_signing.autosign as autosign
import numpy, safetensors.numpy
for index in range(3):
    safetensors.numpy.save_file({"w": numpy.arange(index + 1)}, f"{index}.safetensors")
status = autosign.flush()
assert (status.spooled, status.signed, status.failed) == (3, 0, 0), status
"""


def test_nodes_without_an_identity_hash_and_the_login_node_signs(tmp_path: Path, keys: Keys) -> None:
    page = ROOT / "docs/guide/slurm.md"
    (job,) = blocks(page, "bash")
    flush, chained, *_ = blocks(page, "sh")
    for name, text in {"srun": SRUN, "sbatch": SBATCH, "train.sh": job, "train.py": TRAIN}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".keys").mkdir()
    (tmp_path / ".keys/training.pem").write_bytes(keys.private.read_bytes())
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    node = {"PATH": path, "HOME": str(tmp_path), "SCRATCH": str(tmp_path / "scratch"), "SLURM_JOB_ID": "7"}

    def run(script: str, **variables: str) -> str:
        command = ["bash", "-ec", script]
        ran = subprocess.run(command, cwd=tmp_path, env=node | variables, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout + ran.stderr

    def signed() -> int:
        models = [model for model in tmp_path.glob("*.safetensors") if model.with_name(f"{model.name}.sig").exists()]
        return sum(len(model_signing_autosign.verify(model, public_key=keys.public)) for model in models)

    assert "3 hashed, to be signed by" in run(job)
    assert signed() == 0
    # Whoever flushes has a token there, or, as here, a key.
    assert "3 signed, 0 left" in run(flush, MODEL_SIGNING_PRIVATE_KEY=str(keys.private))
    assert signed() == 3

    for signature in tmp_path.glob("*.sig"):
        signature.unlink()
    assert "3 signed, 0 left" in run(chained)
    assert signed() == 3


def test_a_workflow_may_ask_for_a_token() -> None:
    (workflow,) = manifests(ROOT / "docs/guide/github-actions.md")
    assert workflow["permissions"]["id-token"] == "write"


def test_nothing_is_installed_that_is_not_released() -> None:
    """Once there is a release this is turned round: `pip install .` then goes."""
    for page in [ROOT / "README.md", *GUIDES]:
        assert not re.search(r"pip install (-\S+ )*model-signing", page.read_text()), page
