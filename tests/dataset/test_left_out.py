"""Runs that patterns and rows leave out, each with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.trees import C2009, bold, found

from bids_neurossm.config import Selection
from bids_neurossm.dataset.left_out import LeftOut, counted, sentences
from bids_neurossm.dataset.query import index_runs
from bids_neurossm.errors import NoInputError


def test_patterns_and_rows_leave_runs_out_with_their_reason(make_tree: Any, tmp_path: Path) -> None:
    names = [bold(f"sub-0{i}_ses-{j}_task-rest", C2009) for i in (1, 2) for j in (1, 2)]
    dataset = make_tree(*names)
    (dataset / ".bidsignore").write_text("/sub-01/ses-2/\n")
    (tmp_path / "runs.tsv").write_text("participant_id\tsession_id\treason\nsub-02\tses-1\tmotion\nsub-09\tn/a\t\n")
    index = index_runs(dataset, Selection(exclude=tmp_path / "runs.tsv"))
    assert [run.bold.name for run in index.runs] == [names[0], names[3]]
    assert [(each.name, each.participant, each.reason, each.detail) for each in index.left_out] == [
        ("sub-01_ses-2_task-rest", "01", ".bidsignore: /sub-01/ses-2/", f"sub-01/ses-2/func/{names[1]}"),
        ("sub-02_ses-1_task-rest", "02", "--exclude: motion", "row 1 of runs.tsv"),
    ]
    assert index.notes == (f"--exclude {tmp_path / 'runs.tsv'}: row 2 (sub-09) matches no run.",)
    # In a job array, rows of the other participants are not this task's business.
    alone = index_runs(dataset, Selection(exclude=tmp_path / "runs.tsv", participant_label=("01",)))
    assert [note.partition(": row ")[2] for note in alone.notes] == ["2 (sub-09) matches no run."]


def test_the_raw_datasets_list_counts_as_well(make_tree: Any, tmp_path: Path) -> None:
    dataset = make_tree(*(bold(f"sub-01_task-rest_run-{run}", C2009) for run in ("01", "02")))
    (tmp_path / ".bidsignore").write_text("sub-01/func/sub-01_task-rest_run-2_bold.nii.gz\n")
    index = index_runs(dataset, Selection(), raw=[tmp_path])
    assert [run.bold.name for run in index.runs] == [bold("sub-01_task-rest_run-01", C2009)]


def test_leaving_everything_out_is_said_so(make_tree: Any, tmp_path: Path) -> None:
    (tmp_path / "runs.tsv").write_text("task\treason\nrest\tasleep\n")
    with pytest.raises(NoInputError, match=r"Left out \(--exclude: asleep\): 1 run: sub-01_task-rest\."):
        found(make_tree(bold("sub-01_task-rest", C2009)), exclude=tmp_path / "runs.tsv")


RUNS = [LeftOut(f"sub-{label}_task-rest", label, ".bidsignore: /x/", "x") for label in ("01", "02", "03", "04")]
FOLDER = LeftOut("old/", "", "folder has no place in BIDS", "old/ is no folder of BIDS", 3)


def test_what_is_left_out_is_counted_by_reason_and_three_names_are_given() -> None:
    names = "sub-01_task-rest, sub-02_task-rest, sub-03_task-rest and 1 more"
    assert counted([*RUNS, FOLDER]) == [(".bidsignore: /x/", 4, names), ("folder has no place in BIDS", 3, "old/")]
    assert counted([RUNS[0], RUNS[0]]) == [(".bidsignore: /x/", 2, "sub-01_task-rest")]


def test_one_sentence_tells_each_reason() -> None:
    assert sentences([RUNS[0], FOLDER]) == [
        "Left out (.bidsignore: /x/): 1 run: sub-01_task-rest.",
        "Left out (folder has no place in BIDS): 3 runs: old/.",
    ]


def test_a_folder_that_belongs_to_nobody_has_a_row_too() -> None:
    assert RUNS[0].row()["participant_id"] == "01"
    assert FOLDER.row() == {
        "run": "old/",
        "participant_id": "n/a",
        "reason": "folder has no place in BIDS",
        "detail": "old/ is no folder of BIDS",
    }
