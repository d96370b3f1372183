"""Functional connectivity as features: Pearson correlation and tangent-space covariance, float32.

A region that is dead or uncovered in a run carries no information there: its Pearson features are 0, and in the
covariance it is uncorrelated with all others at unit variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import RunError
from bids_neurossm.registry import LEAST_BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Identical regions have r = 1, whose Fisher z is infinite.
_LARGEST_CORRELATION = 1 - 1e-6
#: Covariances whose eigenvectors are found together.
_CHUNK = 64
#: Sizes of the bins of multiscale connectivity, in time points; those of NeuroSSM's pathways.
SCALES = (1, 2, 4)


def fisher_z_connectivity(series: NDArray[np.floating]) -> NDArray[np.float32]:
    """Fisher z of the Pearson correlation between regions.

    Parameters
    ----------
    series : array, shape (T, R)
        Region series of one run; a constant or not finite region is dead.

    Returns
    -------
    array of float32, shape (R (R - 1) / 2,)
        Upper triangle, row by row; 0 where either region is dead.
    """
    values = np.asarray(series, dtype=np.float64)
    finite = np.isfinite(values).all(axis=0)
    values = np.where(finite, values, 0.0)
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    dead = length <= 1e-6 * np.sqrt(len(values)) * np.maximum(np.abs(values).max(axis=0), 1e-30)
    scaled = np.where(dead, 0.0, centred / np.where(dead, 1.0, length))
    correlation = np.clip(scaled.T @ scaled, -_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    upper = np.arctanh(correlation[np.triu_indices(values.shape[1], k=1)])
    return np.asarray(upper, dtype=np.float32)


def pearson_features(cohort: Cohort, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Pearson connectivity of several runs, censored volumes left out.

    Returns
    -------
    array of float32, shape (n, R (R - 1) / 2)
    """
    regions = len(cohort.regions)
    features = np.empty((len(indices), regions * (regions - 1) // 2), dtype=np.float32)
    for row, index in enumerate(indices):
        features[row] = fisher_z_connectivity(kept_volumes(cohort, int(index)))
    return features


def kept_volumes(cohort: Cohort, index: int, size: int = 1) -> NDArray[np.float32]:
    """Standardised series of a run, its contiguous segments one after the other, shape (K, R).

    Connectivity does not look at the order of the volumes, so that the gaps do no harm.

    Parameters
    ----------
    cohort : Cohort
        Where the run is.
    index : int
        Its row.
    size : int
        Time points that are averaged into one bin. No bin crosses a gap, and partial bins are dropped.

    Raises
    ------
    RunError
        If `size` is above 1 and the run has fewer than 8 bins.
    """
    series = cohort.standardised(index)
    segments = cohort.segments(index)
    if size == 1:
        return np.concatenate([series[start:stop] for start, stop in segments])
    bins = [
        series[start : stop - (stop - start) % size].reshape(-1, size, series.shape[1]).mean(axis=1)
        for start, stop in segments
    ]
    kept = np.concatenate(bins)
    if len(kept) < LEAST_BINS:
        raise RunError(
            f"{cohort.runs['run'].iloc[index]}: {len(kept)} bins of {size} time points are left; connectivity at this "
            f"scale needs {LEAST_BINS}. Exclude the run."
        )
    return kept


def shrunk_covariance(series: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ledoit-Wolf covariance between regions; positive definite.

    Parameters
    ----------
    series : array, shape (T, R)
        Standardised series; a dead region is 0 throughout.

    Returns
    -------
    array of float64, shape (R, R)
        Row and column of a dead region are those of the identity.
    """
    from sklearn.covariance import ledoit_wolf

    live = np.flatnonzero(np.any(series != 0, axis=0))
    covariance = np.eye(series.shape[1])
    if len(live):
        shrunk, _ = ledoit_wolf(np.asarray(series[:, live], dtype=np.float64))
        covariance[np.ix_(live, live)] = shrunk
    return covariance


class TangentSpace:
    """Covariances seen from their geometric mean G: log(W S W), W the inverse square root of G.

    That is nilearn's ``ConnectivityMeasure(kind="tangent")``, quicker. The mean is sought by the same descent (Fletcher
    and Joshi, 2007, Signal Processing, algorithm 3): it starts from the arithmetic mean, and each step moves it
    along the mean of the tangent vectors, which is 0 at the geometric mean. What is left of that mean shifts all
    participants together, and the linear models on top centre their features, so that the descent can stop early:
    on 147 runs of 200 regions the kernel between participants differs by .8 % from that of the converged mean at
    the default tolerance, after two passes over the covariances instead of up to 30.

    The reference belongs to the training fold: fit it there, nowhere else.

    Parameters
    ----------
    tolerance : float
        The descent stops where the mean of the tangent vectors is shorter than this share of their typical distance
        from it.
    steps : int
        The descent stops after as many steps at the latest.

    Attributes
    ----------
    whitening : array of float64, shape (R, R)
        W; set by :meth:`fit` and :meth:`fit_transform`.

    References
    ----------
    Varoquaux et al. (2010), MICCAI, "Detection of brain functional-connectivity difference in post-stroke patients
    using group-level covariance modeling".
    """

    whitening: NDArray[np.float64]

    def __init__(self, tolerance: float = 0.1, steps: int = 50) -> None:
        self.tolerance = tolerance
        self.steps = steps

    def fit(self, covariances: NDArray[np.float64]) -> TangentSpace:
        """Find the geometric mean of positive definite covariances, shape (n, R, R)."""
        self.fit_transform(covariances)
        return self

    def fit_transform(self, covariances: NDArray[np.float64]) -> NDArray[np.float32]:
        """Find the geometric mean of covariances and return their tangent vectors; see :meth:`transform`."""
        mean = covariances.mean(axis=0)
        for step in range(self.steps + 1):
            values, vectors = np.linalg.eigh(mean)
            self.whitening = (vectors / np.sqrt(values)) @ vectors.T
            features = self.transform(covariances)
            centre = features.mean(axis=0, dtype=np.float64)
            # The mean squared distance from the centre, without a copy of all features in float64.
            spread = float(np.mean([np.dot(row, row) for row in features])) - float(centre @ centre)
            if float(centre @ centre) <= self.tolerance**2 * max(spread, 0.0) or step == self.steps:
                break
            root = (vectors * np.sqrt(values)) @ vectors.T
            values, vectors = np.linalg.eigh(_symmetric(centre, len(mean)))
            mean = root @ ((vectors * np.exp(values)) @ vectors.T) @ root
        return features

    def transform(self, covariances: NDArray[np.float64]) -> NDArray[np.float32]:
        """Tangent vectors, shape (n, R (R + 1) / 2), off-diagonal cells times sqrt(2) so that length is kept.

        The cells are those of the lower triangle, row by row, as in nilearn's ``sym_matrix_to_vec`` (which divides
        the diagonal by sqrt(2) instead).
        """
        regions = self.whitening.shape[0]
        rows, columns = np.tril_indices(regions)
        weights = np.where(rows == columns, 1.0, np.sqrt(2.0))
        features = np.empty((len(covariances), len(rows)), dtype=np.float32)
        for start in range(0, len(covariances), _CHUNK):
            values, vectors = np.linalg.eigh(self.whitening @ covariances[start : start + _CHUNK] @ self.whitening)
            logarithms = (vectors * np.log(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
            features[start : start + _CHUNK] = logarithms[:, rows, columns] * weights
        return features


def _symmetric(vector: NDArray[np.float64], regions: int) -> NDArray[np.float64]:
    """Return the symmetric matrix of a tangent vector."""
    matrix = np.zeros((regions, regions))
    matrix[np.tril_indices(regions)] = vector / np.sqrt(2)
    return matrix + matrix.T + np.diag(np.diag(matrix) * (np.sqrt(2) - 2))


def covariances_of(cohort: Cohort, indices: Sequence[int] | NDArray[np.int64], size: int = 1) -> NDArray[np.float64]:
    """Shrunk covariances of several runs, shape (n, R, R), over bins of `size` time points (see `kept_volumes`)."""
    regions = len(cohort.regions)
    covariances = np.empty((len(indices), regions, regions))
    for row, index in enumerate(indices):
        covariances[row] = shrunk_covariance(kept_volumes(cohort, int(index), size))
    return covariances
