"""Pretrained encoders on disk: a checkpoint like any other, and a table that says what the encoder reconstructs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.checkpoint_format import CheckpointMetadata
from bids_neurossm.cohort.checkpoint_facts import check_cohort, cohort_facts, plain_settings, training_hash
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.files.hashing import hash_file
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.files.write import write_tsv
from bids_neurossm.models.lmae import LMAEConfig
from bids_neurossm.pretraining.pretrain import Pretrained, Pretraining, pretrain
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.checkpoint_tensors import load_checkpoint, save_checkpoint
from bids_neurossm.training.data import cohort_run_set
from bids_neurossm.training.device import torch_device
from bids_neurossm.training.snapshot import Snapshot

#: Family of a checkpoint that holds an encoder alone.
ENCODER = "lmae"


def save_encoder(
    path: Path,
    pretrained: Pretrained,
    settings: Pretraining,
    cohort: Cohort,
    indices: NDArray[np.int64],
    window: int,
    seed: int,
    digest: str = "",
) -> None:
    """Write an encoder: ``path`` (.safetensors), its facts (.toml) and its reconstruction (_reconstruction.tsv).

    Parameters
    ----------
    path : Path
        Of the tensors.
    pretrained : Pretrained
        What is written.
    settings : Pretraining
        How it was made.
    cohort, indices : Cohort, array of int64
        What it was made from.
    window, seed : int
        Time points per window; seed.
    digest : str
        Of everything that it was made from; see `is_made_from`.

    Raises
    ------
    OutputNotWritableError
        If the folder can not be written.
    """
    write_tsv(reconstruction_file(path), pretrained.table)
    facts = CheckpointMetadata(
        model=plain_settings(pretrained.model.config),
        target="reconstruction",
        target_type="encoder",
        classes=(),
        window=window,
        n_runs=pretrained.n_runs,
        seed=seed,
        metrics={"training_loss": pretrained.loss[-1], "epochs": len(pretrained.loss)},
        family=ENCODER,
        encoder={**plain_settings(settings), "made_from": digest},
        **cohort_facts(cohort, indices, ENCODER),
    )
    save_checkpoint(path, pretrained.model.encoder.state_dict(), facts)


def reconstruction_file(path: Path) -> Path:
    """Return where the reconstruction of an encoder, or of a model with one, is written: beside its checkpoint."""
    return path.with_name(f"{path.stem}_reconstruction.tsv")


def load_encoder(
    path: Path, config: LMAEConfig, cohort: Cohort, indices: NDArray[np.int64]
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Read a pretrained encoder for a model and its data.

    Parameters
    ----------
    path : Path
        Of the tensors.
    config : LMAEConfig
        Shape of the encoder that the model wants.
    cohort, indices : Cohort, array of int64
        What it will be used on.

    Returns
    -------
    state, facts : dict of Tensor, mapping
        Tensors of the encoder; where it comes from, as plain values.

    Raises
    ------
    CheckpointError
        If it is damaged, no encoder, of another shape or patch length, or was made for another atlas, other regions,
        another denoising, or (with samples in time points) another repetition time.
    """
    state, facts = load_checkpoint(path)
    if facts.family != ENCODER:
        raise CheckpointError(
            f"{path} holds a model of the family {facts.family}; a pretrained encoder (family {ENCODER}) is expected."
        )
    try:
        own = section_from(LMAEConfig, facts.model, "model")
    except (UsageError, TypeError) as error:
        raise CheckpointError(f"{path} holds an encoder that this version does not know: {error}") from error
    check_cohort(facts, path, cohort, indices, config.in_seconds)
    theirs, ours = (f"{each.patch_length:g} {each.scale_unit}" for each in (own, config))
    if theirs != ours:
        raise CheckpointError(f"{path}: a patch of the encoder lasts {theirs}, of the recipe {ours}.")
    for each in fields(LMAEConfig):
        found, wanted = getattr(own, each.name), getattr(config, each.name)
        if found != wanted and each.name != "dropout":
            raise CheckpointError(
                f"{path}: the encoder has {each.name} = {found}, the recipe {wanted}; set model.{each.name} to {found}."
            )
    source = {"path": path.name, "sha256": hash_file(path), "training_hash": facts.training_hash, "runs": facts.n_runs}
    return state, source


def is_made_from(path: Path, digest: str) -> bool:
    """Whether there is a whole encoder that was made from what `digest` stands for."""
    if not path.is_file():
        return False
    try:
        facts = load_checkpoint(path)[1]
    except CheckpointError:
        return False  # cut short or foreign: it is made anew
    return facts.family == ENCODER and facts.encoder.get("made_from") == digest


def pretrain_cohort(
    path: Path,
    cohort: Cohort,
    indices: NDArray[np.int64],
    settings: Mapping[str, Any],
    window: int | None,
    execution: Execution,
    digest: str = "",
    follow: Callbacks | None = None,
) -> Pretrained:
    """Pretrain an encoder on runs of a cohort, whatever their labels, and write it.

    Parameters
    ----------
    path : Path
        Of the tensors; see `save_encoder`. While it is under way a state file stands beside it.
    cohort, indices : Cohort, array of int64
        The runs.
    settings : mapping
        Of a `bids_neurossm.config.ModelSpec` of the second family.
    window : int or None
        Time points per training window; the cohort's median length where that is shorter.
    execution : Execution
        Device and seed.
    digest : str
        Written into the checkpoint, for `is_made_from`.
    follow : Callbacks, optional
        Who is told of epochs.

    Raises
    ------
    RunError, LabelError, UsageError
        See `bids_neurossm.pretraining.pretrain.pretrain`.
    """
    found = Settings.of({name: value for name, value in settings.items() if name not in ("pretrain", "encoder")})
    config = found.encoder_config(len(cohort.regions))
    inputs = cohort_run_set(cohort, indices, config)
    chosen = inputs.chosen_window(window)
    groups = cohort.runs["group"].to_numpy()[indices].tolist()
    keep = Snapshot(path.with_name(f".{path.stem}.state"), digest or training_hash(cohort, indices))
    device = torch_device(execution.device)
    pretrained = pretrain(
        config, inputs, groups, found.pretraining, chosen, execution.random_seed, device, follow, keep
    )  # fmt: skip
    save_encoder(path, pretrained, found.pretraining, cohort, indices, chosen, execution.random_seed, digest)
    keep.remove()
    return pretrained
