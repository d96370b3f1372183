"""How far outputs are to be believed, and how far they spread."""

import numpy as np
import pytest

from bids_neurossm.estimators.shrinkage import best_factor, shrinkage, spread


def said_three_times_too_loud():
    random = np.random.default_rng(0)
    truth = random.normal(size=400)
    goal = (random.random(400) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    return truth, np.stack([-1.5 * truth, 1.5 * truth], axis=1), goal


def test_the_shrinkage_is_that_of_the_smallest_loss():
    truth, overconfident, goal = said_three_times_too_loud()
    assert shrinkage(overconfident, goal, np.ones(400)) == pytest.approx(1 / 3, abs=0.1)
    value = truth + 0.1 * np.random.default_rng(1).normal(size=400)
    assert shrinkage(2 * truth[:, None], value, np.ones(400)) == pytest.approx(0.5, abs=0.02)


def test_what_is_wrong_or_tells_nothing_is_not_believed():
    truth, overconfident, goal = said_three_times_too_loud()
    assert shrinkage(overconfident, 1 - goal, np.ones(400)) == 0
    noise = np.random.default_rng(2).normal(size=(400, 1))
    assert shrinkage(noise, truth, np.ones(400)) == 0


def test_the_best_factor_can_be_either_end():
    _, overconfident, goal = said_three_times_too_loud()
    assert best_factor(overconfident, 1 - goal, np.ones(400), 5.0) == 0
    sure = 0.01 * np.stack([1 - 2 * goal, 2 * goal - 1], axis=1)
    assert best_factor(sure, goal, np.ones(400), 5.0) == 5


def test_runs_that_count_nothing_change_no_factor():
    _, overconfident, goal = said_three_times_too_loud()
    counts = np.r_[np.ones(200), np.zeros(200)]
    expected = best_factor(overconfident[:200], goal[:200], np.ones(200), 2.0)
    assert best_factor(overconfident, goal, counts, 2.0) == pytest.approx(expected, abs=1e-4)


def test_the_spread_is_of_what_moves_decisions():
    logits = np.array([[-1.0, 1.0], [1.0, -1.0]])
    assert spread(logits, np.ones(2)) == pytest.approx(np.sqrt(2))
    # What is added to both classes, or to all runs, moves no decision between them.
    assert spread(logits + np.array([[10.0, 12.0], [12.0, 14.0]]), np.ones(2)) == pytest.approx(np.sqrt(2))
    assert spread(3 * logits, np.ones(2)) == pytest.approx(3 * np.sqrt(2))
    assert spread(np.array([[1.0], [3.0]]), np.ones(2)) == pytest.approx(1)
    # A run that counts three times as much as the other.
    assert spread(np.array([[0.0], [4.0]]), np.array([3.0, 1.0])) == pytest.approx(np.sqrt(3))
