"""The checks pass what is sound and fail what is not, and say so in words."""

from dataclasses import replace

import numpy as np
import pytest

from bids_neurossm.attribution.checks import (
    FRACTIONS,
    Check,
    DeletionCurve,
    agreement,
    agreement_check,
    completeness,
    deletion_check,
    deletion_sets,
    order_of,
    overall_check,
    random_orders,
    randomisation_check,
)
from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.errors import UsageError


def _attribution():
    importance = np.array([[0.5, -0.25], [1.0, 2.0]])
    nothing = np.zeros((2, 2, 3))
    return PathwayAttribution(
        ("raw-1", "raw-2"), np.zeros(2, np.int64), 0.1 + importance.sum(axis=1), np.full(2, 0.1), importance,
        importance, nothing, nothing, np.zeros((2, 2)), "gradient",
    )  # fmt: skip


def test_completeness_fails_when_a_pathway_is_missing():
    assert completeness(_attribution()).passed
    broken = replace(_attribution(), importance=_attribution().importance * [1.0, 0.999])
    assert not completeness(broken).passed
    assert completeness(broken).verdict.startswith("failed: ")


def test_regions_are_taken_away_in_the_order_of_their_score():
    kept = deletion_sets(order_of(np.array([0.1, 0.9, 0.5, 0.2])), (0.0, 0.25, 0.5))
    np.testing.assert_array_equal(kept, [[1, 1, 1, 1], [1, 0, 1, 1], [1, 0, 0, 1]])
    with pytest.raises(UsageError, match="not defined"):
        order_of(np.array([0.1, np.nan]))


def test_deletion_tells_a_map_that_finds_what_is_used_from_one_that_does_not():
    used = np.arange(20) < 4

    def curve(order):
        return (deletion_sets(order) & used).sum(axis=1) / 4

    random = np.stack([curve(order) for order in random_orders(20)])
    score = used + 0.01 * np.arange(20)
    good = DeletionCurve(np.array(FRACTIONS), curve(order_of(score)), random)
    assert good.curve[0] == 1
    assert good.area > 0
    assert good.p == pytest.approx(1 / 21)
    assert deletion_check(good).passed
    bad = DeletionCurve(np.array(FRACTIONS), curve(order_of(-score)), random)
    assert bad.area < 0
    assert bad.p == 1
    assert "no faster than without random ones" in deletion_check(bad).verdict


def test_agreement_is_the_mean_correlation_of_the_scores():
    rising = np.arange(10.0)
    assert agreement(np.stack([rising, 2 * rising + 1])) == pytest.approx(1)
    assert agreement(np.stack([rising, -rising, rising])) == pytest.approx(-1 / 3)
    assert np.isnan(agreement(np.stack([rising, np.full(10, np.nan)])))
    assert agreement_check(0.5, "seeds").passed
    assert not agreement_check(0.49, "seeds").passed
    assert agreement_check(float("nan"), "seeds").verdict.startswith("can not be told: ")


def test_a_map_that_survives_random_weights_fails():
    generator = np.random.default_rng(0)
    random = generator.normal(size=(5, 200))
    assert randomisation_check(generator.normal(size=200), random).passed
    assert not randomisation_check(random.sum(axis=0), random).passed
    assert randomisation_check(np.full(200, np.nan), random).passed is None


def test_a_failed_permutation_test_makes_the_verdict_whatever_the_map_shows():
    good, bad = (Check("sound", 1.0, "1", passed, "words") for passed in (True, False))
    assert overall_check([good], True, 0.01).passed
    for checks, defined in (([good], True), ([bad], True), ([good], False)):
        assert overall_check(checks, defined, 0.2).verdict.startswith("failed: nothing learned")
    assert "this check failed: sound" in overall_check([good, bad], True, 0.01).verdict
    assert "there is no map" in overall_check([good], False, 0.01).verdict
    assert overall_check([good], True, float("nan")).passed is None
