"""save_pretrained of transformers, peft and diffusers: one signature for the folder, and else as without us."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import peft
import pytest
import torch
import transformers
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from model_signing_autosign import _core, _patch, frameworks
from transformers import GPT2Config, GPT2LMHeadModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

pytestmark = [
    pytest.mark.usefixtures("autosign"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # peft asks for it
]
PATCHES = list(frameworks.patches(["transformers", "peft", "diffusers"]))


def function_of(patch: Any) -> Any:
    importlib.import_module(patch.module)
    owner, name = _patch._lookup(patch.names[0])  # type: ignore[misc]
    return vars(owner)[name]


@pytest.fixture
def unet() -> UNet2DModel:
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    return UNet2DModel(sample_size=8, in_channels=1, out_channels=1, norm_num_groups=4, layers_per_block=1, **blocks)


@pytest.fixture
def lora(gpt2: Any) -> Any:
    return peft.get_peft_model(gpt2, peft.LoraConfig(r=2, task_type="CAUSAL_LM", fan_in_fan_out=True))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.names[0].rpartition(":")[2])
def test_functions_look_as_before(patch: Any) -> None:
    wrapped = function_of(patch)
    original = wrapped.__wrapped__
    assert inspect.signature(wrapped) == inspect.signature(original)
    assert (wrapped.__qualname__, wrapped.__module__, wrapped.__doc__) == (
        original.__qualname__,
        original.__module__,
        original.__doc__,
    )
    if wrapped.__module__ == patch.module:  # else it is bound in a class, and was no more to be pickled before
        assert pickle.loads(pickle.dumps(wrapped)) is wrapped
    model_signing_autosign.disable()
    assert function_of(patch) is original


def test_model(gpt2: Any, tmp_path: Path, autosign: ModuleType, is_signed: Callable[[Path], bool]) -> None:
    before = autosign.flush().signed
    assert gpt2.save_pretrained(tmp_path / "a") is None
    assert is_signed(tmp_path / "a")
    assert autosign.flush().signed == before + 1
    assert [path.name for path in tmp_path.rglob("*.sig")] == ["model.sig"]
    gpt2.save_pretrained(save_directory=str(tmp_path / "b"))
    assert is_signed(tmp_path / "b")
    model_signing_autosign.disable()
    gpt2.save_pretrained(tmp_path / "c")
    assert not is_signed(tmp_path / "c")
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path / "a")
    assert all(torch.equal(left, right) for left, right in zip(loaded.parameters(), gpt2.parameters(), strict=True))


def test_shards(gpt2: Any, tmp_path: Path, is_signed: Callable[[Path], bool], keys: Any, autosign: ModuleType) -> None:
    folder = tmp_path / "model"
    gpt2.save_pretrained(folder, max_shard_size="10KB")
    assert is_signed(folder)
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    names = autosign.verify(folder, public_key=keys.public)
    assert names == sorted([*shards, "config.json", "generation_config.json", "model.safetensors.index.json"])
    GPT2LMHeadModel.from_pretrained(folder)
    gpt2.save_pretrained(folder, max_shard_size="20KB")  # fewer, and the old ones are deleted
    assert len(list(folder.glob("model-*.safetensors"))) < len(shards)
    assert is_signed(folder)


def test_an_index_and_its_shards(
    gpt2: Any, tmp_path: Path, is_signed: Callable[[Path], bool], keys: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, index = tmp_path / "model", "model.safetensors.index.json"
    gpt2.save_pretrained(folder, max_shard_size="10KB")
    assert is_signed(folder)
    assert "not there" not in capfd.readouterr().err
    first, *more = sorted(path.name for path in folder.glob("model-*.safetensors"))
    sign = ["model-signing", "sign", "key", str(folder), "--signature", str(tmp_path / "x.sig")]
    sign += ["--private-key", str(keys.private)]
    assert _core.run([*sign, "--ignore-paths", str(folder / first)]) == 1
    assert f'the index "{index}" names "{first}", which is not signed' in capfd.readouterr().err
    gpt2.save_pretrained(folder)  # in one file, and the index of the shards stays
    assert (folder / index).exists()
    assert is_signed(folder)
    assert f'but "{index}" names "{first}" (and {len(more)} more) that is not there' in capfd.readouterr().err
    GPT2LMHeadModel.from_pretrained(folder)


def test_tokenizer_into_the_folder_of_a_model(
    gpt2: Any, tokenizer: Any, tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]
) -> None:
    gpt2.save_pretrained(tmp_path / "model")
    names = tokenizer.save_pretrained(tmp_path / "model")
    assert [os.path.basename(name) for name in names][-1] == "tokenizer.json"
    assert is_signed(tmp_path / "model")
    gpt2.config.save_pretrained(tmp_path / "model")
    gpt2.generation_config.save_pretrained(tmp_path / "model")
    assert is_signed(tmp_path / "model")
    assert signatures() == ["model/model.sig"]


def test_all_that_belongs_to_a_model(
    gpt2: Any, tokenizer: Any, tmp_path: Path, signatures: Callable[[], list[str]], is_signed: Callable[[Path], bool]
) -> None:
    saves: dict[str, Callable[[Path], Any]] = {
        "config": GPT2Config().save_pretrained,
        "extractor": transformers.Wav2Vec2FeatureExtractor().save_pretrained,
        "generation": transformers.GenerationConfig().save_pretrained,
        "images": transformers.ViTImageProcessorPil().save_pretrained,
        "pipeline": transformers.pipeline("text-generation", model=gpt2, tokenizer=tokenizer).save_pretrained,
        "processor": transformers.Wav2Vec2Processor(transformers.Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained,
        "rag": transformers.RagTokenizer(tokenizer, tokenizer).save_pretrained,
        "tokenizer": tokenizer.save_pretrained,
    }
    for name, save in saves.items():
        save(tmp_path / name)
    assert signatures() == [f"{name}/model.sig" for name in saves]
    assert all(is_signed(tmp_path / name) for name in saves)


def test_not_on_this_rank(gpt2: Any, lora: Any, unet: Any, signatures: Callable[[], list[str]], tmp_path: Path) -> None:
    gpt2.save_pretrained(tmp_path / "a", is_main_process=False)
    lora.save_pretrained(tmp_path / "b", is_main_process=False)
    unet.save_pretrained(tmp_path / "c", False)
    assert signatures() == []


def test_a_file_in_the_way(gpt2: Any, unet: Any, signatures: Callable[[], list[str]], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not theirs")
    assert gpt2.save_pretrained(file) is None  # only a line in the log
    assert unet.save_pretrained(file) is None
    with pytest.raises(AssertionError, match="should be a directory"):
        gpt2.config.save_pretrained(file)
    assert signatures() == []
    assert file.read_text() == "not theirs"


@pytest.mark.parametrize("kind", ["gpt2", "lora", "unet"])
def test_failing_save(
    kind: str, request: pytest.FixtureRequest, signatures: Callable[[], list[str]], tmp_path: Path
) -> None:
    model, outcomes = request.getfixturevalue(kind), []
    model.to("meta")  # has no bytes
    for name in ("with", "without"):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
            model.save_pretrained(str(tmp_path / name), save_embedding_layers=True) if kind == "lora" else (
                model.save_pretrained(str(tmp_path / name))
            )
        names = sorted(path.name for path in (tmp_path / name).iterdir())
        outcomes.append((caught.type, str(caught.value).replace(name, ""), names))
        model_signing_autosign.disable()
    assert outcomes[0] == outcomes[1]
    assert signatures() == []


def test_adapters(
    lora: Any, tmp_path: Path, signatures: Callable[[], list[str]], is_signed: Callable[..., bool]
) -> None:
    lora.add_adapter("second", peft.LoraConfig(r=2, task_type="CAUSAL_LM", fan_in_fan_out=True))
    lora.save_pretrained(str(tmp_path / "adapters"))
    assert (tmp_path / "adapters" / "second" / "adapter_model.safetensors").exists()
    lora.peft_config["default"].save_pretrained(str(tmp_path / "config"))
    assert signatures() == ["adapters/model.sig", "config/model.sig"]
    assert is_signed(tmp_path / "adapters")
    base = GPT2LMHeadModel(lora.get_base_model().config)
    peft.PeftModel.from_pretrained(base, str(tmp_path / "adapters"))


def test_adapters_trained(
    lora: Any, make_trainer: Callable[..., Any], signatures: Callable[[], list[str]], tmp_path: Path, keys: Any
) -> None:
    make_trainer(lora).train()
    trainer = make_trainer(lora, max_steps=3)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert signatures() == [f"run/checkpoint-{step}/model.sig" for step in (1, 2, 3)]
    for step in (1, 2, 3):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        names = model_signing_autosign.verify(folder, public_key=keys.public)
        assert {"adapter_config.json", "adapter_model.safetensors", "optimizer.pt", "README.md"} < set(names)


def test_diffusers(unet: Any, tmp_path: Path, signatures: Callable[[], list[str]], keys: Any) -> None:
    unet.save_pretrained(tmp_path / "model", max_shard_size="20KB")
    assert (tmp_path / "model" / "diffusion_pytorch_model.safetensors.index.json").exists()
    DDPMScheduler().save_pretrained(tmp_path / "scheduler")
    unet.save_config(tmp_path / "unet")
    pipeline = DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=2))
    pipeline.save_pretrained(tmp_path / "pipeline")
    parts = ("model", "pipeline", "scheduler", "unet")
    assert signatures() == [f"{name}/model.sig" for name in parts]
    for name in parts:
        model_signing_autosign.verify(tmp_path / name, public_key=keys.public)
    assert "unet/config.json" in model_signing_autosign.verify(tmp_path / "pipeline", public_key=keys.public)
    loaded = DDPMPipeline.from_pretrained(tmp_path / "pipeline")
    loaded.set_progress_bar_config(disable=True)
    assert len(loaded(num_inference_steps=2, output_type="np").images) == 1
