"""Chance, for maps that are smooth: surrogates with the same spatial autocorrelation, and corrections for many tests.

Two unrelated smooth maps correlate far more often than a permutation of regions suggests. Surrogates are drawn from
the Gaussian field that fits a map best: Matern covariance over the distances between regions, with a nugget, by
restricted maximum likelihood (Patterson & Thompson, 1971, Biometrika 58:545), so that what the covariates take away
does not count as roughness. On simulated pairs of unrelated maps Moran spectral randomisation, which was tried before,
is liberal where maps vary slowly; see docs/methods.md, section 4, for the figures of both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_PERMUTATIONS = 10_000
# Length scales in mm and shares of noise that are tried; the best of the grid is taken.
_SCALES = tuple(float(scale) for scale in np.geomspace(5.0, 200.0, 20))
_NUGGETS = np.array([0.001, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95])

Floats = NDArray[np.float64]


def _matern_half(ratio: Floats) -> Floats:
    return np.asarray(np.exp(-ratio))


def _matern_three_halves(ratio: Floats) -> Floats:
    return np.asarray((1 + math.sqrt(3) * ratio) * np.exp(-math.sqrt(3) * ratio))


def _gaussian(ratio: Floats) -> Floats:
    return np.asarray(np.exp(-(ratio**2) / 2))


_SHAPES: dict[str, Callable[[Floats], Floats]] = {
    "exponential": _matern_half,
    "Matern 3/2": _matern_three_halves,
    "Gaussian": _gaussian,
}


@dataclass(frozen=True)
class SpatialCovariance:
    """How alike regions are, by their distance: (1 - nugget) shape(distance / scale), and 1 at the region itself.

    Parameters
    ----------
    shape : {"exponential", "Matern 3/2", "Gaussian"}
        Matern covariance with smoothness 1/2, 3/2, infinity.
    scale : float
        Length scale in mm.
    nugget : float
        Share of the variance that is noise of single regions.
    """

    shape: str
    scale: float
    nugget: float

    def spectrum(self, distances: Floats) -> tuple[Floats, Floats]:
        """Return eigenvalues (R,) and eigenvectors (R, R) over regions with these distances (R, R) in mm."""
        values, vectors = np.linalg.eigh(_SHAPES[self.shape](distances / self.scale))
        return (1 - self.nugget) * np.maximum(values, 0.0) + self.nugget, vectors


def fitted_covariances(maps: Sequence[tuple[Floats, Floats]], distances: Floats) -> list[SpatialCovariance]:
    """Fit the autocorrelation of maps given their covariates.

    Parameters
    ----------
    maps : sequence of (values, design)
        Map (R,), and orthonormal columns (R, k) that span its covariates, the constant among them.
    distances : ndarray, shape (R, R)
        Between the centres of the regions, in mm.

    Returns
    -------
    list of SpatialCovariance
        Of each map, that with the largest restricted likelihood; the variance is profiled out.
    """
    best: list[tuple[float, SpatialCovariance]] = []
    for covariance, values, vectors in _candidates(distances):
        eigenvalues = (1 - _NUGGETS)[:, None] * values + _NUGGETS[:, None]
        found = [_restricted_likelihood(vectors.T @ each, vectors.T @ design, eigenvalues) for each, design in maps]
        here = [
            (float(each.max()), SpatialCovariance(*covariance, float(_NUGGETS[int(each.argmax())]))) for each in found
        ]
        best = [max(pair, key=lambda item: item[0]) for pair in zip(best, here, strict=True)] if best else here
    return [covariance for _, covariance in best]


def _candidates(distances: Floats) -> Iterator[tuple[tuple[str, float], Floats, Floats]]:
    for shape, scale in itertools.product(_SHAPES, _SCALES):
        values, vectors = np.linalg.eigh(_SHAPES[shape](distances / scale))
        yield (shape, scale), np.maximum(values, 0.0), vectors


def _restricted_likelihood(values: Floats, design: Floats, eigenvalues: Floats) -> Floats:
    """Log likelihood, but for a constant, of a map in eigenvector coordinates, for each row of eigenvalues (N, R)."""
    left = len(values) - design.shape[1]
    weights = 1.0 / eigenvalues
    information = np.einsum("ri,nr,rj->nij", design, weights, design)
    moments = np.einsum("ri,nr,r->ni", design, weights, values)
    explained = np.einsum("ni,ni->n", moments, np.linalg.solve(information, moments[..., None])[..., 0])
    residual = np.maximum((weights * values**2).sum(axis=1) - explained, np.finfo(float).tiny)
    determinants = np.log(eigenvalues).sum(axis=1) + np.linalg.slogdet(information)[1]
    return np.asarray(-0.5 * (left * np.log(residual) + determinants))


def freedman_lane_correlations(
    reference_residual: Floats, design: Floats, covariance: SpatialCovariance, distances: Floats, normals: Floats
) -> Floats:
    """Partial correlations of surrogate maps with the reference (Freedman & Lane, 1983).

    A surrogate of the residual is added to the fitted part and residualised again. The fitted part lies in the
    span of the design, so it drops out, and everything that is left are inner products, which are taken between
    coefficients: no surrogate map is ever built.

    Parameters
    ----------
    reference_residual : ndarray, shape (R,)
        Residual of the reference given the design.
    design : ndarray, shape (R, k)
        Orthonormal columns that span the covariates, the constant among them.
    covariance : SpatialCovariance
        Of the map, from :func:`fitted_covariances`.
    distances : ndarray, shape (R, R)
        In mm.
    normals : ndarray, shape (n_surrogates, R)
        Independent standard normal numbers.

    Returns
    -------
    ndarray, shape (n_surrogates,)
    """
    values, vectors = covariance.spectrum(distances)
    drawn = normals * np.sqrt(values)
    left = (drawn**2).sum(axis=1) - ((drawn @ (vectors.T @ design)) ** 2).sum(axis=1)
    product = drawn @ (vectors.T @ reference_residual)
    lengths = np.sqrt(np.maximum(left, np.finfo(float).tiny)) * np.linalg.norm(reference_residual)
    return np.asarray(product / lengths)


def one_sided_p(observed: float, null: Floats) -> float:
    """Share of null values at least as large, the observed one counted among them: never 0."""
    return float((1 + np.count_nonzero(null >= observed - 1e-12)) / (1 + null.size))


def holm(p_values: Floats) -> Floats:
    """Adjust p values for their number (Holm, 1979); NaN stays NaN and is not counted."""
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def diagonal_permutation(matrix: Floats, seed: int) -> tuple[float, float]:
    """Test whether maps meet their own reference more than each other's, by permuting the labels.

    Parameters
    ----------
    matrix : ndarray, shape (C, C)
        Partial correlation of each map with each reference; C is at least 4, below which there are too few
        permutations for any p under .04.
    seed : int
        For C above 7, where 10,000 permutations are drawn; up to 7 all are taken.

    Returns
    -------
    excess : float
        Mean of the diagonal minus mean of the rest.
    p : float
        One-sided.

    Raises
    ------
    ValueError
        If there are fewer than 4 classes or a cell is not finite.
    """
    n_classes = len(matrix)
    if n_classes < 4 or not np.isfinite(matrix).all():
        raise ValueError(f"a finite matrix of at least 4 classes is needed, got {n_classes}.")
    rows, total = np.arange(n_classes), float(matrix.sum())
    exact = math.factorial(n_classes) <= _MOST_PERMUTATIONS
    if exact:
        orders = np.array(list(itertools.permutations(rows)))
    else:
        orders = np.random.default_rng(seed).permuted(np.tile(rows, (_MOST_PERMUTATIONS, 1)), axis=1)
    on_diagonal = matrix[rows, orders].sum(axis=1)
    observed = float(np.trace(matrix))
    excess = observed / n_classes - (total - observed) / (n_classes * (n_classes - 1))
    if exact:
        return excess, float(np.mean(on_diagonal >= observed - 1e-12))
    return excess, one_sided_p(observed, on_diagonal)
