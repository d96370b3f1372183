"""Whether a run's outputs are already there, made from the same inputs with the same settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.errors import RunError
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.files.sidecar_hashes import is_as_stated, stated_hashes
from bids_neurossm.signal.strategy import Strategy

#: Settings of the extraction that the input hash leaves out: their effect is hashed instead, or they have none.
_ELSEWHERE = (
    *("atlas", "atlas_dir", "atlas_space", "denoise", "high_pass", "low_pass"),
    *("connectivity", "allow_missing_orientation"),
)


def input_hash(
    run: BoldRun,
    parcellation: Parcellation,
    strategy: Strategy,
    extraction: Extraction,
    hashes: Mapping[Path, str],
) -> str:
    """Hash everything that the series of a run depend on.

    Parameters
    ----------
    run : BoldRun
        Its repetition time is known.
    parcellation, strategy, extraction
        Settings; those that do not affect the series are left out.
    hashes : mapping of Path to str
        SHA-256 of every input file that exists; see `bids_neurossm.interfaces.inputs`.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    sidecar = run.confounds.with_suffix(".json") if run.confounds else None
    inputs = [run.bold, run.mask, run.confounds, sidecar if sidecar in hashes else None]
    if strategy.non_aggressive:
        inputs += [run.mixing, run.noise_components]
    settings = {name: value for name, value in asdict(extraction).items() if name not in _ELSEWHERE}
    return hash_content(
        {
            "version": format_stamp(),
            "files": [hashes[path] if path else None for path in inputs],
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
        return read_json_object(path.with_suffix(".json"), RunError)
    except RunError:
        return {}


def is_finished(outputs: RunOutputs, expected_hash: str, measures: Sequence[str] = ()) -> bool:
    """Tell whether the series of a run are there, made from these inputs, with all files as they were written.

    Sidecars by 0.1.0 state no hashes of files; their files only have to be there.
    """
    sidecar = read_sidecar(outputs.timeseries)
    if sidecar.get("InputHash") != expected_hash:
        return False
    stated = stated_hashes(sidecar)
    wanted = [*outputs.described(), *map(outputs.relations, measures)]
    if not all(path.is_file() for path in wanted) or (stated and any(path.name not in stated for path in wanted)):
        return False
    written = [path for name in stated if (path := outputs.folder / name).is_file()]
    return all(is_as_stated(path, stated[path.name]) or _is_of_another_strategy(path, outputs) for path in written)


def _is_of_another_strategy(path: Path, outputs: RunOutputs) -> bool:
    """Tell whether the coverage table, which strategies share, is the one that another of them wrote."""
    if path != outputs.coverage:
        return False
    others = outputs.folder.glob(outputs.with_strategy("*").timeseries.with_suffix(".json").name)
    return any(is_as_stated(path, stated_hashes(read_sidecar(each)).get(path.name, "")) for each in others)
