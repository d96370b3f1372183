"""A trained model on disk: tensors as safetensors, facts as TOML beside them; both are checked when they are read."""

from __future__ import annotations

import dataclasses
import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bids_neurossm.dataset.write import write_bytes, write_text
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.models.neurossm import NeuroSSMConfig
from bids_neurossm.toml import section_from

FORMAT = 1


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself.

    Parameters
    ----------
    model : mapping
        Arguments of the model's configuration.
    target : str
        What was predicted.
    target_type : {"class", "continuous"}
        How.
    classes : tuple of str
        Class of each logit.
    target_mean, target_scale : float
        A continuous prediction is output x scale + mean.
    atlas, atlas_sha256 : str
        The parcellation; empty where it is not known.
    regions : tuple of str
        Region of each column, in order.
    repetition_time : float or None
        Median of the training runs, in s.
    window : int or None
        Time points per window.
    denoise : str
        Denoising strategy of the training series; empty where it is not known.
    training_hash : str
        Identity of the training set: the cohort and which of its runs.
    n_runs, seed : int
        Training runs; seed.
    precision : str
        Of the training.
    metrics : mapping
        Numbers worth keeping (last training loss ...).
    versions : mapping
        Of the packages that made it.
    static : mapping
        Plain values of the static term; empty where there is none. See `bids_neurossm.training.static.StaticTerm`.
    family : str
        What the tensors are of: ``neurossm``, ``lmae-rwmoe``, or ``lmae`` for a pretrained encoder alone.
    atlas_drawing : mapping
        Where the regions are drawn, as `bids_neurossm.atlas.drawing.Drawing.facts`; empty where it is not known.
    encoder : mapping
        Where a pretrained encoder comes from; empty where there is none. See `bids_neurossm.training.encoders`.
    """

    model: Mapping[str, Any]
    target: str
    target_type: str
    classes: tuple[str, ...]
    regions: tuple[str, ...]
    target_mean: float = 0.0
    target_scale: float = 1.0
    atlas: str = ""
    atlas_sha256: str = ""
    repetition_time: float | None = None
    window: int | None = None
    denoise: str = ""
    training_hash: str = ""
    n_runs: int = 0
    seed: int = 0
    precision: str = "float32"
    metrics: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    family: str = "neurossm"
    atlas_drawing: Mapping[str, str] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(path: Path, state: Mapping[str, Tensor], facts: Facts) -> None:
    """Write ``path`` (ends in .safetensors) and the facts beside it (.toml), atomically, the facts last.

    Raises
    ------
    OutputNotWritableError
        If the folder can not be written.
    """
    tensors = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    table = {"format": FORMAT, "sha256": hashlib.sha256(tensors).hexdigest(), **dataclasses.asdict(facts)}
    text = tomli_w.dumps({name: value for name, value in table.items() if value is not None})
    write_bytes(path, tensors)
    write_text(path.with_suffix(".toml"), text)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged, foreign, or the two do not belong together.
    """
    beside = path.with_suffix(".toml")
    try:
        table = tomllib.loads(beside.read_text(encoding="utf-8"))
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{error.filename} can not be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{beside} is damaged: {error}.") from error
    if table.pop("format", None) != FORMAT:
        raise CheckpointError(f"{beside} is not a checkpoint of format {FORMAT}; train the model anew.")
    if table.pop("sha256", None) != hashlib.sha256(content).hexdigest():
        raise CheckpointError(f"{path} is damaged, or {beside.name} belongs to another file: the SHA-256 differs.")
    try:
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}
        return load_tensors(content), Facts(**values)
    except (TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this package: {error}.") from error


def model_config(facts: Facts, path: Path) -> NeuroSSMConfig:
    """Return the configuration of the model in a checkpoint.

    Raises
    ------
    CheckpointError
        If it is that of another model, or of a later version.
    """
    if facts.family != "neurossm":
        raise CheckpointError(f"{path} holds a model of the family {facts.family}; a NeuroSSM is expected.")
    try:
        return section_from(NeuroSSMConfig, facts.model, "model")
    except (UsageError, TypeError) as error:
        raise CheckpointError(f"{path} holds a model that this version does not know: {error}") from error


def check_fit(
    facts: Facts,
    path: Path,
    regions: Sequence[str] | None = None,
    repetition_time: float | None = None,
    atlas: str = "",
    atlas_sha256: str = "",
    denoise: str = "",
    classes: Sequence[str] | None = None,
    target_type: str | None = None,
) -> None:
    """Compare what a checkpoint was trained on with the data at hand; what is not known of either is not compared.

    Raises
    ------
    CheckpointError
        Naming the first thing that does not fit.
    """
    for what, ours, theirs in (
        ("atlas", atlas, facts.atlas),
        ("SHA-256 of the atlas", atlas_sha256, facts.atlas_sha256),
        ("denoising strategy", denoise, facts.denoise),
        ("type of the target", target_type or "", facts.target_type),
    ):
        if ours and theirs and ours != theirs:
            raise CheckpointError(f"{path}: the {what} of the checkpoint is {theirs}, that of the data is {ours}.")
    if regions is not None and tuple(regions) != tuple(facts.regions):
        if len(regions) != len(facts.regions):
            raise CheckpointError(f"{path}: the checkpoint has {len(facts.regions)} regions, the data {len(regions)}.")
        place = next(i for i, (a, b) in enumerate(zip(regions, facts.regions, strict=True)) if a != b)
        raise CheckpointError(
            f"{path}: region {place + 1} of the checkpoint is {facts.regions[place]}, of the data {regions[place]}."
        )
    if classes is not None and facts.target_type == "class" and tuple(classes) != tuple(facts.classes):
        raise CheckpointError(
            f"{path}: the checkpoint knows the classes {', '.join(facts.classes)}, the data have {', '.join(classes)}."
        )
    known = repetition_time is not None and repetition_time == repetition_time and facts.repetition_time is not None
    if known and repetition_time and abs(repetition_time - (facts.repetition_time or 0)) > 0.05 * repetition_time:
        raise CheckpointError(
            f"{path}: the checkpoint was trained at a repetition time of {facts.repetition_time} s, "
            f"the data have {repetition_time} s; scales in time points would mean other times."
        )


def load_state(module: torch.nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put tensors into a module.

    Raises
    ------
    CheckpointError
        If a tensor is missing, foreign or of another shape.
    """
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit its own architecture: {str(error).splitlines()[-1].strip()}"
        ) from error
