"""A training job finds its own identity, signs as nobody else, and leaves no secret behind."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = Path(sys.executable).with_name("model-signing")
WORKFLOW = "https://github.com/acme/train/.github/workflows/t.yml@refs/heads/main"
SERVICE_ACCOUNT = "trainer@proj.iam.gserviceaccount.com"
TRAIN = """
import model_signing.autosign
import torch

torch.save({"weights": torch.ones(3)}, "last.pt")
print("trained")
"""


class Job:
    """A training job: its folder, what its platform puts into the environment, and what it left."""

    def __init__(self, folder: Path, run: Callable[..., str], stack: Any) -> None:
        self.folder, self.ran, self.stack, self.said = folder, run, stack, ""
        self.model = folder / "last.pt"
        (folder / "train.py").write_text(TRAIN)

    def train(self, **variables: str | Path) -> str:
        settings = {"MODEL_SIGNING_TRUST_CONFIG": self.stack.trust_config, "HOME": self.folder / "home"}
        self.said = self.ran(sys.executable, "train.py", cwd=self.folder, **settings | variables)
        assert "trained" in self.said
        return self.said

    def github(self, secret: str = "RUNNER") -> dict[str, str]:  # noqa: S107
        url = f"{self.stack.issuer}/github/runner/token?api-version=2.0"
        names = {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": secret}
        return names | {"GITHUB_ACTIONS": "true"}

    def gcp(self) -> dict[str, str]:
        return {"GCE_METADATA_HOST": self.stack.issuer.removeprefix("http://")}

    def is_signed_by(self, identity: str, issuer: str) -> bool:
        given = ["--identity", identity, "--identity-provider", self.stack.provider(issuer)]
        trust = ["--trust-config", self.stack.trust_config]
        return "Verification succeeded" in self.ran(OURS, "verify", self.model, *given, *trust)

    def left(self) -> str:
        """Everything that it said or wrote."""
        files = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        names = [str(path) for path in self.folder.rglob("*")]
        return self.said + "".join(names) + b"".join(files).decode("latin-1")


@pytest.fixture
def job(tmp_path: Path, run: Callable[..., str], stack: Any) -> Job:
    return Job(tmp_path, run, stack)


def test_a_job_signs_with_what_its_platform_gives(job: Job) -> None:
    job.train(**job.github())
    assert job.is_signed_by(WORKFLOW, "github")


def test_the_first_that_works_is_taken_in_the_order_asked_for(job: Job) -> None:
    job.train(**job.github(secret="wrong"), **job.gcp())  # noqa: S106
    assert job.is_signed_by(SERVICE_ACCOUNT, "gcp")
    job.train(**job.github(), **job.gcp(), MODEL_SIGNING_CREDENTIALS="gcp,github")
    assert job.is_signed_by(SERVICE_ACCOUNT, "gcp")
    job.train(**job.github(), **job.gcp(), MODEL_SIGNING_CREDENTIALS="-gcp")
    assert job.is_signed_by(WORKFLOW, "github")


def test_a_job_signs_as_nobody_else(job: Job) -> None:
    expected = {"MODEL_SIGNING_EXPECT_IDENTITY": "glob:https://github.com/acme/**"}
    said = job.train(**job.gcp(), **expected)
    assert f"would sign as {SERVICE_ACCOUNT}" in said
    assert not job.model.with_name("last.pt.sig").exists()
    job.train(**job.gcp(), **job.github(), **expected)
    assert job.is_signed_by(WORKFLOW, "github")


def test_a_token_that_cannot_be_renewed_is_told_at_the_start(job: Job) -> None:
    said = job.train(SIGSTORE_ID_TOKEN=job.stack.token("email"))
    assert "cannot be renewed: it covers signing until 20" in said
    said = job.train(MODEL_SIGNING_IDENTITY_TOKEN_FILE=job.stack.token_file)
    assert "renewed" not in said


def test_a_slip_in_a_setting_is_told(job: Job) -> None:
    said = job.train(**job.github(), MODEL_SIGNING_EXPECTED_IDENTITY="somebody")
    assert "did you mean MODEL_SIGNING_EXPECT_IDENTITY?" in said
    assert job.is_signed_by(WORKFLOW, "github")


def test_a_command_of_the_site(job: Job) -> None:
    script = job.folder / "site token.sh"
    script.write_text(f'#!/bin/sh\necho \'{{"token": "{job.stack.token("email")}"}}\'\n')
    script.chmod(0o755)
    job.train(MODEL_SIGNING_IDENTITY_TOKEN_COMMAND=f"'{script}'")
    assert job.is_signed_by("alice@example.test", "email")


@pytest.mark.parametrize("fault", ["none", "refused", "for another audience", "expired"])
def test_a_run_leaves_no_secret_behind(job: Job, fault: str) -> None:
    secrets = {"password": "open-sesame-0001", "headers": "open-sesame-0002", "runner": "open-sesame-0003"}
    token = {
        "none": lambda: job.stack.token("email"),
        "refused": lambda: job.stack.token("email", "?key=unknown"),
        "for another audience": lambda: job.stack.token("email", aud="sts.amazonaws.com"),
        "expired": lambda: job.stack.token("email", "?ttl=-60"),
    }[fault]()
    said = job.train(
        MODEL_SIGNING_IDENTITY_TOKEN=token,
        MODEL_SIGNING_PASSWORD=secrets["password"],
        MODEL_SIGNING_IDENTITY_TOKEN_URL=f"{job.stack.issuer}/no/such/service",
        MODEL_SIGNING_IDENTITY_TOKEN_HEADERS=f"X-Secret: {secrets['headers']}",
        MODEL_SIGNING_LOG_LEVEL="debug",
        MODEL_SIGNING_CREDENTIALS="github,http,env",
        **job.github(secrets["runner"]),
    )
    assert ("is not signed" in said) == (fault != "none")
    left = job.left()
    assert [name for name, secret in secrets.items() if secret in left] == []
    assert token not in left
    # A signature holds "eyJ" of its own, since its payload is JSON in base64; nothing else does.
    job.model.with_name("last.pt.sig").unlink(missing_ok=True)
    assert "eyJ" not in job.left()


def test_the_slurm_guide(job: Job) -> None:
    """What a job without an identity saved, somebody signs from the login node."""
    page = (Path(__file__).parents[2] / "docs/guide/slurm.md").read_text()
    script = re.search(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    login = re.search(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert script
    assert login
    tools = job.folder / "tools"
    tools.mkdir()
    token = shlex.quote(job.stack.token("email"))
    for name, script_of in {
        "srun": 'exec "$@"',
        "oidc-token": f'[ "$*" = "--aud=sigstore site" ] && echo {token}',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script_of}\n")
        (tools / name).chmod(0o755)
    settings = {
        "PATH": f"{tools}:{OURS.parent}:/usr/bin:/bin",
        "HOME": job.folder / "home",
        "SCRATCH": job.folder / "scratch",
        "SLURM_JOB_ID": "42",
    }
    said = job.ran("bash", "-c", script[1], cwd=job.folder, **settings)
    assert said.startswith("trained\n")
    assert "1 hashed, to be signed by `model-signing flush " in said
    signature = job.model.with_name("last.pt.sig")
    assert not signature.exists()

    (job.folder / "home").mkdir(exist_ok=True)
    shutil.copy(job.stack.trust_config, job.folder / "home/trust_config.json")
    said = job.ran("bash", "-c", login[1], cwd=job.folder, **settings)
    assert "signed" in said, said
    assert job.is_signed_by("alice@example.test", "email")


def doctor(job: Job, *options: str, code: int = 0, **variables: str | Path) -> str:
    settings = {"MODEL_SIGNING_TRUST_CONFIG": job.stack.trust_config, "HOME": job.folder / "home"}
    return job.ran(OURS, "doctor", *options, code=code, cwd=job.folder, **settings | variables)


def test_the_doctor_says_who_would_sign(job: Job) -> None:
    said = doctor(job, "--fetch", **job.github())
    assert "hooked   safetensors 0." in said
    assert "github            found: GITHUB_ACTIONS is set" in said
    assert "gitlab            not here: GITLAB_CI is not true" in said
    assert f"signs as {WORKFLOW}" in said
    assert f"certificates {job.stack.trust('caUrls')} ok, " in said
    assert said.startswith("verdict  ready to sign\n")
    report = json.loads(doctor(job, "--sign-test", "--json", **job.github()))
    assert report["ready"]
    assert report["token"] is None
    assert {service["kind"] for service in report["services"]} == {"certificates", "log", "timestamps", "login"}
    assert all(abs(service["clock_ahead"] or 0) <= 1 for service in report["services"])


def test_the_doctor_says_what_is_in_the_way(job: Job) -> None:
    nobody = {"MODEL_SIGNING_CREDENTIALS": "github"}
    assert "obstacle there is no identity token" in doctor(job, code=1, **nobody)
    assert "expired" in doctor(job, "--fetch", code=1, SIGSTORE_ID_TOKEN=job.stack.token("email", "?ttl=-60"))
    expected = {"MODEL_SIGNING_EXPECT_IDENTITY": "somebody"}
    assert f"would sign as {WORKFLOW}" in doctor(job, "--fetch", code=1, **job.github(), **expected)
    assert "400" in doctor(job, "--sign-test", code=1, SIGSTORE_ID_TOKEN=job.stack.token("email", "?key=unknown"))
    assert "MODEL_SIGNING_MODE is " in doctor(job, code=2, **job.github(), MODEL_SIGNING_MODE="often")
    assert "did you mean MODEL_SIGNING_MODE?" in doctor(job, **job.github(), MODEL_SIGNING_MODES="inline")

    trust = json.loads(job.stack.trust_config.read_text())
    trust["signingConfig"]["caUrls"][0]["url"] = "http://127.0.0.1:9"
    dead = job.folder / "trust.json"
    dead.write_text(json.dumps(trust))
    said = doctor(job, code=1, **job.github(), MODEL_SIGNING_TRUST_CONFIG=dead)
    assert "obstacle certificates at http://127.0.0.1:9 cannot be used" in said


def test_the_doctor_shows_no_secret(job: Job) -> None:
    token = job.stack.token("email")
    said = doctor(job, "--fetch", "--json", MODEL_SIGNING_IDENTITY_TOKEN=token, MODEL_SIGNING_PASSWORD="sesame")  # noqa: S106
    assert token not in said
    assert "sesame" not in said


def test_the_doctor_of_a_key(job: Job) -> None:
    job.ran(OURS, "keygen", job.folder / "key")
    key = {"MODEL_SIGNING_PRIVATE_KEY": job.folder / "key.pem"}
    assert doctor(job, **key).startswith("verdict  ready to sign\n")
    (job.folder / "key.pem").write_text("no key")
    assert "obstacle" in doctor(job, code=1, **key)
    script = """if True:
        import model_signing_autosign
        report = model_signing_autosign.doctor()
        print(report["ready"], report["method"], "safetensors" in [hook["name"] for hook in report["hooked"]])
    """
    assert job.ran(sys.executable, "-c", script, **key) == "False key True\n"
