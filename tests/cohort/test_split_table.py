"""Splits come back from their file, and what leaks is refused."""

import numpy as np
import pandas as pd
import pytest
from helpers.split_people import CLASSES, cohort, split

from bids_neurossm.cohort.split_table import check_left_out, check_splits, read_splits, write_splits
from bids_neurossm.cohort.splitting import leave_out_splits, with_resplits
from bids_neurossm.errors import LabelError


def test_resplits_come_back_from_their_file_and_leaks_in_any_of_them_are_named(tmp_path):
    runs = cohort(400)
    splits = with_resplits(split(runs, holdout=None), runs, CLASSES, "class", 3, seed=7)
    path = tmp_path / "splits.tsv"
    write_splits(splits, path)
    pd.testing.assert_frame_equal(read_splits(path).table, splits.table, check_dtype=False)
    path.write_text(path.read_text().replace("fold_2", "fold_9"))
    with pytest.raises(LabelError, match="fold_2 is missing"):
        read_splits(path)
    families = runs.assign(group=[f"f{int(p[-3:]) // 3}" for p in runs["participant_id"]])
    whole = split(families, group_by="group")
    torn = type(whole)(whole.table.assign(fold_2=np.arange(len(whole.table)) % 5 + 1))
    hashes = {run: run for run in runs["run"]}
    check_splits(whole, families, hashes)
    with pytest.raises(LabelError, match="on two sides"):
        check_splits(torn, families, hashes)


def test_splits_given_for_leave_out_must_leave_the_values_out_whole():
    runs = cohort(120, sites=3)
    check_left_out(leave_out_splits(runs, CLASSES, "class", "site"), runs, "site")
    with pytest.raises(LabelError, match="do not leave site0, site1, site2 out whole"):
        check_left_out(split(runs), runs, "site")
    with pytest.raises(LabelError, match="no such column"):
        check_left_out(split(runs), runs, "scanner")


def test_splits_come_back_from_their_file(tmp_path):
    splits = split(cohort(400), holdout=None)
    write_splits(splits, tmp_path / "splits.tsv")
    assert "\tholdout\tn/a\n" in (tmp_path / "splits.tsv").read_text()
    pd.testing.assert_frame_equal(read_splits(tmp_path / "splits.tsv").table, splits.table, check_dtype=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\tgroup\t", "\tfamily\t", "no column group"),
        ("\tdevelopment\t", "\ttraining\t", "neither"),
        ("\tdevelopment\t1", "\tdevelopment\tone", "whole number"),
        ("\tdevelopment\t1", "\tdevelopment\t9", "1 to K"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, old, new, message):
    path = tmp_path / "splits.tsv"
    write_splits(split(cohort(60)), path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LabelError, match=message):
        read_splits(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        read_splits(tmp_path / "absent.tsv")


def test_leaks_are_named(tmp_path):
    runs = cohort(60)
    splits = split(runs)
    hashes = {run: f"hash of {run}" for run in runs["run"]}
    check_splits(splits, runs, hashes)
    copied = {**hashes, runs["run"][50]: hashes[runs["run"][3]]}
    with pytest.raises(LabelError, match=r"sub-001_run-3 \(sub-001\) and sub-025_run-50 \(sub-025\)"):
        check_splits(splits, runs, copied)
    twice = pd.concat([splits.table, splits.table.head(1).assign(fold=splits.table["fold"][0] % 5 + 1)])
    with pytest.raises(LabelError, match="participant_id sub-000 on two sides"):
        check_splits(type(splits)(twice), runs, hashes)
    torn = type(splits)(splits.table.assign(group="family"))
    with pytest.raises(LabelError, match="group family on two sides"):
        check_splits(torn, runs, hashes)
    with pytest.raises(LabelError, match="tear the group"):
        check_splits(splits, runs.assign(group="family"), hashes)
    with pytest.raises(LabelError, match="no row for sub-000"):
        check_splits(type(splits)(splits.table.iloc[1:]), runs, hashes)
