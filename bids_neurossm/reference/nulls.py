"""Chance, for maps that are smooth: surrogates with the same spatial autocorrelation, and corrections for many tests.

Two unrelated smooth maps correlate far more often than a permutation of regions suggests. Moran spectral
randomisation (Wagner & Dray, 2015, Methods in Ecology and Evolution 6:1169) draws maps with the same power at
every spatial scale: a map is written in the spatial eigenvectors of the regions, and neighbouring pairs of
coefficients are turned by random angles ("pair" procedure).
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

_MOST_PERMUTATIONS = 10_000


def moran_basis(centroids: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eigenvectors of the centred distance matrix, from coarse to fine.

    These are the principal coordinates of the distances (Borcard & Legendre, 2002, Ecological Modelling 153:51),
    without truncation. On simulated pairs of unrelated maps that vary over 60 mm, inverse distances as weights let
    8 to 10 % pass at p < .05 and squared inverse distances 15 %; the distances themselves 5 to 9 %, with no scale to
    be chosen.

    Parameters
    ----------
    centroids : ndarray, shape (R, 3)
        Centres of the regions in mm.

    Returns
    -------
    ndarray, shape (R, R - 1)
        Orthonormal maps, each with mean zero.
    """
    distance = np.linalg.norm(centroids[:, None] - centroids[None], axis=-1)
    # Within the maps of mean zero: the constant can then not mix with an eigenvector of equal eigenvalue.
    ones = np.ones((len(centroids), 1))
    mean_zero = np.linalg.qr(np.hstack([ones, np.eye(len(centroids))[:, 1:]]))[0][:, 1:]
    _, vectors = np.linalg.eigh(mean_zero.T @ distance @ mean_zero)
    # Eigenvalues are negative but for rounding; the first, largest in size, belongs to the coarsest map.
    return np.asarray(mean_zero @ vectors)


def random_turns(n_components: int, n_surrogates: int, seed: int) -> NDArray[np.complex128]:
    """Random turns of consecutive pairs of coefficients, as complex numbers of modulus 1.

    Returns
    -------
    ndarray of complex128, shape (n_surrogates, (n_components + 1) // 2)
        With an odd number of components the last one has no partner: it keeps or changes its sign.
    """
    generator = np.random.default_rng(seed)
    angles = generator.uniform(0.0, 2.0 * np.pi, (n_surrogates, (n_components + 1) // 2))
    turns: NDArray[np.complex128] = np.exp(1j * angles)
    if n_components % 2:
        turns[:, -1] = generator.choice([-1.0, 1.0], n_surrogates)
    return turns


def moran_surrogates(
    values: NDArray[np.float64], basis: NDArray[np.float64], turns: NDArray[np.complex128]
) -> NDArray[np.float64]:
    """Draw maps with the spatial power of `values`.

    Parameters
    ----------
    values : ndarray, shape (R,)
        A map; its mean is removed.
    basis : ndarray, shape (R, R - 1)
        From :func:`moran_basis`.
    turns : ndarray of complex128, shape (n_surrogates, ceil((R - 1) / 2))
        From :func:`random_turns`.

    Returns
    -------
    ndarray, shape (n_surrogates, R)
    """
    turned = turns * _pairs(basis.T @ values)
    coefficients = np.stack([turned.real, turned.imag], axis=-1).reshape(len(turns), -1)[:, : basis.shape[1]]
    return np.asarray(coefficients @ basis.T)


def _pairs(coefficients: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Consecutive coefficients as real and imaginary part."""
    padded = np.append(coefficients, np.zeros(len(coefficients) % 2))
    return padded[0::2] + 1j * padded[1::2]


def freedman_lane_correlations(
    map_residual: NDArray[np.float64],
    reference_residual: NDArray[np.float64],
    design: NDArray[np.float64],
    basis: NDArray[np.float64],
    turns: NDArray[np.complex128],
) -> NDArray[np.float64]:
    """Partial correlations of surrogate maps with the reference (Freedman & Lane, 1983).

    A surrogate of the residual is added to the fitted part and residualised again. The fitted part lies in the
    span of the design, so it drops out, and everything that is left are inner products, which are taken between
    coefficients: no surrogate map is ever built.

    Parameters
    ----------
    map_residual, reference_residual : ndarray, shape (R,)
        Residuals given the design.
    design : ndarray, shape (R, k)
        Orthonormal columns that span the covariates, the constant among them.
    basis, turns : ndarray
        From :func:`moran_basis` and :func:`random_turns`.

    Returns
    -------
    ndarray, shape (n_surrogates,)
    """
    power = _pairs(basis.T @ map_residual)

    def product(with_map: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((turns @ (power * _pairs(basis.T @ with_map).conj())).real)

    explained = sum(product(column) ** 2 for column in design.T)
    # The basis spans all maps of mean zero, so every surrogate is as long as the residual itself.
    left = np.maximum(map_residual @ map_residual - explained, np.finfo(float).tiny)
    return product(reference_residual) / np.sqrt(left) / float(np.linalg.norm(reference_residual))


def one_sided_p(observed: float, null: NDArray[np.float64]) -> float:
    """Share of null values at least as large, the observed one counted among them: never 0."""
    return float((1 + np.count_nonzero(null >= observed - 1e-12)) / (1 + null.size))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p values for their number (Holm, 1979); NaN stays NaN and is not counted."""
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested])]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def diagonal_permutation(matrix: NDArray[np.float64], seed: int) -> tuple[float, float]:
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
