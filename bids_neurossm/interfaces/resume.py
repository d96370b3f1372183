"""Whether a run's outputs are already there, made from the same inputs with the same settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bids_neurossm import __version__
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.hashing import hash_content, hash_file
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.signal.strategy import Strategy


def input_hash(
    run: BoldRun,
    parcellation: Parcellation,
    strategy: Strategy,
    extraction: Extraction,
    cache_dir: Path | None,
    bold_hash: str | None = None,
) -> str:
    """Hash everything that the series of a run depend on.

    Parameters
    ----------
    run : BoldRun
        Its image, mask and confounds are hashed by content; its repetition time is known.
    parcellation, strategy, extraction
        Settings; those that do not bear on the series are left out.
    cache_dir : Path or None
        Where file hashes are remembered.
    bold_hash : str, optional
        Hash of the image where it is known from reading it.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    sidecar = run.confounds.with_suffix(".json") if run.confounds else None
    inputs = [run.bold, run.mask, run.confounds, sidecar if sidecar and sidecar.is_file() else None]
    if strategy.non_aggressive:
        inputs += [run.mixing, run.noise_components]
    settings = asdict(extraction)
    # What they lead to is hashed instead, and matrices are made from the series.
    for elsewhere in (
        "atlas",
        "atlas_dir",
        "atlas_space",
        "denoise",
        "high_pass",
        "low_pass",
        "connectivity",
        "allow_missing_orientation",
    ):
        del settings[elsewhere]
    return hash_content(
        {
            "version": __version__,
            "files": [
                bold_hash if path == run.bold and bold_hash else hash_file(path, cache_dir) if path else None
                for path in inputs
            ],
            "repetition_time": run.repetition_time,
            "atlas": [parcellation.sha256, parcellation.labels, parcellation.names],
            "atlas_space": parcellation.space,
            "strategy": asdict(strategy),
            "settings": settings,
        }
    )


def read_sidecar(path: Path) -> Mapping[str, Any]:
    """Read the sidecar of a table; an empty one where it is missing or cut short."""
    try:
        content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_finished(outputs: RunOutputs, expected_hash: str, measures: Sequence[str] = ()) -> bool:
    """Tell whether the series of a run are there and were made from these inputs, with these matrices beside them.

    The sidecar of the series is written last, so it vouches for the other files.
    """
    wanted = [outputs.timeseries, outputs.coverage, outputs.connectivity, *map(outputs.relations, measures)]
    present = all(path.is_file() for path in wanted)
    return present and read_sidecar(outputs.timeseries).get("InputHash") == expected_hash
