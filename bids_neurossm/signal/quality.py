"""Which regions can be used, and figures by which a run is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bids_neurossm.signal.parcels import ParcelSeries


@dataclass(frozen=True)
class RegionQuality:
    """Quality of every region of one run, all arrays of shape (R,).

    Parameters
    ----------
    coverage : ndarray of float64
        Share of the region's voxels that carry signal.
    mean : ndarray of float64
        Mean over volumes, before anything is removed.
    tsnr : ndarray of float64
        Mean over standard deviation of the regional series, before the mean is removed.
    used : ndarray of bool
        Covered well enough, and not constant.
    """

    coverage: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    tsnr: npt.NDArray[np.float64]
    used: npt.NDArray[np.bool_]


def region_quality(parcels: ParcelSeries, kept: npt.NDArray[np.int64], min_coverage: float) -> RegionQuality:
    """Judge the regions of a run on the volumes that are kept.

    Parameters
    ----------
    parcels : ParcelSeries
        Regional means of all volumes.
    kept : ndarray of int, shape (T_kept,)
        Volumes that are kept.
    min_coverage : float
        Smallest share of covered voxels of a region that is used.

    Returns
    -------
    RegionQuality
    """
    series = parcels.series[kept]
    if series.shape[0] == 0:
        nothing = np.full(series.shape[1], np.nan)
        return RegionQuality(parcels.coverage, nothing, nothing, np.zeros(series.shape[1], dtype=bool))
    mean, deviation = series.mean(axis=0), series.std(axis=0)
    # A constant region would become amplified rounding noise once it is divided by its deviation.
    constant = ~(deviation > 1e-6 * np.abs(mean))
    with np.errstate(invalid="ignore", divide="ignore"):
        tsnr = np.where(constant, np.nan, mean / deviation)
    used = (parcels.n_covered > 0) & (parcels.coverage >= min_coverage) & ~constant
    return RegionQuality(parcels.coverage, mean, tsnr, used)


def pearson_connectivity(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Correlate regions with each other.

    Parameters
    ----------
    series : ndarray, shape (T, R)
        NaN columns are regions that are not usable.

    Returns
    -------
    ndarray of float64, shape (R, R)
        Pearson's r; NaN in the rows and columns of unusable regions.
    """
    n_regions = series.shape[1]
    matrix = np.full((n_regions, n_regions), np.nan)
    usable = np.isfinite(series).all(axis=0) if series.shape[0] > 2 else np.zeros(n_regions, dtype=bool)
    if usable.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            matrix[np.ix_(usable, usable)] = np.atleast_2d(np.corrcoef(series[:, usable], rowvar=False))
    return matrix
