"""The checks pass what is sound and fail what is not."""

from dataclasses import replace

import numpy as np
import pytest

from bids_neurossm.attribution.checks import (
    agreement,
    agreement_check,
    completeness,
    deletion_check,
    deletion_curve,
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


def test_deletion_tells_a_map_that_finds_what_is_used_from_one_that_does_not():
    used = np.arange(20) < 4

    def centred_logit(kept):
        return np.full(3, (kept & used).sum() / 4)

    good = deletion_curve(centred_logit, used + 0.01 * np.arange(20))
    assert good.curve[0] == 1
    assert good.curve[-1] == 0
    assert deletion_check(good).passed
    assert good.p == pytest.approx(1 / 21)
    bad = deletion_curve(centred_logit, -(used + 0.01 * np.arange(20)))
    assert not deletion_check(bad).passed
    assert bad.p == 1
    with pytest.raises(UsageError, match="not defined"):
        deletion_curve(centred_logit, np.full(20, np.nan))


def test_agreement_is_the_mean_rank_correlation():
    rising = np.arange(10.0)
    assert agreement(np.stack([rising, rising**3])) == pytest.approx(1)
    assert agreement(np.stack([rising, -rising, rising])) == pytest.approx(-1 / 3)
    assert np.isnan(agreement(np.stack([rising, np.full(10, np.nan)])))
    assert agreement_check(np.stack([rising, rising]), "seeds").passed
    assert not agreement_check(np.stack([rising, np.ones(10)]), "seeds").passed


def test_a_map_that_survives_random_weights_fails():
    generator = np.random.default_rng(0)
    random = generator.normal(size=(5, 200))
    assert randomisation_check(generator.normal(size=200), random).passed
    assert not randomisation_check(random.sum(axis=0), random).passed
