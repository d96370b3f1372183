"""A battery whose classes differ in their dynamics alone: zero-lag covariance tells nothing, the oracle tells them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from bids_neurossm.simulation.confounds import autoregressive
from bids_neurossm.simulation.dynamics import PARTS, dwelling, oracle_features, simulate_part, whitened


@pytest.mark.parametrize("name", PARTS)
def test_runs_are_z_scored_and_the_same_for_the_same_seed(name: str) -> None:
    series, labels = simulate_part(name, 4, seed=1, regions=12, length=100)
    assert (series.shape, series.dtype, labels.tolist()) == ((4, 100, 12), np.float32, [0, 1, 0, 1])
    np.testing.assert_allclose(series.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(series.std(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(simulate_part(name, 4, seed=1, regions=12, length=100)[0], series)
    assert (simulate_part(name, 4, seed=2, regions=12, length=100)[0] != series).any()


@pytest.mark.parametrize("name", PARTS)
def test_who_knows_what_was_planted_tells_the_classes(name: str) -> None:
    (train, known), (test, asked) = simulate_part(name, 200, seed=1), simulate_part(name, 200, seed=2)
    line = LogisticRegression(C=1e3, max_iter=5000).fit(oracle_features(name, train), known)
    assert line.score(oracle_features(name, test), asked) > 0.85


@pytest.mark.parametrize("name", PARTS)
def test_the_mean_zero_lag_correlation_is_that_of_the_other_class(name: str) -> None:
    series, labels = simulate_part(name, 400, seed=3)
    correlation = np.einsum("ntr,nts->nrs", series, series) / series.shape[1]
    means = [correlation[labels == label].mean(axis=0) for label in (0, 1)]
    error = np.sqrt(sum(correlation[labels == label].var(axis=0) / 200 for label in (0, 1)))
    upper = np.triu_indices(series.shape[2], 1)
    # The largest of 190 standard normal differences is beyond 4.5 once in 800 batteries.
    assert np.abs((means[0] - means[1])[upper] / error[upper]).max() < 4.5


def test_whitening_leaves_the_identity() -> None:
    white = whitened(np.random.default_rng(0).normal(3, 2, (50, 4)) @ np.triu(np.ones((4, 4))))
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(white.T @ white / 50, np.eye(4), atol=1e-12)


def test_an_autoregressive_series_is_stationary_from_its_first_point() -> None:
    random = np.random.default_rng(0)
    runs = autoregressive(8, 20_000, 0.6, random).T
    np.testing.assert_allclose(runs.var(axis=0), 1, atol=0.05)
    np.testing.assert_allclose((runs[:, 1:] * runs[:, :-1]).mean(axis=0), 0.6, atol=0.03)


@pytest.mark.parametrize("mean", [8, 32])
def test_half_of_the_points_are_in_each_state(mean: int) -> None:
    for seed in range(20):
        signs = dwelling(mean, 200, np.random.default_rng(seed))
        assert (signs == 1).sum() == (signs == -1).sum() == 100
        # Segments alternate: each state has 100 / mean of them, rounded.
        assert np.count_nonzero(np.diff(signs)) == 2 * round(100 / mean) - 1
