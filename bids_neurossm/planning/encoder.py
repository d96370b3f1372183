"""Where the encoder of a model comes from that has one; nothing is trained here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bids_neurossm.config import ModelSpec, RunConfig
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.files.hashing import hash_file
from bids_neurossm.registry import model_entry


def with_encoder(config: RunConfig, spec: ModelSpec) -> ModelSpec:
    """Write where the encoder comes from into the settings of a model with an encoder.

    Parameters
    ----------
    config : RunConfig
        ``evaluation.pretrain`` or ``checkpoint``; ``pretrain_from`` has been carried out before, and is a checkpoint.
    spec : ModelSpec
        With the settings of the recipe.

    Raises
    ------
    UsageError
        If another model is to be pretrained, or the recipe is one of NeuroSSM.
    CheckpointError
        If the encoder is not there.
    """
    evaluation = config.evaluation
    if not model_entry(spec.name).is_patch_based:
        refuse_pretraining(config, spec.name)
        return spec
    if "scales" in spec.settings or "streams" in spec.settings:
        raise UsageError(
            f"The recipe {spec.recipe!r} is one of NeuroSSM; --model {spec.name} takes --recipe camcan-age, "
            "camcan-fluid, or a file like them."
        )
    further: dict[str, Any] = {"pretrain": True} if evaluation.pretrain else {}
    if evaluation.checkpoint is not None:
        path = evaluation.checkpoint
        if not path.is_file() or not path.with_suffix(".toml").is_file():
            raise CheckpointError(
                f"{path} is no pretrained encoder: a .safetensors file with its .toml beside it is expected."
            )
        further = {"encoder": str(path), "encoder_sha256": hash_file(path)}
    return replace(spec, settings={**spec.settings, **further})


def refuse_pretraining(config: RunConfig, model: str) -> None:
    """Say that the model of that name can not be pretrained, unless it has an encoder.

    Raises
    ------
    UsageError
        If that was asked for.
    """
    evaluation = config.evaluation
    if (evaluation.pretrain or evaluation.pretrain_from is not None) and not model_entry(model).is_patch_based:
        option = "--pretrain" if evaluation.pretrain else "--pretrain-from"
        raise UsageError(f"{option} needs a model with an encoder, such as --model lmae-rwmoe; {model} has none.")


def wants_encoder_only(config: RunConfig) -> bool:
    """Whether a command pretrains and does nothing else: there is nothing to predict."""
    evaluation = config.evaluation
    return evaluation.target is None and (evaluation.pretrain or evaluation.pretrain_from is not None)
