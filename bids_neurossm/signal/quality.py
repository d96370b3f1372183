"""Which regions can be used, and figures by which a run, or the denoising of a cohort, is judged."""

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


@dataclass(frozen=True)
class QCFC:
    """How far connectivity over runs follows motion.

    Parameters
    ----------
    r, p : ndarray of float64, shape (E,)
        Pearson correlation of each edge with motion over runs, and its two-sided p; NaN where the edge is known in
        fewer than four runs or does not vary.
    n_edges : int
        Edges with an r.
    median_absolute_r : float
        Median of absolute r over edges.
    share_significant : float
        Share of the edges with p < .05, uncorrected, as it is customarily reported; about .05 without any relation.
    distance_dependence : float
        Spearman correlation between r and the distance between the regions, NaN without centroids. Motion adds to
        near connections more than to far ones, which makes it negative.
    """

    r: npt.NDArray[np.float64]
    p: npt.NDArray[np.float64]
    n_edges: int
    median_absolute_r: float
    share_significant: float
    distance_dependence: float


def qc_fc(
    connectivity: npt.NDArray[np.float64],
    mean_displacement: npt.NDArray[np.float64],
    centroids: npt.NDArray[np.float64] | None = None,
) -> QCFC:
    """Correlate connectivity with motion over runs (QC-FC): a benchmark of denoising for a whole cohort.

    Parameters
    ----------
    connectivity : ndarray, shape (n, R, R) or (n, E)
        Symmetric matrices of which the upper triangle is taken, row by row, or features. NaN where a run does not have
        an edge.
    mean_displacement : ndarray, shape (n,)
        Mean framewise displacement of each run in mm; runs with NaN are left out.
    centroids : ndarray, shape (R, 3), optional
        Region centres in mm, for the distance dependence; only with matrices.

    Returns
    -------
    QCFC

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    Notes
    -----
    After Ciric et al. (2017, NeuroImage 154:174-187); the distance dependence as a rank correlation after Parkes et
    al. (2018, NeuroImage 171:415-436). Runs count as independent: give one run per participant.
    """
    from scipy import stats

    edges = _edges(np.asarray(connectivity, dtype=np.float64))
    motion = np.asarray(mean_displacement, dtype=np.float64)
    if motion.shape != edges.shape[:1]:
        raise ValueError(f"mean_displacement has shape {motion.shape}, {edges.shape[0]} runs are expected.")
    r, n_runs = _correlations(edges[np.isfinite(motion)], motion[np.isfinite(motion)])
    with np.errstate(invalid="ignore", divide="ignore"):
        t = r * np.sqrt((n_runs - 2) / np.maximum(1 - r**2, 0))
    p = 2 * stats.t.sf(np.abs(t), np.maximum(n_runs - 2, 1))
    known = np.isfinite(r)
    dependence = float("nan")
    if centroids is not None:
        distance = _distances(np.asarray(centroids, dtype=np.float64), connectivity.shape)
        comparable = known & np.isfinite(distance)
        if comparable.sum() > 2:
            dependence = float(stats.spearmanr(distance[comparable], r[comparable]).statistic)
    return QCFC(
        r=r,
        p=p,
        n_edges=int(known.sum()),
        median_absolute_r=float(np.median(np.abs(r[known]))) if known.any() else float("nan"),
        share_significant=float((p[known] < 0.05).mean()) if known.any() else float("nan"),
        distance_dependence=dependence,
    )


def _edges(connectivity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take the upper triangle of matrices, shape (n, E); features are left as they are."""
    if connectivity.ndim == 3 and connectivity.shape[1] == connectivity.shape[2]:
        rows, columns = np.triu_indices(connectivity.shape[1], 1)
        return connectivity[:, rows, columns]
    if connectivity.ndim == 2:
        return connectivity
    raise ValueError(f"connectivity has shape {connectivity.shape}, (n, R, R) or (n, E) is expected.")


def _distances(centroids: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Euclidean distances in the order of the upper triangle, shape (E,)."""
    if len(shape) != 3 or centroids.shape != (shape[1], 3):
        raise ValueError(f"centroids of shape {centroids.shape} do not belong to connectivity of shape {shape}.")
    rows, columns = np.triu_indices(shape[1], 1)
    return np.asarray(np.linalg.norm(centroids[rows] - centroids[columns], axis=1))


def _correlations(
    edges: npt.NDArray[np.float64], motion: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Pearson's r of each edge with motion over the runs that have the edge, and their number, both (E,)."""
    there = np.isfinite(edges)
    n_runs = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.where(there, edges - np.where(there, edges, 0).sum(axis=0) / n_runs, 0)
        moved = np.where(there, motion[:, None] - (there * motion[:, None]).sum(axis=0) / n_runs, 0)
        spread = np.sqrt((centred**2).sum(axis=0) * (moved**2).sum(axis=0))
        r = (centred * moved).sum(axis=0) / spread
    # Rounding leaves a constant edge a spread that is not quite zero.
    flat = (np.abs(centred).max(axis=0, initial=0) < 1e-12) | (np.abs(moved).max(axis=0, initial=0) < 1e-12)
    return np.where((n_runs < 4) | flat, np.nan, np.clip(r, -1, 1)), n_runs
