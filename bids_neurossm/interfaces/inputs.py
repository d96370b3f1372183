"""The input files of a run: their hashes, and whether one changed while the run was being read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.errors import RunError
from bids_neurossm.files.hashing import hash_file


def small_files(run: BoldRun) -> list[Path]:
    """List the input files of a run that exist, without the image."""
    sidecar = run.confounds.with_suffix(".json") if run.confounds else None
    files = (run.mask, run.confounds, sidecar, run.mixing, run.noise_components)
    return [path for path in files if path is not None and path.is_file()]


def input_hashes(run: BoldRun, cache_dir: Path | None) -> dict[Path, str]:
    """Hash the input files of a run, or look their hashes up.

    Parameters
    ----------
    run : BoldRun
        A run without problems.
    cache_dir : Path or None
        Where hashes are kept; see `bids_neurossm.files.hashing`.
    """
    return {path: hash_file(path, cache_dir) for path in (run.bold, *small_files(run))}


def states_before_reading(run: BoldRun, parcellations: Iterable[Parcellation]) -> dict[str, str]:
    """Record the state of all input files before the first is read.

    Returns
    -------
    dict of str to str
        By path: size and modification time of the image, which is hashed while it is read; the SHA-256 of the others.
    """
    atlases = [path for each in parcellations for path in each.image_files]
    states = {str(path): hash_file(path) for path in (*small_files(run), *atlases)}
    return {**states, str(run.bold): _size_and_time(run.bold)}


def hashes_after_reading(
    run: BoldRun, parcellations: Iterable[Parcellation], before: Mapping[str, str], bold_hash: str
) -> dict[Path, str]:
    """Compare the input files with their state before they were read, and return the hashes of what was read.

    Raises
    ------
    RunError
        If one changed, appeared or disappeared in the meantime.
    """
    now = states_before_reading(run, parcellations)
    changed = next((name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)), None)
    if changed is not None:
        raise RunError(
            f"{changed} changed while the run was being read, so its series were not written; run the same command "
            "again when nothing writes to the inputs."
        )
    return {run.bold: bold_hash, **{path: now[str(path)] for path in small_files(run)}}


def _size_and_time(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} bytes, {status.st_mtime_ns}"
