# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a Trainer, and what ``save_pretrained`` writes.

``save_pretrained`` is one method for all models, one for all configurations and so on, with few overrides. Those that
write on after the method they override has returned, or instead of it, have hooks of their own.

``Trainer._save_checkpoint`` calls ``save_model``, and that ``save_pretrained``; next it writes optimizer and state, and
last it deletes old checkpoints. Every rank writes its ``rng_state_<rank>.pth`` there, and none waits for another.
"""

from __future__ import annotations

import os
from typing import Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, folder, saves

FRAMEWORK: Final = Framework("transformers", versions=">=4.41,<6", tested="5.24.0")


def _saves_on_this_rank(call: Call) -> bool:
    given = call.argument("is_main_process", 2)
    is_main = given is None or bool(given)
    # From 5.0 on, only rank 0 writes a model, whatever the others are told.
    decides = getattr(call.args[0], "should_save_on_this_rank", None)
    return bool(decides(is_main)) if decides else is_main


def _trainer_saves(call: Call) -> bool:
    return bool(call.args[0].args.should_save)


def _step(trainer: Any, run_folder: str) -> str:
    return os.path.join(run_folder, f"checkpoint-{trainer.state.global_step}")


def _steps(call: Call) -> Any:
    return call.args[0].state.global_step


def _checkpoint(call: Call) -> str:
    trainer = call.args[0]
    return _step(trainer, trainer._get_output_dir(trial=call.argument("trial", 2)))


def _tune_checkpoint(call: Call) -> str:
    return _step(call.args[0], str(call.argument("checkpoint_dir", 1)))


def _jit_checkpoint(call: Call) -> str:
    trainer = call.args[0].trainer
    return _step(trainer, trainer._get_output_dir(trial=None))


def _model(call: Call) -> object:
    given = call.argument("output_dir", 1)
    run_folder = call.args[0].args.output_dir
    if given is None or str(given) == run_folder:
        _with_model.add(run_folder)
        return run_folder
    return given


def _beside_model(call: Call) -> object:
    run_folder = call.args[0].args.output_dir
    return run_folder if run_folder in _with_model else None


_with_model: Final[set[str]] = set()  # folders of runs, where save_model has been called for them


_SAVES: Final = saves(FRAMEWORK, folder("save_directory", 1))
_MODEL_SAVES: Final = saves(FRAMEWORK, folder("save_directory", 1), owned=_saves_on_this_rank)

PATCHES: Final = (
    Patch(
        FRAMEWORK,
        _MODEL_SAVES,
        ("transformers.modeling_utils:PreTrainedModel.save_pretrained",),
        seen="`save_pretrained` of models, in one file or in shards, and of adapters in them",
        signed="the folder, by the main process",
        complete="on return",
    ),
    *(
        Patch(
            FRAMEWORK, _SAVES, (name,), seen=f"`save_pretrained` of {what}", signed="the folder", complete="on return"
        )
        for name, what in (
            ("transformers.configuration_utils:PretrainedConfig.save_pretrained", "configurations"),
            ("transformers.generation.configuration_utils:GenerationConfig.save_pretrained", "generation settings"),
            ("transformers.tokenization_utils_base:PreTrainedTokenizerBase.save_pretrained", "tokenizers"),
            ("transformers.feature_extraction_utils:FeatureExtractionMixin.save_pretrained", "feature extractors"),
            ("transformers.image_processing_utils:ImageProcessingMixin.save_pretrained", "image processors"),
            ("transformers.processing_utils:ProcessorMixin.save_pretrained", "processors"),
            ("transformers.pipelines.base:Pipeline.save_pretrained", "pipelines"),
        )
    ),
    *(
        Patch(
            FRAMEWORK,
            _SAVES,
            (f"transformers.{name}.save_pretrained",),
            seen=f"`save_pretrained` of {what}",
            signed="the folder",
            complete="on return",
            since=since,
        )
        for name, what, since in (
            ("tokenization_utils_tokenizers:TokenizersBackend", "tokenizers that do so by themselves", "5.15"),
            ("tokenization_mistral_common:MistralCommonBackend", "Mistral's tokenizers", "5.0"),
            ("video_processing_utils:VideoProcessorMixin", "video processors", "5.19"),
            ("models.rag.tokenization_rag:RagTokenizer", "RAG tokenizers", ""),
            ("models.rag.retrieval_rag:RagRetriever", "RAG retrievers", ""),
            (
                "models.wav2vec2_with_lm.processing_wav2vec2_with_lm:Wav2Vec2ProcessorWithLM",
                "Wav2Vec2 with its language model",
                "",
            ),
        )
    ),
    *(
        Patch(
            FRAMEWORK,
            _MODEL_SAVES,
            (f"transformers.{name}.save_pretrained",),
            seen=f"`save_pretrained` of {what}",
            signed="the folder, by the main process",
            complete="on return",
            since=since,
        )
        for name, what, since in (
            ("decision.modeling_utils:DecisionMixin", "decision models", "5.23"),
            (
                "models.granite_speech.modeling_granite_speech:GraniteSpeechForConditionalGeneration",
                "Granite Speech with its adapter",
                "4.52",
            ),
        )
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _model, owned=_trainer_saves, step=_steps),
        ("transformers.trainer:Trainer.save_model",),
        seen="`Trainer.save_model`",
        signed="the folder, by the process that writes it",
        complete="on return",
    ),
    *(
        Patch(
            FRAMEWORK,
            saves(FRAMEWORK, _beside_model, owned=_trainer_saves, step=_steps),
            (f"transformers.trainer:Trainer.{name}",),
            seen=f"`Trainer.{name}`, where `save_model` has written into the same folder",
            signed="the folder, again",
            complete="on return",
        )
        for name in ("save_metrics", "save_state", "create_model_card")
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _checkpoint, owned=_trainer_saves, gather=True, step=_steps),
        ("transformers.trainer:Trainer._save_checkpoint",),
        seen="checkpoints of a `Trainer`, in the run's folder or that of a hyperparameter trial",
        signed="the folder `checkpoint-<step>`, by the process that writes the model",
        complete="when it has returned in all ranks",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _tune_checkpoint, owned=_trainer_saves, step=_steps),
        ("transformers.trainer:Trainer._tune_save_checkpoint",),
        seen="checkpoints of a `Trainer` for Ray Tune",
        signed="the folder `checkpoint-<step>`, by the process that writes it",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(
            FRAMEWORK,
            _jit_checkpoint,
            owned=lambda call: bool(call.args[0].trainer.args.should_save),
            gather=True,
            step=lambda call: call.args[0].trainer.state.global_step,
        ),
        ("transformers.trainer_jit_checkpoint:CheckpointManager.execute_jit_checkpoint",),
        seen="the checkpoint of a `Trainer` that got SIGTERM (`enable_jit_checkpoint`)",
        signed="the folder `checkpoint-<step>`, by the process that writes the model",
        complete="when it has returned in all ranks",
        since="5.0",
    ),
)
