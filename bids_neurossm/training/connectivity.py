"""Functional connectivity as features: Pearson correlation and tangent-space covariance, float32.

A region that is dead or uncovered in a run carries no information there: its Pearson features are 0, and in the
covariance it is uncorrelated with all others at unit variance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.training.cohort import Cohort

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Identical regions have r = 1, whose Fisher z is infinite.
_LARGEST_CORRELATION = 1 - 1e-6


def pearson_connectivity(series: NDArray[np.floating]) -> NDArray[np.float32]:
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
        features[row] = pearson_connectivity(kept_volumes(cohort, int(index)))
    return features


def kept_volumes(cohort: Cohort, index: int) -> NDArray[np.float32]:
    """Standardised series of a run, its contiguous segments one after the other, shape (T_kept, R).

    Connectivity does not look at the order of the volumes, so that the gaps do no harm.
    """
    series = cohort.standardised(index)
    return np.concatenate([series[start:stop] for start, stop in cohort.segments(index)])


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
    """Covariances seen from their geometric mean: log(W S W), W the inverse square root of the mean.

    The mean is that of nilearn's ``ConnectivityMeasure(kind="tangent")`` (Varoquaux et al., 2010, MICCAI, "Detection
    of brain functional-connectivity difference in post-stroke patients using group-level covariance modeling").
    It belongs to the training fold: fit it there, nowhere else.

    Attributes
    ----------
    whitening : array of float64, shape (R, R)
        W; set by :meth:`fit`.
    """

    whitening: NDArray[np.float64]

    def fit(self, covariances: NDArray[np.float64]) -> TangentSpace:
        """Find the geometric mean of covariances, shape (n, R, R)."""
        from nilearn.connectome import ConnectivityMeasure
        from sklearn.covariance import EmpiricalCovariance

        # nilearn takes series. A square root of S (times sqrt(R), taken as centred) is a series with covariance S.
        values, vectors = np.linalg.eigh(covariances)
        roots = vectors * np.sqrt(np.maximum(values, 0) * covariances.shape[1])[:, None, :]
        measure = ConnectivityMeasure(
            cov_estimator=EmpiricalCovariance(store_precision=False, assume_centered=True), kind="tangent"
        )
        measure.fit(list(roots.transpose(0, 2, 1)))
        self.whitening = np.asarray(measure.whitening_, dtype=np.float64)
        return self

    def transform(self, covariances: NDArray[np.float64]) -> NDArray[np.float32]:
        """Tangent vectors, shape (n, R (R + 1) / 2), off-diagonal cells times sqrt(2) so that length is kept."""
        from nilearn.connectome import sym_matrix_to_vec

        regions = self.whitening.shape[0]
        features = np.empty((len(covariances), regions * (regions + 1) // 2), dtype=np.float32)
        for row, covariance in enumerate(covariances):
            values, vectors = np.linalg.eigh(self.whitening @ covariance @ self.whitening)
            features[row] = np.sqrt(2) * sym_matrix_to_vec((vectors * np.log(values)) @ vectors.T)
        return features


def covariances_of(cohort: Cohort, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Shrunk covariances of several runs, shape (n, R, R)."""
    regions = len(cohort.regions)
    covariances = np.empty((len(indices), regions, regions))
    for row, index in enumerate(indices):
        covariances[row] = shrunk_covariance(kept_volumes(cohort, int(index)))
    return covariances
