"""Whether motion still shows in the connectivity of a cohort (QC-FC): a benchmark of denoising."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Participants below which the figures rest on too little; a correlation over 30 has a standard error of 0.19.
FEW = 30


@dataclass(frozen=True)
class QCFC:
    """How far connectivity follows motion over participants.

    Parameters
    ----------
    r, p : ndarray of float64, shape (E,)
        Pearson correlation of each edge with motion, and its two-sided p; NaN where the edge is known in fewer than
        four participants or does not vary.
    n_edges : int
        Edges with an r.
    median_absolute_r : float
        Median of absolute r over edges.
    chance_median_absolute_r : float
        What it would be over edges that have nothing to do with motion: the fewer participants, the larger.
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
    chance_median_absolute_r: float
    share_significant: float
    distance_dependence: float


class MotionCorrelation:
    """Pearson correlation of many edges with motion, taken up one participant at a time.

    Running sums about the first value of each edge: memory does not grow with the cohort (10 MB for 400 regions), and
    an edge that never varies has a spread of exactly nothing.

    Parameters
    ----------
    n_edges : int
        E.
    """

    def __init__(self, n_edges: int) -> None:
        self.n = np.zeros(n_edges, dtype=np.int64)
        self._edge_origin = np.zeros(n_edges)
        self._motion_origin = float("nan")
        # Sums of edge, its square, motion, its square, and their product.
        self._sums = np.zeros((5, n_edges))

    def add(self, edges: npt.NDArray[np.float64], motion: float) -> None:
        """Take up one participant.

        Parameters
        ----------
        edges : ndarray, shape (E,)
            NaN where the participant does not have an edge.
        motion : float
            Mean framewise displacement in mm; a participant without it is left out.
        """
        if not math.isfinite(motion):
            return
        if math.isnan(self._motion_origin):
            self._motion_origin = motion
        there = np.isfinite(edges)
        first = there & (self.n == 0)
        self._edge_origin[first] = edges[first]
        value = np.where(there, edges - self._edge_origin, 0.0)
        moved = np.where(there, motion - self._motion_origin, 0.0)
        self.n += there
        for total, term in zip(self._sums, (value, value * value, moved, moved * moved, value * moved), strict=True):
            total += term

    def correlations(self) -> npt.NDArray[np.float64]:
        """Give r of each edge, shape (E,); NaN where it is known in fewer than four participants or does not vary."""
        edge, edge_square, motion, motion_square, product = self._sums
        with np.errstate(invalid="ignore", divide="ignore"):
            edge_spread = edge_square - edge**2 / self.n
            motion_spread = motion_square - motion**2 / self.n
            r = (product - edge * motion / self.n) / np.sqrt(edge_spread * motion_spread)
            # Rounding leaves what does not vary a spread that is not quite nothing.
            flat = ~((edge_spread > 1e-24 * self.n) & (motion_spread > 1e-24 * self.n))
        return np.where((self.n < 4) | flat, np.nan, np.clip(r, -1, 1))

    def result(self, distance: npt.NDArray[np.float64] | None = None) -> QCFC:
        """Sum up over edges.

        Parameters
        ----------
        distance : ndarray, shape (E,), optional
            Between the regions of each edge, in mm.
        """
        from scipy import stats

        r, n = self.correlations(), self.n
        with np.errstate(invalid="ignore", divide="ignore"):
            t = r * np.sqrt((n - 2) / np.maximum(1 - r**2, 0))
        p = 2 * stats.t.sf(np.abs(t), np.maximum(n - 2, 1))
        known = np.isfinite(r)
        dependence = chance = float("nan")
        if known.any():
            degrees = float(np.median(n[known])) - 2
            quartile = float(stats.t.ppf(0.75, degrees))
            chance = quartile / math.sqrt(quartile**2 + degrees)
        if distance is not None:
            comparable = known & np.isfinite(distance)
            if comparable.sum() > 2:
                dependence = float(stats.spearmanr(distance[comparable], r[comparable]).statistic)
        return QCFC(
            r=r,
            p=p,
            n_edges=int(known.sum()),
            median_absolute_r=float(np.median(np.abs(r[known]))) if known.any() else float("nan"),
            chance_median_absolute_r=chance,
            share_significant=float((p[known] < 0.05).mean()) if known.any() else float("nan"),
            distance_dependence=dependence,
        )


def qc_fc(
    connectivity: npt.NDArray[np.float64],
    mean_displacement: npt.NDArray[np.float64],
    centroids: npt.NDArray[np.float64] | None = None,
) -> QCFC:
    """Correlate connectivity with motion over participants.

    Parameters
    ----------
    connectivity : ndarray, shape (n, R, R) or (n, E)
        Symmetric matrices of which the upper triangle is taken, row by row, or features. NaN where a participant does
        not have an edge.
    mean_displacement : ndarray, shape (n,)
        Mean framewise displacement of each in mm; those with NaN are left out.
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
    al. (2018, NeuroImage 171:415-436). Rows count as independent: give one per participant.
    """
    edges = _edges(np.asarray(connectivity, dtype=np.float64))
    motion = np.asarray(mean_displacement, dtype=np.float64)
    if motion.shape != edges.shape[:1]:
        raise ValueError(f"mean_displacement has shape {motion.shape}, {edges.shape[0]} participants are expected.")
    correlation = MotionCorrelation(edges.shape[1])
    for row, moved in zip(edges, motion, strict=True):
        correlation.add(row, float(moved))
    if centroids is None:
        return correlation.result()
    places = np.asarray(centroids, dtype=np.float64)
    if connectivity.ndim != 3 or places.shape != (connectivity.shape[1], 3):
        raise ValueError(f"centroids of shape {places.shape} do not belong to connectivity of {connectivity.shape}.")
    return correlation.result(distances(places))


def upper_triangle(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take the edges of a symmetric matrix row by row, shape (R, R) to (E,)."""
    return np.asarray(matrix[np.triu_indices(len(matrix), 1)])


def distances(centroids: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Euclidean distances between regions in the order of the edges, shape (R, 3) to (E,)."""
    rows, columns = np.triu_indices(len(centroids), 1)
    return np.asarray(np.linalg.norm(centroids[rows] - centroids[columns], axis=1))


def _edges(connectivity: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Take the upper triangle of matrices, shape (n, E); features are left as they are."""
    if connectivity.ndim == 3 and connectivity.shape[1] == connectivity.shape[2]:
        rows, columns = np.triu_indices(connectivity.shape[1], 1)
        return connectivity[:, rows, columns]
    if connectivity.ndim == 2:
        return connectivity
    raise ValueError(f"connectivity has shape {connectivity.shape}, (n, R, R) or (n, E) is expected.")
