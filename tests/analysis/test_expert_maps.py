"""Experts are matched over models before anything is averaged, counted, and painted."""

import numpy as np
import pytest

from bids_neurossm.analysis.cells import Cell, CellKey
from bids_neurossm.analysis.expert_maps import (
    OF_REGIONS,
    OF_TIME,
    agreement_over_seeds,
    expert_usage,
    matched,
    matched_cells,
    usage_table,
)

REGIONS, EXPERTS, RUNS = 12, 3, 4


def _cell(order, fold=1, seed=1, noise=0.0, of_time=None):
    """Each expert has four regions of its own; `order` says which expert is which."""
    generator = np.random.default_rng([fold, seed])
    weights = np.repeat(np.eye(EXPERTS), REGIONS // EXPERTS, axis=0)
    weights = weights[None] + noise * generator.random((RUNS, REGIONS, EXPERTS))
    weights = np.broadcast_to(weights, (RUNS, REGIONS, EXPERTS))[:, :, order]
    importance = np.broadcast_to(np.array([3.0, 1.0, 0.0])[order], (RUNS, EXPERTS))
    time = np.full((RUNS, 5, EXPERTS), 1 / EXPERTS) if of_time is None else of_time
    arrays = {OF_REGIONS: weights / weights.sum(axis=2, keepdims=True), OF_TIME: time, "importance": importance}
    return Cell(CellKey("lmae-rwmoe", fold, seed), "", np.arange(RUNS), np.zeros((RUNS, 2)), arrays)


def test_the_experts_of_every_model_are_put_into_the_order_of_the_first():
    cells = matched_cells([_cell([0, 1, 2]), _cell([2, 0, 1], fold=2), _cell([1, 2, 0], fold=3, noise=0.2)])
    for cell in cells:
        np.testing.assert_array_equal(cell.attribution["importance"][0], [3.0, 1.0, 0.0])
        np.testing.assert_array_equal(cell.attribution[OF_REGIONS].mean(axis=0).argmax(axis=1), np.repeat([0, 1, 2], 4))


def test_the_assignment_is_the_best_of_all_together():
    reference = np.array([[1.0, 0.0, 0.0, 0.9], [0.0, 1.0, 0.0, 0.0]])
    # Both experts look most like the first one; only one of them can be it.
    others = np.array([[0.9, 0.0, 0.1, 0.9], [1.0, 0.3, 0.0, 0.8]])
    np.testing.assert_array_equal(matched(reference, others), [0, 1])


def test_cells_without_experts_are_left_as_they_are():
    plain = Cell(CellKey("neurossm", 1, 1), "", np.arange(2), np.zeros((2, 2)), {"importance": np.ones((2, 6))})
    assert matched_cells([plain]) == [plain]
    assert agreement_over_seeds([plain]).empty
    assert usage_table([plain]).empty


def test_maps_of_experts_are_correlated_over_seeds_within_a_fold():
    table = agreement_over_seeds([_cell([0, 1, 2]), _cell([1, 2, 0], seed=2, noise=0.1), _cell([0, 1, 2], fold=2)])
    assert len(table) == EXPERTS
    assert (table["fold"] == 1).all()
    assert (table["correlation"] > 0.9).all()
    unlike = _cell([0, 1, 2], seed=2)
    turned = unlike.attribution[OF_REGIONS][:, np.random.default_rng(0).permutation(REGIONS)]
    unlike = Cell(unlike.key, "", unlike.indices, unlike.scores, {**unlike.attribution, OF_REGIONS: turned})
    assert agreement_over_seeds([_cell([0, 1, 2]), unlike])["correlation"].mean() < 0.9


def test_a_collapsed_router_is_flagged():
    even = expert_usage(np.broadcast_to(np.eye(4), (5, 4, 4)))
    assert not even.collapsed
    assert even.entropy == pytest.approx(1.0)
    fallen = expert_usage(np.broadcast_to([0.6, 0.4, 0.0, 0.0], (3, 10, 4)))
    assert fallen.collapsed
    np.testing.assert_allclose(fallen.share, [0.6, 0.4, 0, 0])
    late = np.full((2, 3, 2), np.nan)
    late[:, 0] = [0.5, 0.5]
    np.testing.assert_allclose(expert_usage(late).share, [0.5, 0.5])


def test_the_table_of_usage_has_a_row_per_expert_of_each_mixture():
    lonely = np.zeros((RUNS, 5, EXPERTS))
    lonely[:, :, 1] = 1.0
    table = usage_table([_cell([0, 1, 2], of_time=lonely)])
    by = table.set_index(["mixture", "expert"])
    assert len(table) == 2 * EXPERTS
    assert by.loc[("time", "expert-2"), "share"] == 1.0
    assert by.loc[("time", "expert-2"), "entropy"] == 0.0
    assert (by.loc["time", "collapsed"] == 1).all()
    assert (by.loc["regions", "collapsed"] == 0).all()
