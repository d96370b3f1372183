"""Maps of classes: participants count once, weights are never invented, labels only where they are stable."""

import numpy as np
import pytest

from bids_neurossm.attribution.maps import class_maps, mean_importance, pathway_weights, top_quarter
from bids_neurossm.errors import UsageError


def _data(n=40, seed=0):
    """Pathway 0 matters three times as much as pathway 1; pathway 2 hurts. Each looks at its own regions."""
    generator = np.random.default_rng(seed)
    importance = np.array([3.0, 1.0, -1.0]) + 0.3 * generator.normal(size=(n, 3))
    share = np.full((n, 3, 12), 0.02) + 0.001 * generator.uniform(size=(n, 3, 12))
    share[:, 0, :3] += 0.25
    share[:, 1, 3:6] += 0.25
    share[:, 2, 6:9] += 0.25
    return importance, share / share.sum(axis=-1, keepdims=True), [f"{i // 2:02d}" for i in range(n)]


def test_weights_are_positive_parts_or_not_defined():
    np.testing.assert_allclose(pathway_weights(np.array([3.0, 1.0, -2.0])), [0.75, 0.25, 0])
    assert np.isnan(pathway_weights(np.array([-1.0, -2.0, 0.0]))).all()


def test_the_map_is_the_weighted_sum_of_the_shares():
    importance, share, who = _data()
    (everyone,) = class_maps(importance, share, who, None, n_bootstraps=100)
    assert (everyone.n_runs, everyone.n_participants) == (40, 20)
    expected = (everyone.weight[:, None] * share.mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(everyone.score, expected)
    np.testing.assert_allclose(everyone.weight, pathway_weights(importance.mean(axis=0)))
    assert set(np.flatnonzero(everyone.top_quarter)) == {0, 1, 2}
    assert (everyone.importance_interval[:, 0] < everyone.importance).all()
    assert (everyone.importance < everyone.importance_interval[:, 1]).all()


def test_a_dominant_pathway_is_named_only_where_it_is_stable():
    importance, share, who = _data()
    (everyone,) = class_maps(importance, share, who, None, n_bootstraps=200)
    assert list(everyone.dominant[:6]) == [0, 0, 0, 1, 1, 1]
    importance[:, :2] = 1 + np.random.default_rng(1).normal(size=(40, 2))
    share[:, :2] = 1 / 12
    (undecided,) = class_maps(importance, share, who, None, n_bootstraps=200)
    assert (undecided.dominant == -1).all()
    assert (undecided.stability < 0.9).all()


def test_a_participant_with_many_runs_counts_once():
    importance = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]])
    share = np.full((10, 2, 4), 0.25)
    (everyone,) = class_maps(importance, share, ["A"] * 9 + ["B"], None, n_bootstraps=100)
    np.testing.assert_allclose(everyone.weight, [0.5, 0.5])


def test_terms_that_are_no_pathways_are_averaged_over_participants_too():
    mean, low, high = mean_importance(np.array([1.0] * 9 + [3.0]), ["A"] * 9 + ["B"], n_bootstraps=200)
    assert mean == 2
    assert (low, high) == (1, 3)


def test_without_a_positive_importance_there_is_no_map():
    importance, share, who = _data()
    (everyone,) = class_maps(-np.abs(importance), share, who, None, n_bootstraps=100)
    assert not everyone.defined
    assert np.isnan(everyone.weight).all()
    assert np.isnan(everyone.score).all()
    assert not everyone.top_quarter.any()
    assert (everyone.dominant == -1).all()


def test_the_map_over_all_comes_first_and_then_the_classes():
    importance, share, who = _data()
    labels = ["b", "a"] * 20
    maps = class_maps(importance, share, who, labels, ["a", "b"], n_bootstraps=100)
    assert [m.label for m in maps] == ["", "a", "b"]
    assert [m.n_runs for m in maps] == [40, 20, 20]
    np.testing.assert_allclose(maps[1].importance, importance[1::2].mean(axis=0))
    with pytest.raises(UsageError, match="class c"):
        class_maps(importance, share, who, labels, ["c"], n_bootstraps=100)
    with pytest.raises(UsageError, match="do not fit"):
        class_maps(importance[:, :2], share, who, labels)


def test_bootstraps_depend_on_the_seed_only():
    importance, share, who = _data()
    first, again, other = (class_maps(importance, share, who, None, (), 100, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.weight_interval, again.weight_interval)
    assert (first.weight_interval != other.weight_interval).any()


def test_the_top_quarter_is_rounded_up_and_holds_no_region_of_score_zero():
    assert list(np.flatnonzero(top_quarter(np.array([0.1, 0.5, 0.2, 0.4, 0.3])))) == [1, 3]
    assert list(np.flatnonzero(top_quarter(np.array([0.0, 0.0, 0.0, 0.0, 0.3])))) == [4]
