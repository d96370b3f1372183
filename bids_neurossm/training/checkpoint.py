"""A trained model on disk: tensors as safetensors, facts as TOML beside them; both are checked when they are read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bids_neurossm.content import read_content
from bids_neurossm.dataset.write import write_bytes, write_text
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.models.neurossm import NeuroSSMConfig
from bids_neurossm.toml import read_toml, section_from
from bids_neurossm.training.plausible import check_plausible

_Module = TypeVar("_Module", bound=torch.nn.Module)

FORMAT = 1

#: Where the header of the tensors keeps the hash of the settings.
_SETTINGS = "settings_sha256"

#: Largest file of tensors, in bytes; the models of this package have some MB.
_MAX_BYTES = 1024**3


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
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    table = {name: value for name, value in dataclasses.asdict(facts).items() if value is not None}
    # As they are read back: tuples are lists by then.
    settings = tomllib.loads(tomli_w.dumps(table))
    tensors = save_tensors(plain, metadata={_SETTINGS: _hash(settings)})
    written = {"format": FORMAT, "sha256": hashlib.sha256(tensors).hexdigest(), **table}
    write_bytes(path, tensors)
    write_text(path.with_suffix(".toml"), tomli_w.dumps(written))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        If a file is missing, damaged, foreign, or was changed after saving, the two do not belong together, or the
        values make no sense (see `bids_neurossm.training.plausible`).
    """
    beside = path.with_suffix(".toml")
    table = read_toml(beside, CheckpointError)
    content = read_content(path, CheckpointError, _MAX_BYTES)
    if table.pop("format", None) != FORMAT:
        raise CheckpointError(f"{beside} is not a checkpoint of format {FORMAT}; train the model again.")
    if table.pop("sha256", None) != hashlib.sha256(content).hexdigest():
        raise CheckpointError(f"{path} is damaged, or {beside.name} belongs to another file: the SHA-256 differs.")
    try:
        state = load_tensors(content)
        facts = section_from(Facts, table, str(beside))
    except (TypeError, ValueError, UsageError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this package: {error}") from error
    # Version 0.1.0 wrote no hash of the settings.
    if _metadata(content).get(_SETTINGS, _hash(table)) != _hash(table):
        raise CheckpointError(f"{beside} was changed after the model was saved; restore it, or train the model again.")
    check_plausible(facts, state, path)
    return state, facts


def _metadata(content: bytes) -> dict[str, str]:
    """Return the plain text that stands in the header of safetensors."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: dict[str, str] = header.get("__metadata__", {})
    return found


def _hash(table: Mapping[str, Any]) -> str:
    """Hash the settings of a checkpoint, whatever the layout of the TOML."""
    return hashlib.sha256(json.dumps(table, sort_keys=True, default=str).encode()).hexdigest()


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


def restored_module(make: Callable[[], _Module], state: Mapping[str, Tensor], path: Path) -> _Module:
    """Make a module and put tensors into it; their shapes are compared before memory is set aside.

    Parameters
    ----------
    make : callable
        Makes the module from its configuration.
    state : mapping of str to Tensor
        From `load_checkpoint`.
    path : Path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        If a tensor is missing, foreign or of another shape.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != wanted:
        name = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise CheckpointError(
            f"{path} does not fit its own architecture: {name} has the shape {found.get(name, 'none')}, and "
            f"{wanted.get(name, 'none')} is expected."
        )
    module = make()
    module.load_state_dict(dict(state), strict=True)
    return module
