"""The null keeps the smoothness of a map, and corrections do what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest

from bids_neurossm.reference.nulls import (
    diagonal_permutation,
    freedman_lane_correlations,
    holm,
    moran_basis,
    moran_surrogates,
    one_sided_p,
    random_turns,
)


def regions_on_a_sheet(n_regions: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    return generator.uniform(-60, 60, (n_regions, 3)) * [1, 1, 0.3]


@pytest.mark.parametrize("n_regions", [40, 41])
def test_the_basis_spans_all_maps_of_mean_zero(n_regions: int) -> None:
    basis = moran_basis(regions_on_a_sheet(n_regions))
    np.testing.assert_allclose(basis.T @ basis, np.eye(n_regions - 1), atol=1e-10)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize("n_regions", [40, 41])
def test_surrogates_keep_variance_and_spatial_power(n_regions: int) -> None:
    basis = moran_basis(regions_on_a_sheet(n_regions))
    values = basis[:, 0] * 5 + np.random.default_rng(0).standard_normal(n_regions)
    values -= values.mean()
    surrogates = moran_surrogates(values, basis, random_turns(n_regions - 1, 50, seed=3))
    power = (surrogates @ basis) ** 2
    paired = power[:, : 2 * (power.shape[1] // 2)].reshape(50, -1, 2).sum(axis=2)
    own = ((basis.T @ values) ** 2)[: 2 * paired.shape[1]].reshape(-1, 2).sum(axis=1)
    np.testing.assert_allclose(paired, np.tile(own, (50, 1)), atol=1e-10)
    np.testing.assert_allclose((surrogates**2).sum(axis=1), values @ values)
    assert np.abs(np.corrcoef(surrogates[:20])[np.triu_indices(20, 1)]).max() < 0.999


@pytest.mark.parametrize("n_regions", [60, 61])
def test_freedman_lane_in_coefficients_equals_building_every_surrogate(n_regions: int) -> None:
    generator = np.random.default_rng(5)
    basis = moran_basis(regions_on_a_sheet(n_regions))
    covariates = np.hstack([np.ones((n_regions, 1)), generator.standard_normal((n_regions, 3))])
    design = np.linalg.qr(covariates)[0]
    residual_maker = np.eye(n_regions) - design @ design.T
    class_map, reference = generator.standard_normal((2, n_regions))
    map_residual, reference_residual = residual_maker @ class_map, residual_maker @ reference
    turns = random_turns(n_regions - 1, 30, seed=2)
    quick = freedman_lane_correlations(map_residual, reference_residual, design, basis, turns)
    fitted = class_map - map_residual
    for value, surrogate in zip(quick, moran_surrogates(map_residual, basis, turns), strict=True):
        again = residual_maker @ (fitted + surrogate)
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
