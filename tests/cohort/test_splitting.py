"""Folds keep people together and balance labels and sites."""

import numpy as np
import pandas as pd
import pytest
from helpers.split_people import CLASSES, cohort, split

from bids_neurossm.cohort.splitting import leave_out_splits, resplit, with_resplits
from bids_neurossm.errors import LabelError


def test_folds_hold_every_label_and_every_label_in_a_site_to_within_one_participant():
    runs = cohort()
    table = split(runs).table.merge(runs[["participant_id", "site"]].drop_duplicates())
    assert len(table) == 120
    assert table.groupby("fold").size().to_list() == [24] * 5
    for columns in (["label"], ["label", "site"]):
        counts = table.groupby([*columns, "fold"]).size().unstack(fill_value=0)
        assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


def test_all_runs_of_a_participant_fall_on_one_side():
    runs = cohort()
    splits = split(runs, holdout=0.3)
    developing, held = splits.holdout_indices(runs)
    names = runs["participant_id"].to_numpy()
    assert not set(names[developing]) & set(names[held])
    for fold in range(1, 6):
        train, test = splits.fold_indices(runs, fold)
        assert len(test)
        assert not set(names[train]) & set(names[test])
        assert set(train) | set(test) == set(developing)


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does():
    runs = cohort()
    shuffled = runs.sample(frac=1, random_state=3).reset_index(drop=True)
    pd.testing.assert_frame_equal(split(runs, holdout=0.2).table, split(shuffled, holdout=0.2).table)
    families = runs.assign(family=[f"f{int(p[-3:]) // 3}" for p in runs["participant_id"]])
    again = families.sample(frac=1, random_state=3).reset_index(drop=True)
    first = split(families, group_by="family")
    pd.testing.assert_frame_equal(first.table, split(again, group_by="family").table)
    assert (split(runs).table["fold"] != split(runs, seed=2).table["fold"]).any()


def test_families_stay_together_and_labels_stay_balanced():
    runs = cohort(150)
    runs["family"] = [f"f{int(p[-3:]) // 3}" for p in runs["participant_id"]]
    table = split(runs, group_by="family", holdout=0.2).table
    assert (table.groupby("group")[["set", "fold"]].nunique() == 1).all(axis=None)
    shares = table[table["fold"] > 0].groupby("fold")["label"].apply(lambda x: (x == "patient").mean())
    assert shares.max() - shares.min() < 0.15


def test_groups_that_share_a_participant_become_one_and_it_is_noted():
    runs = cohort(40)
    runs["family"] = runs["participant_id"]
    runs.loc[[0, 1, 2], "family"] = ["a", "b", "b"]
    splits = split(runs, group_by="family")
    merged = splits.table.set_index("participant_id")["group"]
    assert merged["sub-000"] == merged["sub-001"] == "a"
    assert any("kept together" in note for note in splits.notes)


def test_the_default_holdout_is_a_fifth_only_where_each_class_keeps_twenty_groups():
    large = split(cohort(400), holdout=None)
    held = large.table[large.table["set"] == "holdout"]
    assert len(held) == 80
    assert held["label"].value_counts().min() >= 20
    assert (held["fold"] == 0).all()
    small = split(cohort(120), holdout=None)
    assert (small.table["set"] != "holdout").all()
    assert "needed" in small.notes[0]
    asked = split(cohort(120), holdout=0.25)
    assert (asked.table["set"] == "holdout").sum() == 30
    assert "unsteady" in asked.notes[0]


def test_a_resplit_deals_the_development_set_anew_and_leaves_the_holdout_alone():
    runs = cohort(400)
    first = split(runs, holdout=None)
    second = resplit(first, runs, CLASSES, "class", seed=9)
    assert (first.table["set"] == second.table["set"]).all()
    assert ((first.table["fold"] == 0) == (second.table["fold"] == 0)).all()
    assert (first.table["fold"] != second.table["fold"]).mean() > 0.5
    counts = second.table[second.table["fold"] > 0].groupby(["label", "fold"]).size().unstack()
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()


def test_a_participant_with_all_tasks_is_split_whole():
    runs = cohort(30, runs_each=2)
    runs["label"] = ["control", "patient"] * 30
    table = split(runs).table
    assert len(table) == 30
    assert set(table["label"]) == {"control, patient"}
    assert table.groupby("fold").size().to_list() == [6] * 5


def test_a_continuous_target_is_balanced_over_its_quantiles():
    runs = cohort(100).assign(label=np.repeat(np.random.default_rng(0).normal(40, 10, 100), 2))
    table = split(runs, target_type="continuous").table
    means = table.groupby("fold")["label"].mean()
    assert means.max() - means.min() < 3
    with pytest.raises(LabelError, match="nothing to predict"):
        split(runs.assign(label=3.0), target_type="continuous")
    with pytest.raises(LabelError, match="sub-000 have no finite"):
        split(runs.assign(label=runs["label"].where(runs.index > 0)), target_type="continuous")


def test_labels_that_can_not_be_split_are_refused_with_their_counts():
    runs = cohort(40)
    with pytest.raises(LabelError, match="two classes are needed"):
        split(runs.assign(label="control"))
    rare = runs.assign(
        label=np.where(runs["participant_id"].isin(["sub-001", "sub-002", "sub-003"]), "patient", "control")
    )
    with pytest.raises(LabelError, match="control: 37, patient: 3"):
        split(rare)
    with pytest.raises(LabelError, match="none of the classes"):
        split(runs.assign(label="other"))
    with pytest.raises(LabelError, match="outside the holdout"):
        split(runs, holdout=0.8)
    with pytest.raises(LabelError, match="family"):
        split(runs, group_by="family")


def test_a_longer_series_of_resplits_begins_like_a_shorter_one():
    runs = cohort(60)
    first = split(runs)
    three = with_resplits(first, runs, CLASSES, "class", 3, seed=7)
    five = with_resplits(first, runs, CLASSES, "class", 5, seed=7)
    assert (three.repeats, five.repeats) == (3, 5)
    pd.testing.assert_frame_equal(five.table[list(three.table.columns)], three.table)
    assert [five.digest(number) for number in (1, 2, 3)] == [three.digest(number) for number in (1, 2, 3)]
    assert len({five.digest(number) for number in range(1, 6)}) == 5
    assert len({five.digest(number, final=True) for number in range(1, 6)}) == 1
    for number in range(1, 6):
        train, test = five.repeat(number).fold_indices(runs, 2)
        assert not set(runs["participant_id"].iloc[train]) & set(runs["participant_id"].iloc[test])
    with pytest.raises(LabelError, match="Re-split 6 does not exist"):
        five.repeat(6)


def test_leave_site_out_tests_one_site_per_fold():
    runs = cohort(120, sites=4)
    splits = leave_out_splits(runs, CLASSES, "class", "site")
    for fold in range(1, 5):
        train, test = splits.fold_indices(runs, fold)
        assert runs["site"].iloc[test].nunique() == 1
        assert not set(runs["site"].iloc[test]) & set(runs["site"].iloc[train])
    with pytest.raises(LabelError, match="two values"):
        leave_out_splits(runs.assign(site="one"), CLASSES, "class", "site")
