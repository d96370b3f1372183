"""Cleaning regional series, and saying what was kept."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import Confounds
from bids_neurossm.signal.strategy import Strategy


@dataclass(frozen=True)
class CleanSeries:
    """Series of one run after denoising.

    Parameters
    ----------
    series : ndarray of float64, shape (T_kept, R)
        NaN in regions that are not usable.
    segments : tuple of (int, int)
        Rows ``start:stop`` that were contiguous in time; nothing may be computed across their borders.
    degrees_of_freedom : int
        Volumes kept less the parameters that were fitted to them.
    """

    series: npt.NDArray[np.float64]
    segments: tuple[tuple[int, int], ...]
    degrees_of_freedom: int


def denoise(
    series: npt.NDArray[np.float64],
    usable: npt.NDArray[np.bool_],
    confounds: Confounds,
    strategy: Strategy,
    repetition_time: float,
) -> CleanSeries:
    """Regress confounds out of regional series with `nilearn.signal.clean`.

    Parameters
    ----------
    series : ndarray, shape (T, R)
        Regional means of all volumes.
    usable : ndarray of bool, shape (R,)
        Regions that are cleaned; the others become NaN.
    confounds : Confounds
        Regressors and the volumes that are kept.
    strategy : Strategy
        Detrending and filters.
    repetition_time : float
        Seconds.

    Returns
    -------
    CleanSeries

    Raises
    ------
    RunError
        If a filter's cut-off lies above the Nyquist frequency.
    """
    nyquist = 0.5 / repetition_time
    for name, frequency in (("--high-pass", strategy.high_pass), ("--low-pass", strategy.low_pass)):
        if frequency is not None and frequency >= nyquist:
            raise RunError(
                f"{name} {frequency} Hz is not below {nyquist:.4g} Hz, the highest frequency that a repetition time of "
                f"{repetition_time} s can show."
            )
    n_regressors = 0 if confounds.regressors is None else confounds.regressors.shape[1]
    n_fitted = n_regressors + (2 if strategy.detrend else 0)
    cleaned = np.full((confounds.kept.size, series.shape[1]), np.nan)
    degrees = int(confounds.kept.size) - n_fitted
    if degrees > 0 and usable.any():
        if strategy.cleans:
            cleaned[:, usable] = _clean(series[:, usable], confounds, strategy, repetition_time)
        else:
            cleaned[:, usable] = series[confounds.kept][:, usable]
    return CleanSeries(cleaned, contiguous_segments(confounds.kept), degrees)


def _clean(
    series: npt.NDArray[np.float64], confounds: Confounds, strategy: Strategy, repetition_time: float
) -> npt.NDArray[np.float64]:
    from nilearn.signal import clean

    filtered = strategy.high_pass is not None or strategy.low_pass is not None
    everything = confounds.kept.size == series.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = clean(
            series,
            confounds=confounds.regressors,
            sample_mask=None if everything else confounds.kept,
            detrend=strategy.detrend,
            standardize=None,
            filter="butterworth" if filtered else False,
            high_pass=strategy.high_pass,
            low_pass=strategy.low_pass,
            t_r=repetition_time,
        )
    return np.asarray(result, dtype=np.float64)


def contiguous_segments(kept: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Find the stretches of kept volumes without a gap.

    Parameters
    ----------
    kept : ndarray of int, shape (T_kept,)
        Volumes that are kept, ascending.

    Returns
    -------
    tuple of (int, int)
        Rows ``start:stop`` of the kept series.

    Examples
    --------
    >>> import numpy as np
    >>> contiguous_segments(np.array([2, 3, 4, 7, 8]))
    ((0, 3), (3, 5))
    """
    if kept.size == 0:
        return ()
    borders = np.flatnonzero(np.diff(kept) > 1) + 1
    edges = [0, *borders.tolist(), int(kept.size)]
    return tuple(itertools.pairwise(edges))
