"""Tables of participants beside series: which one is taken, whom it concerns, and which release is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import LabelError, NoInputError, UsageError
from bids_neurossm.roi_arrays.pheno_csv import find_phenotypes, id_column, keep_release, with_phenotypes
from bids_neurossm.roi_arrays.published import Published
from bids_neurossm.roi_arrays.readers import ArrayRun

HCP = Published(study="HCP", release="Q1")


def saved(path: Path, text: str = "Subject,Release,Gender\n1,Q1,M\n2,S900,F\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def hcp_run(subject: str, release: str | None = None) -> ArrayRun:
    return array_run(key=subject, published=HCP, facts={} if release is None else {"Release": release})


def test_a_file_has_its_table_next_to_it_or_where_the_published_tree_has_it(tmp_path: Path) -> None:
    source = saved(tmp_path / "x.npy", "")
    assert find_phenotypes(source) is None
    published = saved(tmp_path / "HCP_1200" / "Preprocessed" / "pheno.csv")
    assert find_phenotypes(source) == published
    beside = saved(tmp_path / "pheno.csv")
    assert find_phenotypes(source) == beside


def test_a_given_table_counts_where_it_states_releases(tmp_path: Path) -> None:
    beside = saved(tmp_path / "pheno.csv")
    mine = saved(tmp_path / "labels.csv", "participant_id,dx\n1,2\n")
    assert find_phenotypes(tmp_path, given=mine) == beside
    assert find_phenotypes(tmp_path, given=saved(mine)) == mine


def test_two_tables_in_a_folder_need_a_choice_and_the_output_is_not_looked_at(tmp_path: Path) -> None:
    first = saved(tmp_path / "a" / "pheno.csv")
    saved(tmp_path / "out" / "pheno.csv")
    assert find_phenotypes(tmp_path, [tmp_path / "out"]) == first
    with pytest.raises(UsageError, match="are both tables of participants"):
        find_phenotypes(tmp_path)


def test_identifiers_of_the_hcps_tables_are_in_subject(tmp_path: Path) -> None:
    table = saved(tmp_path / "pheno.csv")
    assert (id_column(table, None), id_column(table, "Family"), id_column(None, None)) == ("Subject", "Family", None)
    assert id_column(saved(table, "participant_id,Subject,Release\n"), None) is None


def test_facts_of_the_table_are_added_and_those_of_a_record_are_kept(tmp_path: Path) -> None:
    notes: list[str] = []
    record = array_run(key="1", published=HCP, facts={"Gender": "male", "age": "30"})
    other = array_run(key="2", published=Published(study="PPMI"), facts={})
    joined = with_phenotypes([record, other], saved(tmp_path / "pheno.csv"), notes)
    assert [run.facts for run in joined] == [{"Release": "Q1", "Gender": "male", "age": "30"}, {}]
    assert notes == []


def test_a_table_of_other_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="lists none of the participants of the series"):
        with_phenotypes([hcp_run("7")], saved(tmp_path / "pheno.csv"), [])
    with pytest.raises(LabelError, match="has 1 more than once in the column Subject"):
        with_phenotypes([hcp_run("1")], saved(tmp_path / "pheno.csv", "Subject,Release\n1,Q1\n1,Q1\n"), [])
    with pytest.raises(LabelError, match="participant_id or Subject is expected"):
        with_phenotypes([hcp_run("1")], saved(tmp_path / "pheno.csv", "who,Release\n1,Q1\n"), [])


def test_one_release_of_a_study_is_kept_and_the_numbers_are_told() -> None:
    runs = [hcp_run("1", "Q1"), hcp_run("1", "Q1"), hcp_run("2", "S900"), hcp_run("3"), array_run(key="x")]
    notes: list[str] = []
    assert [run.key for run in keep_release(runs, None, notes)] == ["1", "1", "x"]
    assert notes == [
        "Release Q1: 2 task runs of 1 participant kept; 1 task run of 1 participant of other releases, and 1 task run "
        "of 1 participant whose release is not known left out (--release all keeps them)."
    ]
    assert [run.key for run in keep_release(runs, "S900", [])] == ["2", "x"]
    assert keep_release(runs, "all", []) == runs
    with pytest.raises(NoInputError, match="No run is of release S500; the table has Q1, S900"):
        keep_release(runs[:3], "S500", [])


def test_without_a_stated_release_all_runs_are_kept() -> None:
    notes: list[str] = []
    assert len(keep_release([hcp_run("1"), hcp_run("2")], None, notes)) == 2
    assert notes[0].startswith("Nothing states the release of 2 task runs of 2 participants: all are kept;")
