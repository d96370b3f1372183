"""What a checkpoint says of the runs that it was made from, and whether other runs are like them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm import __version__
from bids_neurossm.atlas.drawing import Drawing
from bids_neurossm.checkpoint_format import CheckpointMetadata, check_fit
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import CheckpointError
from bids_neurossm.registry import installed_entry

#: What a cohort says of the dataset that it is from.
_DATASET = ("atlas", "atlas_sha256", "denoise")


def training_hash(cohort: Cohort, indices: NDArray[np.int64]) -> str:
    """Return the identity of a training set: the cohort, and which of its runs."""
    runs = ",".join(sorted(str(name) for name in cohort.runs["run"].to_numpy()[indices]))
    return hashlib.sha256(f"{cohort.hash}\n{runs}".encode()).hexdigest()


def facts_of(
    cohort: Cohort,
    indices: NDArray[np.int64],
    model: Mapping[str, Any],
    seed: int,
    family: str,
    **further: Any,
) -> CheckpointMetadata:
    """Write down what a checkpoint says of itself; `further` are fields that not every model has."""
    return CheckpointMetadata(
        model=model,
        target=str(cohort.extra.get("target", "label")),
        target_type=cohort.target_type,
        classes=tuple(cohort.classes),
        n_runs=len(indices),
        seed=seed,
        family=family,
        **cohort_facts(cohort, indices, family),
        **further,
    )


def plain_settings(settings: Any) -> dict[str, Any]:
    """Turn a dataclass of settings into values that TOML has."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}


def cohort_facts(cohort: Cohort, indices: NDArray[np.int64], family: str) -> dict[str, Any]:
    """Return what every checkpoint says of the runs that it was made from, and of what made it."""
    return {
        **{key: str(cohort.extra.get(key, "")) for key in _DATASET},
        "atlas_drawing": dict(cohort.extra.get("atlas_drawing") or {}),
        "regions": tuple(cohort.regions),
        "repetition_time": cohort.repetition_time(indices),
        "training_hash": training_hash(cohort, indices),
        "versions": package_versions(family),
    }


def check_cohort(
    facts: CheckpointMetadata, path: Path, cohort: Cohort, indices: NDArray[np.int64], in_seconds: bool
) -> None:
    """Refuse a checkpoint that was made for other data than these runs.

    Raises
    ------
    CheckpointError
        If atlas, regions, denoising or, unless lengths are `in_seconds`, the repetition time are others.
    """
    # What is in seconds is the same at every repetition time.
    time = None if in_seconds else cohort.repetition_time(indices)
    atlas, sha256, denoise = (str(cohort.extra.get(key, "")) for key in _DATASET)
    ours, theirs = (Drawing.of_record(each or {}) for each in (cohort.extra.get("atlas_drawing"), facts.atlas_drawing))
    if ours is not None and theirs is not None:
        refuse_other_drawing(theirs, ours, path)
        sha256 = ""  # one drawing may be in many files
    check_fit(facts, path, cohort.regions, time, atlas, sha256, denoise)


def refuse_other_drawing(trained: Drawing, data: Drawing, path: Path) -> None:
    """Refuse data whose regions are drawn in other places than those of a checkpoint.

    Parameters
    ----------
    trained, data : Drawing
        Of the checkpoint, and of the data; across spaces and resolutions they are not compared.
    path : Path
        The checkpoint.

    Raises
    ------
    CheckpointError
        If they differ.
    """
    if trained.conflicts_with(data):
        raise CheckpointError(
            f"{path}: the checkpoint was trained on another label image in {trained.space} than the data come from, "
            "under the same names of regions; extract the series again with the atlas of the checkpoint."
        )


def package_versions(family: str) -> dict[str, str]:
    """Return the versions of what makes a checkpoint of a model, the package that brings it among them."""
    entry = installed_entry(family)
    return {
        "bids-neurossm": __version__,
        "python": platform.python_version(),
        "torch": version("torch"),
        "numpy": version("numpy"),
        **(entry.versions if entry else {}),
    }
