"""Runs are matched with the participants of a table, by the column that is named."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.matching import match_participants, stated_entities


def test_runs_are_matched_by_the_column_that_the_user_names_and_keep_the_declared_identifier(shared_data):
    runs = find_arrays(shared_data / "abide").runs
    table = shared_data / "abide" / "participants.tsv"
    with pytest.raises(LabelError, match=r"participant_id of .* holds none of the identifiers.*--id-column file_id"):
        match_participants(runs, table)
    matched = match_participants(runs, table, "file_id")
    assert matched.entities[0] == {"sub": "0051456"}
    assert matched.motion[0] == 0.1862015944
    assert matched.unmatched == []
    assert matched.table is not None
    assert list(matched.table.columns)[:2] == ["participant_id", "file_id"]
    assert matched.notes[0] == f"754 participants were matched by the column file_id of {table}."


def test_no_other_column_is_ever_tried(tmp_path):
    """Ages that look like identifiers: the zeros that a spreadsheet kept must not hand series to other people."""
    rows = [f"sub-{number:03d}\t{65 - number}\t{'pat' if number % 2 else 'con'}" for number in range(21, 45)]
    (tmp_path / "p.tsv").write_text("participant_id\tage\tdx\n" + "\n".join(rows) + "\n")
    runs = [array_run(2, 3, str(number)) for number in range(21, 45)]
    matched = match_participants(runs, tmp_path / "p.tsv")
    assert [each["sub"] for each in matched.entities] == [f"{number:03d}" for number in range(21, 45)]
    assert "24 participants are spelled differently" in matched.notes[1]
    with pytest.raises(LabelError, match="holds none of the identifiers"):
        match_participants(runs, tmp_path / "p.tsv", exact=True)


def test_who_is_not_in_the_table_is_listed_and_kept(tmp_path):
    (tmp_path / "p.tsv").write_text("participant_id\tdx\nsub-a_1\t2\nc\t\n")
    matched = match_participants([array_run(2, 3, "a_1"), array_run(2, 3, "b 2")], tmp_path / "p.tsv")
    assert [each["sub"] for each in matched.entities] == ["a1", "b2"]
    assert matched.unmatched == ["b 2"]
    assert matched.table is not None
    assert matched.table.values.tolist() == [["sub-a1", "2"], ["sub-c", "n/a"]]


def test_two_identifiers_that_become_one_label_are_refused(tmp_path):
    with pytest.raises(UsageError, match="'a-1' and 'a_1'"):
        match_participants([array_run(2, 3, "a-1"), array_run(2, 3, "a_1")], None)


def test_a_stack_without_identifiers_follows_the_rows_of_the_table(tmp_path):
    (tmp_path / "p.csv").write_text("participant_id,dx\nx,1\ny,2\n")
    np.save(tmp_path / "stack.npy", np.zeros((2, 4, 3)))
    matched = match_participants(find_arrays(tmp_path / "stack.npy").runs, tmp_path / "p.csv")
    assert [each["sub"] for each in matched.entities] == ["x", "y"]
    assert "in the order of the rows" in matched.notes[0]


def test_a_table_without_participant_id_takes_it_from_the_column_that_is_named(tmp_path):
    (tmp_path / "p.tsv").write_text("dx\tBIDS_ID\n1\tsub-001\n")
    with pytest.raises(LabelError, match=r"a column participant_id is expected.*--id-column BIDS_ID"):
        match_participants([array_run(2, 3, "sub-001")], tmp_path / "p.tsv")
    matched = match_participants([array_run(2, 3, "sub-001")], tmp_path / "p.tsv", "BIDS_ID")
    assert matched.table is not None
    assert matched.table.to_dict("list") == {"participant_id": ["sub-001"], "dx": ["1"], "BIDS_ID": ["sub-001"]}
    (tmp_path / "p.tsv").write_text("BIDS_ID\tdx\nsub-001\t1\nsub-001\t2\n")
    with pytest.raises(LabelError, match="001 more than once"):
        match_participants([array_run(2, 3, "sub-001")], tmp_path / "p.tsv", "BIDS_ID")


def test_rows_without_an_identifier_are_no_participants_and_one_key_is_one_participant(tmp_path):
    (tmp_path / "p.tsv").write_text("participant_id\tdx\n01\ta\n02\tb\n\tx\n\ty\n")
    matched = match_participants([array_run(2, 3, "01")], tmp_path / "p.tsv")
    assert matched.table is not None
    assert matched.table["participant_id"].tolist() == ["sub-01", "sub-02"]
    assert matched.notes[0] == "p.tsv: 2 rows without a participant_id were ignored."
    (tmp_path / "p.tsv").write_text("participant_id\tFILE_ID\ns1\t01\ns2\t01\ns3\t02\n")
    with pytest.raises(LabelError, match="FILE_ID 01 is of s1 and of s2; one participant is expected"):
        match_participants([array_run(2, 3, "01")], tmp_path / "p.tsv", "FILE_ID")


def test_a_key_with_an_underscore_that_is_no_bids_name_is_the_participant_as_a_whole():
    assert stated_entities(array_run(2, 3, "sub-NYU_0051036")) == {"sub": "NYU_0051036"}
    assert stated_entities(array_run(2, 3, "sub-A1_bold")) == {"sub": "A1"}


def test_a_key_that_is_a_bids_name_states_its_entities():
    assert stated_entities(array_run(2, 3, "sub-01_task-rest_run-2_space-T1w_timeseries")) == {
        "sub": "01",
        "task": "rest",
        "run": "2",
    }
