"""A trained model on disk: arrays as safetensors, facts as TOML beside them; both are checked when they are read.

Models and baselines are kept in this one format. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.files.safe_reading import read_content
from bids_neurossm.files.toml_files import read_toml, section_from
from bids_neurossm.files.write import write_bytes, write_text

FORMAT = 1

#: Where the header of the arrays keeps the hash of the settings.
_SETTINGS = "settings_sha256"

#: Largest file of arrays, in bytes; the models of this package have some MB.
_MAX_BYTES = 1024**3

#: Settings that are repeated in a loop; each turn of most of them has an array of its own.
_REPEATED = ("depth", "layers", "experts", "heads", "walk_steps")

#: No whole number of a model or a window is larger.
_LARGEST = 10_000_000

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class CheckpointMetadata:
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
        Plain values of the static term (`bids_neurossm.estimators.static_term.StaticTerm`); empty where there is none.
    family : str
        What the arrays are of: the registered name of a model, or ``lmae`` for a pretrained encoder alone.
    atlas_drawing : mapping
        Where the regions are drawn, as `bids_neurossm.atlas.drawing.Drawing.facts`; empty where it is not known.
    encoder : mapping
        Where a pretrained encoder comes from; empty where there is none.
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


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray[Any]], facts: CheckpointMetadata) -> None:
    """Write ``path`` (ends in .safetensors) and the facts beside it (.toml), atomically, the facts last.

    Raises
    ------
    OutputNotWritableError
        If the folder can not be written.
    """
    from safetensors.numpy import save

    table = {name: value for name, value in dataclasses.asdict(facts).items() if value is not None}
    # As they are read back: tuples are lists by then.
    settings = tomllib.loads(tomli_w.dumps(table))
    plain = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    content = save(plain, metadata={_SETTINGS: _hash(settings)})
    written = {"format": FORMAT, "sha256": hashlib.sha256(content).hexdigest(), **table}
    write_bytes(path, content)
    write_text(path.with_suffix(".toml"), tomli_w.dumps(written))


def read_checkpoint(path: Path) -> tuple[Arrays, CheckpointMetadata]:
    """Read a checkpoint.

    Returns
    -------
    dict of str to ndarray, CheckpointMetadata

    Raises
    ------
    CheckpointError
        If a file is missing, damaged, foreign, or was changed after saving, the two do not belong together, or the
        values make no sense.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    beside = path.with_suffix(".toml")
    table = read_toml(beside, CheckpointError)
    content = read_content(path, CheckpointError, _MAX_BYTES)
    if table.pop("format", None) != FORMAT:
        raise CheckpointError(f"{beside} is not a checkpoint of format {FORMAT}; train the model again.")
    if table.pop("sha256", None) != hashlib.sha256(content).hexdigest():
        raise CheckpointError(f"{path} is damaged, or {beside.name} belongs to another file: the SHA-256 differs.")
    try:
        arrays = load(content)
        facts = section_from(CheckpointMetadata, table, str(beside))
    except (KeyError, TypeError, ValueError, UsageError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this package: {error}") from error
    # Version 0.1.0 wrote no hash of the settings.
    if _metadata(content).get(_SETTINGS, _hash(table)) != _hash(table):
        raise CheckpointError(f"{beside} was changed after the model was saved; restore it, or train the model again.")
    _check_plausible(facts, arrays, path)
    return arrays, facts


def _metadata(content: bytes) -> dict[str, str]:
    """Return the plain text that stands in the header of safetensors."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: dict[str, str] = header.get("__metadata__", {})
    return found


def _hash(table: Mapping[str, Any]) -> str:
    """Hash the settings of a checkpoint, whatever the layout of the TOML."""
    return hashlib.sha256(json.dumps(table, sort_keys=True, default=str).encode()).hexdigest()


def check_fit(
    facts: CheckpointMetadata,
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


def _check_plausible(facts: CheckpointMetadata, arrays: Arrays, path: Path) -> None:
    """Refuse a checkpoint whose values make no sense, before a model is built or memory is set aside.

    Raises
    ------
    CheckpointError
        If a weight is not finite, a count does not match another one, or a number is impossible.
    """
    for name, values in arrays.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise CheckpointError(f"{path}: {name} holds values that are not finite; train the model again.")
    problem = _wrong_type(facts) or _wrong_count(facts) or _wrong_number(facts, len(arrays))
    if problem:
        raise CheckpointError(f"{path}: {problem}; the checkpoint is damaged, train the model again.")


def _wrong_type(facts: CheckpointMetadata) -> str | None:
    for name in ("model", "metrics", "versions", "static", "encoder", "atlas_drawing"):
        if not isinstance(getattr(facts, name), Mapping):
            return f"{name} is no table"
    for name in ("classes", "regions"):
        if not all(isinstance(each, str) for each in getattr(facts, name)):
            return f"{name} holds something else than text"
    return None


def _wrong_count(facts: CheckpointMetadata) -> str | None:
    regions, outputs = facts.model.get("n_regions"), facts.model.get("n_outputs")
    if facts.regions and regions is not None and regions != len(facts.regions):
        return f"its model has {regions} regions, and {len(facts.regions)} are named"
    logits = max(len(facts.classes), 1)
    if outputs is not None and outputs != logits:
        return f"its model has {outputs} outputs, and {logits} are expected for {len(facts.classes)} classes"
    if len(set(facts.classes)) < len(facts.classes) or len(set(facts.regions)) < len(facts.regions):
        return "a class or a region is named twice"
    return None


def _wrong_number(facts: CheckpointMetadata, n_arrays: int) -> str | None:
    for name, value in facts.model.items():
        if isinstance(value, int) and (value > _LARGEST or (name in _REPEATED and value > n_arrays)):
            return f"model.{name} = {value} is impossible for a model of {n_arrays} arrays"
    if facts.window is not None and not 0 < facts.window <= _LARGEST:
        return f"window = {facts.window} is impossible"
    if not (math.isfinite(facts.target_mean) and 0 < facts.target_scale < math.inf):
        return f"target_mean = {facts.target_mean} and target_scale = {facts.target_scale} are impossible"
    if facts.repetition_time is not None and not 0 < facts.repetition_time < math.inf:
        return f"repetition_time = {facts.repetition_time} is impossible"
    return None
