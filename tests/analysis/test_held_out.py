"""Attributions of held-out runs are averaged over the seeds that predicted them."""

import numpy as np
from helpers.held_out_cells import PATHWAYS, cell

from bids_neurossm.analysis.held_out import explaining_cells, held_out_attributions

SHARE = [[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.25, 0.75]]]


def test_a_run_of_two_seeds_counts_once_with_the_mean_of_both():
    first = cell([4, 2], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]], SHARE, target=[0, 1])
    second = cell([2, 4], [[3.0, 0.0], [0.0, 2.0]], [[5.0, 6.0], [3.0, 2.0]], SHARE[::-1], seed=2, target=[1, 0])
    found = held_out_attributions([first, second])
    assert found.indices.tolist() == [2, 4]
    assert found.target.tolist() == [1, 0]
    assert found.importance.tolist() == [[4.0, 5.0], [2.0, 2.0]]
    assert found.logit.tolist() == [9.0, 4.0]
    np.testing.assert_array_equal(found.share, [SHARE[1], SHARE[0]])
    # Mean scores: run 2 has (1.5, 0.5) and is of class 1, run 4 has (0.5, 1.0) and is of class 0.
    assert found.correct.tolist() == [False, False]
    assert found.pathways == PATHWAYS
    assert found.further_terms == {}


def test_a_class_is_right_by_its_largest_score_and_a_value_by_its_direction():
    classes = cell([0, 1], [[1.0, 0.0], [1.0, 0.0]], [[1.0, 1.0]] * 2, SHARE, target=[0, 1])
    assert held_out_attributions([classes]).correct.tolist() == [True, False]
    values = cell([0, 1], [[50.0], [20.0]], [[1.0, 1.0], [-2.0, 1.0]], SHARE, target=[1, -1])
    assert held_out_attributions([values]).correct.tolist() == [True, False]


def test_the_holdout_explains_where_there_is_one():
    folds = [cell([0], [[1.0, 0.0]], [[1.0, 1.0]], SHARE[:1], fold=fold) for fold in (1, 2)]
    holdout = cell([3], [[1.0, 0.0]], [[1.0, 1.0]], SHARE[:1], fold=0)
    silent = cell([4], [[1.0, 0.0]], fold=3)
    assert explaining_cells([*folds, silent]) == folds
    assert explaining_cells([*folds, holdout, silent]) == [holdout]
    assert held_out_attributions([silent]) is None


def test_a_further_term_is_kept_where_every_cell_has_it():
    with_term = cell([0], [[1.0, 0.0]], [[1.0, 1.0]], SHARE[:1], static=[0.5])
    other = cell([1], [[1.0, 0.0]], [[1.0, 1.0]], SHARE[:1], fold=2, static=[-1.5])
    without = cell([2], [[1.0, 0.0]], [[1.0, 1.0]], SHARE[:1], fold=3)
    assert held_out_attributions([with_term, other]).further_terms["static"].tolist() == [0.5, -1.5]
    assert held_out_attributions([with_term, without]).further_terms == {}
