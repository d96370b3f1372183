"""From fMRIPrep's table to the regressors of a strategy and the volumes that are kept."""

from __future__ import annotations

import fnmatch
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds_table import column, first_steady_volume, listed, numbers, read_table
from bids_neurossm.signal.ica_aroma import ComponentFiles, Components, read_components
from bids_neurossm.signal.strategy import Strategy

if TYPE_CHECKING:
    import pandas as pd

#: fMRIPrep writes one column per outlier, so a run without outliers has none: that is no lack.
_ONE_PER_OUTLIER = ("motion_outlier", "non_steady_state_outlier")


@dataclass(frozen=True)
class Confounds:
    """Regressors and volumes of one run.

    Parameters
    ----------
    regressors : ndarray of float64, shape (T, K), or None
        All volumes of the run; None where nothing is regressed out.
    columns : tuple of str
        Their names.
    kept : ndarray of int64, shape (T_kept,)
        Volumes that are kept, ascending.
    n_dummy : int
        Volumes dropped at the start.
    n_censored : int
        Volumes dropped for motion.
    framewise_displacement : ndarray of float64, shape (T,), or None
        In mm, NaN where the table has none.
    components : Components or None
        Independent components of which the noise is taken out non-aggressively before anything else.
    """

    regressors: npt.NDArray[np.float64] | None
    columns: tuple[str, ...]
    kept: npt.NDArray[np.int64]
    n_dummy: int
    n_censored: int
    framewise_displacement: npt.NDArray[np.float64] | None
    components: Components | None = None


def load_confounds(
    table: Path | None,
    strategy: Strategy,
    n_volumes: int,
    dummy_scans: int | None = None,
    fd_threshold: float | None = None,
    component_files: ComponentFiles | None = None,
) -> Confounds:
    """Read what a strategy needs from the confounds of a run.

    Parameters
    ----------
    table : Path or None
        fMRIPrep's ``*_desc-confounds_timeseries.tsv`` or ``_regressors.tsv``.
    strategy : Strategy
        What is regressed out.
    n_volumes : int
        Volumes of the image, T.
    dummy_scans : int or None
        Volumes to drop at the start. None drops those that fMRIPrep marked as not in a steady state, unless the
        strategy reads no confounds.
    fd_threshold : float or None
        Framewise displacement in mm above which a volume is dropped. In a strategy that scrubs it takes the place of
        the strategy's own threshold, so that its other rules (DVARS, short stretches) apply with it.
    component_files : ComponentFiles, optional
        What ICA-AROMA left, for strategies that take its noise out non-aggressively.

    Returns
    -------
    Confounds
        A run of which no volume is kept is no error here: see `bids_neurossm.signal.denoise.denoise`.

    Raises
    ------
    RunError
        If the table is missing, has another number of rows, or lacks columns, or numbers in them; the message lists
        what it has. If components are missing, or those of another run.
    """
    content = read_table(table, n_volumes) if table is not None else None
    if content is None and (strategy.needs_confounds or fd_threshold is not None):
        raise RunError(
            "the run has no *_desc-confounds_timeseries.tsv beside it, which "
            f"{'--denoise ' + strategy.name if strategy.needs_confounds else '--fd-threshold'} needs; run fMRIPrep "
            "again for it, or use --denoise none."
        )
    displacement = column(content, "framewise_displacement", table) if content is not None else None
    if fd_threshold is not None and displacement is None:
        raise RunError(f"{table} has no column framewise_displacement, which --fd-threshold needs.")
    n_dummy = _dummies(content, table, strategy, n_volumes, dummy_scans)
    keep = np.ones(n_volumes, dtype=bool)
    regressors: npt.NDArray[np.float64] | None = None
    columns: tuple[str, ...] = ()
    # A single volume has no derivative: nothing can be regressed out of it, and it is excluded later.
    if strategy.needs_confounds and table is not None and content is not None and n_volumes > 1:
        if strategy.nilearn:
            regressors, columns, sample_mask = _from_nilearn(table, content, strategy, dummy_scans, fd_threshold)
            keep[np.setdiff1d(np.arange(n_volumes), sample_mask)] = False
        else:
            regressors, columns = _from_columns(table, content, strategy)
    if fd_threshold is not None and displacement is not None and not strategy.scrubs:
        keep &= ~(displacement > fd_threshold)
    keep[:n_dummy] = False
    kept = np.flatnonzero(keep)
    if regressors is not None:
        regressors = _complete(regressors, columns, kept, table, strategy)
    components = None
    if strategy.non_aggressive:
        components = read_components(component_files or ComponentFiles(), content, n_volumes, strategy.name)
    return Confounds(regressors, columns, kept, n_dummy, n_volumes - n_dummy - kept.size, displacement, components)


def _dummies(
    content: pd.DataFrame | None, table: Path | None, strategy: Strategy, n_volumes: int, dummy_scans: int | None
) -> int:
    """Count the volumes that are dropped at the start."""
    if dummy_scans is not None:
        return min(dummy_scans, n_volumes)
    return first_steady_volume(content, table) if content is not None and strategy.needs_confounds else 0


def _from_nilearn(
    table: Path, content: pd.DataFrame, strategy: Strategy, dummy_scans: int | None, fd_threshold: float | None
) -> tuple[npt.NDArray[np.float64], tuple[str, ...], npt.NDArray[np.int64]]:
    from bids_neurossm.signal.nilearn_confounds import nilearn_confounds

    arguments = dict(strategy.nilearn)
    if fd_threshold is not None and strategy.scrubs:
        arguments["fd_threshold"] = fd_threshold
    # Whoever says how many volumes to drop at the start wants nilearn's own count of them left out.
    return nilearn_confounds(table, content, strategy.name, arguments, steady_state=dummy_scans is None)


def _from_columns(
    table: Path, content: pd.DataFrame, strategy: Strategy
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Take columns by name; one that is missing is never silently left out."""
    columns: list[str] = []
    for pattern in strategy.columns:
        found = [str(name) for name in content if fnmatch.fnmatchcase(str(name), pattern)]
        if not found and not pattern.startswith(_ONE_PER_OUTLIER):
            raise RunError(
                f"{table} has no column {pattern}, which --denoise {strategy.name} names; it has {listed(content)}."
            )
        columns += [name for name in found if name not in columns]
    values = numbers(content, columns, table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any number is refused later
        values = values - np.nanmean(values, axis=0, keepdims=True)
    # Derivatives are n/a in the first row: after the mean is taken off, 0 is the neutral value.
    values[0] = np.nan_to_num(values[0])
    return values, tuple(columns)


def _complete(
    regressors: npt.NDArray[np.float64],
    columns: tuple[str, ...],
    kept: npt.NDArray[np.int64],
    table: Path | None,
    strategy: Strategy,
) -> npt.NDArray[np.float64]:
    """Refuse regressors without a number in volumes that are kept; what dropped volumes have does not matter."""
    missing = ~np.isfinite(regressors[kept])
    if missing.any():
        index = int(np.flatnonzero(missing.any(axis=0))[0])
        volume = int(kept[np.flatnonzero(missing[:, index])[0]])
        raise RunError(
            f"{table}: {columns[index]} has no number in {int(missing[:, index].sum())} of the {kept.size} volumes "
            f"that are kept, first in row {volume + 1}, and --denoise {strategy.name} regresses it out; drop these "
            "volumes with --dummy-scans if they stand at the start, or leave the column out with a JSON strategy of "
            "your own."
        )
    return np.where(np.isfinite(regressors), regressors, 0.0)
