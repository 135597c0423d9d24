"""What the guides say can be used: manifests parse and fit together, scripts are scripts, settings exist."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    account, job, role, binding = manifests(ROOT / "docs/guide/kubernetes.md")
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

    (rule,) = role["rules"]
    assert (rule["resources"], rule["verbs"], rule["resourceNames"]) == (["serviceaccounts/token"], ["create"], [name])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]


def test_a_workflow_may_ask_for_a_token() -> None:
    (workflow,) = manifests(ROOT / "docs/guide/github-actions.md")
    assert workflow["permissions"]["id-token"] == "write"
