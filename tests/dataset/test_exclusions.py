"""A table of runs that are left out: how its rows name runs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.dataset.exclusions import ExclusionTable, read_exclusions, unmatched_sentences
from bids_neurossm.errors import UsageError

RUN = {"sub": "01", "ses": "1", "task": "rest", "run": "02", "space": "MNI152NLin6Asym"}


def table(tmp_path: Path, text: str) -> ExclusionTable:
    path = tmp_path / "runs.tsv"
    path.write_text(text)
    found = read_exclusions(path, RUN)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        "sub\trun\n01\t2\n",
        "participant_id\tsession_id\ttask_id\trun_id\treason\nsub-01\tses-1\ttask-rest\trun-2\tmotion\n",
        "sub\tses\ttask\n01\tn/a\t\n",
        "task\nrest\n",
        "sub\trun\n09\t2\n01\t002\n",
    ],
)
def test_a_row_names_the_runs_that_have_all_its_entities(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, text).match(RUN) is not None


@pytest.mark.parametrize("text", ["sub\n1\n", "sub\trun\n01\t20\n", "sub\techo\n01\t1\n", "sub\tses\n01\tpre\n"])
def test_other_runs_are_left_alone(tmp_path: Path, text: str) -> None:
    assert table(tmp_path, text).match(RUN) is None


def test_the_reason_is_kept_word_for_word(tmp_path: Path) -> None:
    first, second = table(tmp_path, 'sub\treason\n01\tfell asleep, "twice"\n02\tn/a\n').rows
    assert (first.reason, first.number, first.told) == ('fell asleep, "twice"', 1, "sub-01")
    assert second.reason == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sub\tcomment\n01\tx\n", r"has the column 'comment'; entities are expected \(sub, ses, task, run"),
        ("reason\nmotion\n", "has no column that names runs"),
        ("sub\tses\n01\t1\nn/a\t\n", "row 2 names no run"),
        ("sub\tparticipant_id\n01\t01\n", "one entity in the columns sub and participant_id"),
        ("sub\trun\n01\n", "1 cells"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        table(tmp_path, text)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--exclude .*absent\.tsv: there is no such file"):
        read_exclusions(tmp_path / "absent.tsv")


def test_a_row_that_matches_nothing_is_named_unless_its_participant_was_not_looked_at(tmp_path: Path) -> None:
    found = table(tmp_path, "sub\trun\n01\t2\n01\t7\n03\t1\n")
    assert [each.partition(": ")[2] for each in unmatched_sentences(found, [RUN])] == [
        "row 2 (sub-01_run-7) matches no run.",
        "row 3 (sub-03_run-1) matches no run.",
    ]
    assert len(unmatched_sentences(found, [RUN], unseen={"03"})) == 1
