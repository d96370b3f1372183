"""Which regions can be used, and figures by which a run is judged."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bids_neurossm.signal.confounds_table import column, read_table
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


def shrunk_connectivity(series: npt.NDArray[np.float64], measure: str) -> npt.NDArray[np.float64]:
    """Relate regions to each other by a measure that needs an estimate of the whole covariance matrix.

    Parameters
    ----------
    series : ndarray, shape (T, R)
        NaN columns are regions that are not usable: what they could explain in the others, nobody knows.
    measure : str
        ``partial-correlation`` or ``covariance``, as `nilearn.connectome.ConnectivityMeasure` computes them: with the
        shrinkage of Ledoit and Wolf (2004, Journal of Multivariate Analysis 88:365-411), so that a run may have more
        regions than volumes. Partial correlations are those of standardised series: without that, shrinkage would
        depend on the scale of the regions.

    Returns
    -------
    ndarray of float64, shape (R, R)
        NaN in the rows and columns of unusable regions.
    """
    n_regions = series.shape[1]
    matrix = np.full((n_regions, n_regions), np.nan)
    usable = np.isfinite(series).all(axis=0) if series.shape[0] > 2 else np.zeros(n_regions, dtype=bool)
    if usable.any():
        from nilearn.connectome import ConnectivityMeasure

        values = series[:, usable]
        if measure == "partial-correlation":  # nilearn standardises for plain correlation alone
            values = (values - values.mean(axis=0)) / values.std(axis=0)
        estimate = ConnectivityMeasure(kind=measure.replace("-", " "), standardize=False)
        matrix[np.ix_(usable, usable)] = estimate.fit_transform([values])[0]
    return matrix


#: fMRIPrep's own marks for ``motion_outlier*``: framewise displacement in mm, standardised DVARS.
OUTLIER_DISPLACEMENT, OUTLIER_STD_DVARS = 0.5, 1.5


@dataclass(frozen=True)
class MotionSummary:
    """Motion of one run over all its volumes.

    Parameters
    ----------
    mean_displacement, max_displacement : float
        Framewise displacement in mm; NaN where the table has none.
    mean_std_dvars : float
        Mean standardised DVARS; NaN where the table has none.
    n_outliers : int or None
        Volumes above fMRIPrep's default marks, 0.5 mm of framewise displacement or a standardised DVARS of 1.5,
        whatever a strategy drops; None where the table has neither.
    """

    mean_displacement: float
    max_displacement: float
    mean_std_dvars: float
    n_outliers: int | None


def motion_summary(table: Path | None, n_volumes: int) -> MotionSummary:
    """Sum up the motion of a run.

    Parameters
    ----------
    table : Path or None
        fMRIPrep's table of confounds.
    n_volumes : int
        Volumes of the image, T.

    Raises
    ------
    RunError
        If the table can not be read.
    """
    content = read_table(table, n_volumes) if table is not None else None
    found = [
        column(content, name, table) if content is not None else None
        for name in ("framewise_displacement", "std_dvars")
    ]
    unknown = np.full(n_volumes, np.nan)
    displacement, std_dvars = (unknown if each is None else each for each in found)
    outliers = (displacement > OUTLIER_DISPLACEMENT) | (std_dvars > OUTLIER_STD_DVARS)
    known = [each[np.isfinite(each)] for each in (displacement, std_dvars)]
    return MotionSummary(
        mean_displacement=float(known[0].mean()) if known[0].size else float("nan"),
        max_displacement=float(known[0].max()) if known[0].size else float("nan"),
        mean_std_dvars=float(known[1].mean()) if known[1].size else float("nan"),
        n_outliers=None if all(each is None for each in found) else int(outliers.sum()),
    )
