"""From fMRIPrep's table to the regressors of a strategy and the volumes that are kept."""

from __future__ import annotations

import fnmatch
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.signal.strategy import Strategy

if TYPE_CHECKING:
    import pandas as pd


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
    """

    regressors: npt.NDArray[np.float64] | None
    columns: tuple[str, ...]
    kept: npt.NDArray[np.int64]
    n_dummy: int
    n_censored: int
    framewise_displacement: npt.NDArray[np.float64] | None


def load_confounds(
    table: Path | None,
    strategy: Strategy,
    n_volumes: int,
    dummy_scans: int | None = None,
    fd_threshold: float | None = None,
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
        Framewise displacement in mm above which a volume is dropped.

    Returns
    -------
    Confounds

    Raises
    ------
    RunError
        If the table is missing, has another number of rows, or lacks columns; the message lists what it has.
    """
    content = _read(table, n_volumes) if table is not None else None
    if content is None and (strategy.needs_confounds or fd_threshold is not None):
        raise RunError(
            "the run has no *_desc-confounds_timeseries.tsv beside it, which "
            f"{'--denoise ' + strategy.name if strategy.needs_confounds else '--fd-threshold'} needs; run fMRIPrep "
            "again for it, or use --denoise none."
        )
    displacement = None
    if content is not None and "framewise_displacement" in content:
        displacement = _numbers(content, ["framewise_displacement"], table)[:, 0]
    if dummy_scans is not None:
        n_dummy = min(dummy_scans, n_volumes)
    else:
        n_dummy = _steady_from(content, table) if content is not None and strategy.needs_confounds else 0
    keep = np.ones(n_volumes, dtype=bool)
    regressors: npt.NDArray[np.float64] | None = None
    columns: tuple[str, ...] = ()
    if strategy.needs_confounds:
        assert table is not None
        assert content is not None
        if strategy.nilearn:
            regressors, columns, sample_mask = _from_nilearn(table, content, strategy)
            keep[:] = False
            keep[sample_mask] = True
            keep[: _steady_from(content, table)] = True  # those at the start are counted apart
        else:
            regressors, columns = _from_columns(table, content, strategy)
    if fd_threshold is not None:
        if displacement is None:
            raise RunError(f"{table} has no column framewise_displacement, which --fd-threshold needs.")
        keep &= ~(displacement > fd_threshold)
    keep[:n_dummy] = False
    n_censored = int(n_volumes - n_dummy - keep.sum())
    return Confounds(regressors, columns, np.flatnonzero(keep), n_dummy, n_censored, displacement)


def _read(table: Path, n_volumes: int) -> pd.DataFrame:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # Rows longer than the first line: pandas would shift or drop cells, and only warn.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            content = pd.read_csv(table, sep="\t", na_values=["n/a"], encoding="utf-8-sig", index_col=False)
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise RunError(f"{table} is not a readable table of confounds ({error}); run fMRIPrep again for it.") from error
    if len(content) != n_volumes:
        raise RunError(
            f"{table} has {len(content)} rows, the image has {n_volumes} volumes; both must come from one run of "
            "fMRIPrep."
        )
    return content


def _numbers(content: pd.DataFrame, columns: list[str], table: Path | None) -> npt.NDArray[np.float64]:
    """Read columns as numbers."""
    try:
        return content[columns].to_numpy(dtype=np.float64)
    except ValueError as error:
        raise RunError(f"{table} holds text where numbers are expected, in {', '.join(columns)}: {error}.") from error


def _steady_from(content: pd.DataFrame, table: Path | None) -> int:
    """First volume in a steady state, by the columns ``non_steady_state_outlier*``."""
    columns = [str(name) for name in content if str(name).startswith("non_steady_state_outlier")]
    if not columns:
        return 0
    marked = np.flatnonzero(_numbers(content, columns, table).sum(axis=1) > 0)
    return int(marked[-1]) + 1 if marked.size else 0


def _from_nilearn(
    table: Path, content: pd.DataFrame, strategy: Strategy
) -> tuple[npt.NDArray[np.float64], tuple[str, ...], npt.NDArray[np.int64]]:
    """Let nilearn choose the columns.

    Its loader looks for the table by the name of the image and is confused by siblings, so it is shown a folder of
    its own that holds this one table under a plain name.
    """
    from nilearn.interfaces.fmriprep import load_confounds as nilearn_load_confounds

    with tempfile.TemporaryDirectory(prefix="neurossm-confounds-") as scratch:
        plain = Path(scratch) / "sub-1_task-t_desc-confounds_timeseries.tsv"
        shutil.copyfile(table, plain)
        sidecar = table.with_suffix(".json")
        if sidecar.is_file():
            shutil.copyfile(sidecar, plain.with_suffix(".json"))
        image = str(Path(scratch) / "sub-1_task-t_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")
        arguments = {
            name: tuple(value) if isinstance(value, list) else value for name, value in strategy.nilearn.items()
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                regressors, sample_mask = nilearn_load_confounds(image, **arguments, demean=True)
        except (ValueError, KeyError, TypeError) as error:
            if "camel case" in str(error):
                raise RunError(
                    f"{table} has column names in camel case, as fMRIPrep before 1.2 wrote them, so --denoise "
                    f"{strategy.name} can not be used; run a newer fMRIPrep, or name the columns in a JSON strategy."
                ) from error
            # nilearn's message names its scratch copy; the user knows the real one.
            reason = " ".join(str(error).replace(str(plain), str(table)).split()).rstrip(".")
            raise RunError(
                f"{table} does not serve --denoise {strategy.name}: {reason}; it has the columns {_listed(content)}."
            ) from error
    kept = np.arange(len(content)) if sample_mask is None else np.asarray(sample_mask, dtype=np.int64)
    values = np.nan_to_num(regressors.to_numpy(dtype=np.float64))
    return values, tuple(str(name) for name in regressors.columns), kept


def _from_columns(
    table: Path, content: pd.DataFrame, strategy: Strategy
) -> tuple[npt.NDArray[np.float64], tuple[str, ...]]:
    """Take columns by name; one that is missing is never silently left out."""
    columns: list[str] = []
    for pattern in strategy.columns:
        found = [str(name) for name in content if fnmatch.fnmatchcase(str(name), pattern)]
        if not found:
            raise RunError(
                f"{table} has no column {pattern}, which --denoise {strategy.name} names; it has {_listed(content)}."
            )
        columns += [name for name in found if name not in columns]
    values = _numbers(content, columns, table)
    # Derivatives are n/a in the first row: after the mean is taken off, 0 is the neutral value.
    return np.nan_to_num(values - np.nanmean(values, axis=0, keepdims=True)), tuple(columns)


def _listed(content: pd.DataFrame, most: int = 12) -> str:
    names = [str(name) for name in content.columns]
    return ", ".join(names[:most]) + (f" ... ({len(names)} in all)" if len(names) > most else "")
