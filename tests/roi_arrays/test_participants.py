"""The participant of every run, with what the source and the given table say."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.roi_arrays.options import ImportOptions
from bids_neurossm.roi_arrays.participants import people_of, runs_with_facts
from bids_neurossm.roi_arrays.published import Published


def test_one_identifier_in_two_studies_is_refused(tmp_path: Path) -> None:
    runs = [array_run(key="1", published=Published(study=study)) for study in ("HCP", "PPMI")]
    with pytest.raises(UsageError, match=r"1 is a participant of HCP and of PPMI \(x\.npz\)"):
        runs_with_facts(ImportOptions(tmp_path, tmp_path / "out"), runs, [])
    # Positions in stacks are no identifiers.
    stacks = [array_run(key="1", positional=True, published=Published(study=study)) for study in ("HCP", "PPMI")]
    assert runs_with_facts(ImportOptions(tmp_path, tmp_path / "out"), stacks, []) == stacks


def test_a_pheno_csv_beside_a_given_table_speaks_of_known_studies_alone(tmp_path: Path) -> None:
    (tmp_path / "pheno.csv").write_text("participant_id,age\na,30\n")
    (tmp_path / "labels.tsv").write_text("participant_id\tdx\na\tcase\n")
    runs = [array_run(key="a", published=Published(study="PPMI")), array_run(key="a")]
    both = ImportOptions(tmp_path, tmp_path / "out", participants=tmp_path / "labels.tsv")
    assert [run.facts for run in runs_with_facts(both, runs[:1], [])] == [{"age": "30"}]
    assert [run.facts for run in runs_with_facts(both, runs[1:], [])] == [{}]
    alone = ImportOptions(tmp_path, tmp_path / "out")
    assert [run.facts for run in runs_with_facts(alone, runs[1:], [])] == [{"age": "30"}]


def test_people_are_those_of_the_given_table_with_the_facts_of_their_records(tmp_path: Path) -> None:
    path = tmp_path / "labels.tsv"
    path.write_text("participant_id\tdx\tsex\nsub-a\tcase\tF\n")
    options = ImportOptions(tmp_path / "x.npz", tmp_path / "out", participants=path)
    matched, table = people_of(options, [array_run(key="a", facts={"age": "30", "gender": "0"})], [])
    assert matched.entities == [{"sub": "a"}]
    assert table is not None
    assert table.to_dict("records") == [
        {"participant_id": "sub-a", "dx": "case", "sex": "F", "age": "30", "gender": "0"}
    ]
    with pytest.raises(LabelError, match="says that a is male"):
        people_of(options, [array_run(key="a", facts={"gender": "1"})], [])


def test_without_a_table_people_are_what_their_records_say(tmp_path: Path) -> None:
    options = ImportOptions(tmp_path / "x.npz", tmp_path / "out")
    assert people_of(options, [array_run(key="a")], [])[1] is None
    _, table = people_of(options, [array_run(key="a", facts={"dx": "1"})], [])
    assert table is not None
    assert table.to_dict("records") == [{"participant_id": "sub-a", "dx": "1"}]
