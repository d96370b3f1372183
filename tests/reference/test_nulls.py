"""The null keeps the smoothness of a map, and corrections do what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from bids_neurossm.reference.nulls import (
    SpatialCovariance,
    diagonal_permutation,
    fitted_covariances,
    freedman_lane_correlations,
    holm,
    one_sided_p,
)


def regions_on_a_sheet(n_regions: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    return generator.uniform(-60, 60, (n_regions, 3)) * [1, 1, 0.3]


def distances(n_regions: int) -> np.ndarray:
    centres = regions_on_a_sheet(n_regions)
    return np.linalg.norm(centres[:, None] - centres, axis=-1)


def drawn(covariance: SpatialCovariance, between: np.ndarray, n_maps: int, seed: int) -> np.ndarray:
    values, vectors = covariance.spectrum(between)
    return (np.random.default_rng(seed).standard_normal((n_maps, len(values))) * np.sqrt(values)) @ vectors.T


def design_of(n_regions: int, n_covariates: int) -> np.ndarray:
    covariates = np.random.default_rng(5).standard_normal((n_regions, n_covariates))
    return np.linalg.qr(np.hstack([np.ones((n_regions, 1)), covariates]))[0]


def test_a_covariance_is_one_at_the_region_itself_and_falls_with_distance() -> None:
    between = distances(30)
    values, vectors = SpatialCovariance("Matern 3/2", 40.0, 0.1).spectrum(between)
    matrix = (vectors * values) @ vectors.T
    np.testing.assert_allclose(np.diag(matrix), 1)
    ratio = np.sqrt(3) * between[0, 1:] / 40
    np.testing.assert_allclose(matrix[0, 1:], 0.9 * (1 + ratio) * np.exp(-ratio))


@pytest.mark.parametrize("truth", [("Gaussian", 40.0, 0.01), ("exponential", 20.0, 0.2), ("Gaussian", 5.0, 0.95)])
def test_the_autocorrelation_of_maps_is_found(truth: tuple[str, float, float]) -> None:
    between, design = distances(150), design_of(150, 3)
    maps = drawn(SpatialCovariance(*truth), between, 12, seed=0)
    fitted = fitted_covariances([(each - design @ (design.T @ each), design) for each in maps], between)

    def at(covariance: SpatialCovariance, where: float) -> float:
        values, vectors = covariance.spectrum(np.array([[0.0, where], [where, 0.0]]))
        return float(((vectors * values) @ vectors.T)[0, 1])

    for where in (10.0, 30.0):
        found = np.median([at(each, where) for each in fitted])
        assert found == pytest.approx(at(SpatialCovariance(*truth), where), abs=0.12)


def test_freedman_lane_in_coefficients_equals_building_every_surrogate() -> None:
    between, design = distances(60), design_of(60, 3)
    covariance = SpatialCovariance("Gaussian", 30.0, 0.1)
    residual_maker = np.eye(60) - design @ design.T
    reference_residual = residual_maker @ np.random.default_rng(1).standard_normal(60)
    normals = np.random.default_rng(2).standard_normal((30, 60))
    quick = freedman_lane_correlations(reference_residual, design, covariance, between, normals)
    fitted_part = design @ np.array([1.0, -2.0, 0.5, 3.0])
    for value, surrogate in zip(quick, drawn(covariance, between, 30, seed=2), strict=True):
        again = residual_maker @ (fitted_part + surrogate)
        assert value == pytest.approx(np.corrcoef(again, reference_residual)[0, 1], abs=1e-10)


def test_p_counts_the_observed_value_and_is_never_zero() -> None:
    assert one_sided_p(9.0, np.zeros(99)) == 0.01
    assert one_sided_p(-9.0, np.zeros(99)) == 1.0


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, 0.04, np.nan, 0.03]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, np.nan, 0.06])


def test_label_permutation_is_exact_for_few_classes() -> None:
    excess, p = diagonal_permutation(np.eye(4), seed=0)
    assert excess == 1.0
    assert p == pytest.approx(1 / 24)
    assert diagonal_permutation(np.ones((4, 4)), seed=0) == (0.0, 1.0)
    _, drawn = diagonal_permutation(np.eye(9), seed=0)
    assert drawn == pytest.approx(1e-4, rel=0.5)
    with pytest.raises(ValueError, match="at least 4 classes"):
        diagonal_permutation(np.eye(3), seed=0)
