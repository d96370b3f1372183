"""Cleaning regional series, and saying what was kept."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import Confounds
from bids_neurossm.signal.ica_aroma import without_noise
from bids_neurossm.signal.strategy import Strategy

#: Samples that scipy's forward and backward filter adds at each end, for nilearn's filter of order 5 with one cut-off
#: and with two; it refuses series that are not longer.
_PADDING = {1: 18, 2: 33}

#: fMRIPrep writes cosines from 128 s on; volumes that it took for not steady may shorten what it counted.
_SECONDS_WITH_COSINES = 150.0


@dataclass(frozen=True)
class CleanSeries:
    """Series of one run after denoising.

    Parameters
    ----------
    series : ndarray of float64, shape (T_kept, R)
        NaN in regions that are not usable, and everywhere where no degree of freedom is left.
    segments : tuple of (int, int)
        Rows ``start:stop`` that were contiguous in time; nothing may be computed across their borders.
    degrees_of_freedom : int
        What is left of the volumes that are kept, see `degrees_of_freedom`; 0 where the run is too short for the
        filter.
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

    Where the strategy says so, noise components are taken out first, see `_without_components`. From there on the
    order is nilearn's, after Lindquist et al. (2019, Human Brain Mapping 40:2358-2376): detrend, filter series and
    regressors alike, drop the censored volumes, regress. Censored volumes between kept ones are replaced by a cubic
    spline before a filter sees them, those at the ends are cut off; without a filter they are dropped at once.

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
        If a filter's cut-off lies above the Nyquist frequency, or the table has no cosine regressors for a strategy
        that filters with them.
    """
    _check_cut_offs(strategy, repetition_time)
    _check_cosines(confounds, strategy, repetition_time)
    cleaned = np.full((confounds.kept.size, series.shape[1]), np.nan)
    series, confounds = _without_components(series, usable, confounds)
    degrees = degrees_of_freedom(confounds, strategy, repetition_time)
    if degrees > 0 and _too_short_to_filter(confounds.kept, strategy):
        degrees = 0
    if degrees > 0 and usable.any():
        if strategy.cleans:
            cleaned[:, usable] = _clean(series[:, usable], confounds, strategy, repetition_time)
        else:
            cleaned[:, usable] = series[confounds.kept][:, usable]
    return CleanSeries(cleaned, contiguous_segments(confounds.kept), degrees)


def _without_components(
    series: npt.NDArray[np.float64], usable: npt.NDArray[np.bool_], confounds: Confounds
) -> tuple[npt.NDArray[np.float64], Confounds]:
    """Take noise components out of the series, and out of the regressors that are to be fitted to what is left.

    A regressor that still holds the noise would bring it back (Lindquist et al. 2019). The mean signals of tissues
    become what they would be in the cleaned image, since means are linear. Cosines are left as they are: they are a
    filter, and describe no signal.
    """
    if confounds.components is None:
        return series, confounds
    series = series.copy()
    series[:, usable] = without_noise(series[:, usable], confounds.components)
    if confounds.regressors is None:
        return series, confounds
    regressors = confounds.regressors.copy()
    signals = [index for index, name in enumerate(confounds.columns) if not name.startswith("cosine")]
    regressors[:, signals] = without_noise(regressors[:, signals], confounds.components)
    return series, replace(confounds, regressors=regressors)


def degrees_of_freedom(confounds: Confounds, strategy: Strategy, repetition_time: float) -> int:
    r"""Count the degrees of freedom that denoising leaves to each regional series.

    .. math:: \nu = \lfloor T_{kept} \, (f_{high} - f_{low}) / f_{Nyquist} \rfloor - K - K_{noise} - K_{trend}

    An ideal filter leaves the Fourier coefficients of its pass band, two real ones for each bin of 1 / (T TR) Hz, so a
    share of the T that is the share of the band in 0 to Nyquist (compare Davey et al. 2013, NeuroImage 64:728-740).
    K are the regressors that vary over the kept volumes: they are filtered alike, so that each takes one dimension of
    what the filter leaves (Bright, Tench & Murphy 2017, NeuroImage 154:159-168). The trend takes 2, mean and slope, or
    none where a high-pass filter has taken both already. Noise components that were taken out non-aggressively cost
    one each, the trace of what was subtracted. It is a count for white noise: autocorrelation of the signal
    leaves fewer effective ones.

    Parameters
    ----------
    confounds : Confounds
        Regressors and the volumes that are kept.
    strategy : Strategy
        Detrending and filters.
    repetition_time : float
        Seconds.

    Returns
    -------
    int
        0 or less where more is fitted than there is.
    """
    nyquist = 0.5 / repetition_time
    low_cut = strategy.high_pass or 0.0
    high_cut = min(strategy.low_pass or nyquist, nyquist)
    # 1e-9: a band of exactly half the spectrum must not lose a volume to rounding.
    passed = int(np.floor(confounds.kept.size * (high_cut - low_cut) / nyquist + 1e-9))
    n_trend = 2 if strategy.detrend and strategy.high_pass is None else 0
    n_noise = 0 if confounds.components is None else int(confounds.components.noise.sum())
    return passed - _n_varying(confounds) - n_noise - n_trend


def _n_varying(confounds: Confounds) -> int:
    """Count the regressors that do anything: a spike in a volume that is dropped anyway takes nothing away."""
    if confounds.regressors is None or confounds.kept.size == 0:
        return len(confounds.columns)
    return int((np.ptp(confounds.regressors[confounds.kept], axis=0) > 0).sum())


def _check_cut_offs(strategy: Strategy, repetition_time: float) -> None:
    nyquist = 0.5 / repetition_time
    for name, frequency in (("--high-pass", strategy.high_pass), ("--low-pass", strategy.low_pass)):
        if frequency is not None and frequency >= nyquist:
            raise RunError(
                f"{name} {frequency} Hz is not below {nyquist:.4g} Hz, the highest frequency that a repetition time of "
                f"{repetition_time} s can show."
            )


def _check_cosines(confounds: Confounds, strategy: Strategy, repetition_time: float) -> None:
    """Refuse a run that would go without its high-pass filter: nilearn passes over missing cosines silently."""
    wanted = "high_pass" in strategy.nilearn.get("strategy", ()) and confounds.regressors is not None
    if not wanted or any(name.startswith("cosine") for name in confounds.columns):
        return
    n_volumes = 0 if confounds.regressors is None else confounds.regressors.shape[0] - confounds.n_dummy
    if n_volumes * repetition_time >= _SECONDS_WITH_COSINES:
        raise RunError(
            f"the table of confounds has no cosine* columns, though the run is {n_volumes * repetition_time:.0f} s "
            f"long, and --denoise {strategy.name} filters with them; run fMRIPrep again for it, or use a strategy of "
            "your own with HighPass."
        )


def _too_short_to_filter(kept: npt.NDArray[np.int64], strategy: Strategy) -> bool:
    """Tell whether the stretch from the first to the last kept volume is no longer than the filter's padding."""
    n_cuts = sum(frequency is not None for frequency in (strategy.high_pass, strategy.low_pass))
    return n_cuts > 0 and int(kept[-1] - kept[0]) + 1 <= _PADDING[n_cuts]


def _clean(
    series: npt.NDArray[np.float64], confounds: Confounds, strategy: Strategy, repetition_time: float
) -> npt.NDArray[np.float64]:
    from nilearn.signal import clean

    regressors = confounds.regressors if confounds.columns else None
    kept = confounds.kept
    if strategy.filters:
        series = _bridged(series, kept)
        regressors = None if regressors is None else _bridged(regressors, kept)
        kept = kept - kept[0]
    everything = kept.size == series.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = clean(
            series,
            confounds=regressors,
            sample_mask=None if everything else kept,
            detrend=strategy.detrend,
            standardize=None,
            filter="butterworth" if strategy.filters else False,
            high_pass=strategy.high_pass,
            low_pass=strategy.low_pass,
            t_r=repetition_time,
        )
    return np.asarray(result, dtype=np.float64)


def _bridged(values: npt.NDArray[np.float64], kept: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Cut off what was dropped at the ends and lay a cubic spline over the gaps, shape (last - first + 1, N).

    nilearn means to do the same, but up to 0.13 it turns the indices of the mask around (``~sample_mask``): a censored
    volume t is bridged only where volume T - 1 - t is kept, and dropped volumes at both ends shift the rows of the
    result. Where nilearn is right, the numbers are the same.
    """
    stretch = values[kept[0] : kept[-1] + 1].copy()
    gaps = np.setdiff1d(np.arange(stretch.shape[0]), kept - kept[0])
    if gaps.size:
        from scipy.interpolate import CubicSpline

        stretch[gaps] = CubicSpline(kept - kept[0], values[kept])(gaps)
    return stretch


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
