"""Values that can be judged are left out alone, small ones together, and the rule is told."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.splitting import leave_out_splits
from bids_neurossm.errors import LabelError

CLASSES = ["a", "b"]


def runs_of(sizes, shares=None):
    """Sites of given sizes; half of each is of class a, unless a number is given."""
    rows = []
    for site, size in sizes.items():
        first = size // 2 if shares is None or site not in shares else shares[site]
        rows += [(f"{site}{i:02d}", site, "a" if i < first else "b") for i in range(size)]
    table = pd.DataFrame(rows, columns=["participant_id", "site", "label"])
    return table.assign(run=table["participant_id"])


def folds_by_site(splits):
    return splits.table.groupby("group")["fold"].agg(lambda folds: set(folds)).to_dict()


def test_sites_that_are_large_enough_are_folds_of_their_own():
    splits = leave_out_splits(runs_of({"A": 10, "B": 20, "C": 30}), CLASSES, "class", "site")
    assert folds_by_site(splits) == {"A": {1}, "B": {2}, "C": {3}}
    assert "gives 3 folds; a sign-flip test needs 6 for p < .05" in splits.notes[0]


def test_small_sites_and_sites_of_nearly_one_class_are_pooled():
    runs = runs_of({"A": 30, "B": 30, "C": 6, "D": 20}, {"D": 18})
    splits = leave_out_splits(runs, CLASSES, "class", "site")
    assert folds_by_site(splits) == {"A": {1}, "B": {2}, "C": {3}, "D": {3}}
    assert "C (6), D (20) have fewer than 10 participants or 5 of a class" in splits.notes[0]
    assert "left out together as one fold" in splits.notes[0]


def test_a_pool_that_is_too_small_joins_the_smallest_site_that_is_not():
    splits = leave_out_splits(runs_of({"A": 30, "B": 14, "C": 4}), CLASSES, "class", "site")
    assert folds_by_site(splits) == {"A": {1}, "B": {2}, "C": {2}}
    assert "C (4) has fewer than 10 participants or 5 of a class" in splits.notes[0]
    assert "together with B, the smallest of the others" in splits.notes[0]


def test_a_continuous_target_asks_for_participants_only():
    runs = runs_of({"A": 12, "B": 12, "C": 9})
    runs["label"] = np.arange(len(runs), dtype=float)
    splits = leave_out_splits(runs, [], "continuous", "site")
    assert folds_by_site(splits) == {"A": {1}, "B": {2}, "C": {1}}
    assert "of a class" not in splits.notes[0]


def test_nothing_that_can_be_judged_is_refused_with_the_rule():
    with pytest.raises(LabelError, match="of the 3 values 0 can, the others have fewer than 10 participants"):
        leave_out_splits(runs_of({"A": 6, "B": 6, "C": 4}), CLASSES, "class", "site")
    with pytest.raises(LabelError, match="Use --group-by site instead"):
        leave_out_splits(runs_of({"A": 30, "B": 4}), CLASSES, "class", "site")


def test_one_site_per_class_can_not_be_left_out():
    with pytest.raises(LabelError, match="of the 2 values 0 can"):
        leave_out_splits(runs_of({"A": 20, "B": 20}, {"A": 20, "B": 0}), CLASSES, "class", "site")
