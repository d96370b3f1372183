"""What the second family needs besides an analysis: where its encoder comes from; nothing is trained here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from bids_neurossm.config import ModelSpec, RunConfig
from bids_neurossm.dataset.hashing import hash_file
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.interfaces.cohort import Shortest
from bids_neurossm.training.estimator import SECOND_FAMILY, is_second_family


def with_encoder(config: RunConfig, spec: ModelSpec) -> ModelSpec:
    """Write where the encoder comes from into the settings of the second family.

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
    if not is_second_family(spec.name):
        refuse_pretraining(config, spec.name)
        return spec
    if "scales" in spec.settings or "streams" in spec.settings:
        raise UsageError(
            f"The recipe {spec.recipe!r} is one of NeuroSSM; --model {SECOND_FAMILY} takes --recipe camcan-age, "
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
    if not is_second_family(model) and (evaluation.pretrain or evaluation.pretrain_from is not None):
        option = "--pretrain" if evaluation.pretrain else "--pretrain-from"
        raise UsageError(f"{option} belongs to --model {SECOND_FAMILY}; {model} has no encoder.")


def shortest_for_patches(spec: ModelSpec, runs: pd.DataFrame) -> Shortest:
    """Tell how long a run has to be for the second family: eight patches.

    Raises
    ------
    UsageError
        If samples are in seconds and a run states no repetition time, or one that is longer than a sample.
    """
    sample, patch = float(spec.settings.get("sample", 1)), int(spec.settings.get("patch", 4))
    if spec.settings.get("scale_unit", "time points") != "seconds":
        return Shortest(8 * sample * patch, "volumes")
    unknown = runs[runs["repetition_time"].isna()]["run"]
    if len(unknown):
        raise UsageError(
            f"The recipe's samples are in seconds, and {len(unknown)} of {len(runs)} runs state no repetition time "
            f"(the first is {unknown.iloc[0]}): write RepetitionTime into their sidecars, or set "
            "model.scale_unit to 'time points' and model.sample to 1."
        )
    longest = float(runs["repetition_time"].max())
    if sample < longest * (1 - 1e-4):
        raise UsageError(
            f"The recipe's samples last {sample:g} s, the cohort's longest repetition time is {longest:g} s: no sample "
            "may be finer than the data; set model.sample."
        )
    return Shortest(8 * sample * patch, "seconds")


def wants_encoder_only(config: RunConfig) -> bool:
    """Whether a command pretrains and does nothing else: there is nothing to predict."""
    evaluation = config.evaluation
    return evaluation.target is None and (evaluation.pretrain or evaluation.pretrain_from is not None)
