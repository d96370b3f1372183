"""The rules that a masked autoencoder is set against are what their definitions say."""

import numpy as np
import pytest

from bids_neurossm.pretraining.reconstruction import autoregression, interpolation, region_mean, spatial_ridge


def _hidden(shape, *places):
    hidden = np.zeros(shape, dtype=bool)
    for row, start, stop in places:
        hidden[row, start:stop] = True
    return hidden


def test_the_mean_of_a_region_is_that_of_what_is_shown():
    samples = np.array([[1.0, 2.0, 30.0, 3.0], [5.0, 5.0, 5.0, 5.0]])
    hidden = _hidden((2, 4), (0, 2, 3), (1, 0, 4))
    np.testing.assert_allclose(region_mean(samples, hidden)[:, 2], [2.0, 0.0])


def test_interpolation_joins_what_is_shown_before_and_after_and_holds_the_ends():
    samples = np.array([[9.0, 1.0, 9.0, 9.0, 4.0, 9.0]])
    hidden = _hidden((1, 6), (0, 0, 1), (0, 2, 4), (0, 5, 6))
    np.testing.assert_allclose(interpolation(samples, hidden)[0][hidden[0]], [1.0, 2.0, 3.0, 4.0])
    nothing = np.ones((1, 6), dtype=bool)
    np.testing.assert_array_equal(interpolation(samples, nothing), np.zeros((1, 6)))


def test_autoregression_is_the_conditional_expectation_of_the_process():
    """Against the normal equations of a stationary first-order process."""
    a, length = 0.7, 9
    covariance = a ** np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    samples = np.random.default_rng(0).normal(size=(1, length))
    hidden = _hidden((1, length), (0, 0, 2), (0, 4, 7))
    away, shown = hidden[0], ~hidden[0]
    exact = covariance[np.ix_(away, shown)] @ np.linalg.solve(covariance[np.ix_(shown, shown)], samples[0, shown])
    found = autoregression(samples, hidden, np.array([a]))
    np.testing.assert_allclose(found[0, away], exact, rtol=1e-8)
    np.testing.assert_array_equal(found[0, shown], samples[0, shown])


def test_the_spatial_ridge_is_ridge_regression_on_the_visible_regions():
    from sklearn.linear_model import Ridge

    generator = np.random.default_rng(0)
    mixing = generator.normal(size=(6, 6))
    training = (mixing @ generator.normal(size=(6, 400))).T
    samples = mixing @ generator.normal(size=(6, 3))
    hidden = _hidden((6, 3), (0, 0, 3), (1, 0, 3))
    penalty = 0.5
    covariance = training.T @ training / len(training)
    ridge = Ridge(alpha=penalty * len(training), fit_intercept=False).fit(training[:, 2:], training[:, :2])
    found = spatial_ridge(samples, hidden, covariance, penalty)
    np.testing.assert_allclose(found[:2], ridge.predict(samples[2:].T).T, rtol=1e-6)


@pytest.mark.parametrize("rule", [region_mean, interpolation])
def test_hidden_values_are_not_looked_at(rule):
    generator = np.random.default_rng(1)
    samples = generator.normal(size=(3, 20))
    hidden = generator.random((3, 20)) < 0.4
    other = np.where(hidden, 1e3, samples)
    np.testing.assert_array_equal(rule(samples, hidden)[hidden], rule(other, hidden)[hidden])
