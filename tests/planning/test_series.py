"""Which series an analysis is made of: where they are looked for, and what leaves them out."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.resting import resting_series

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import NoInputError, RunError, UsageError
from bids_neurossm.planning.series import SeriesPlan, series_of

LABELS = ("01", "02", "03")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return resting_series(tmp_path / "series", LABELS)


def find(dataset: Path, *options: str | Path, out: str = "out") -> SeriesPlan:
    return series_of(parse_config([str(dataset), str(dataset.parent / out), "group", *map(str, options)]))


def participants(found: SeriesPlan) -> list[str]:
    return [file.entities["sub"] for file in found.files]


def test_series_of_the_output_dataset_come_before_those_of_the_input(dataset: Path) -> None:
    found = find(dataset)
    assert (found.source, participants(found), found.excluded, found.notes) == (dataset, list(LABELS), [], [])
    assert {file.sidecar["RepetitionTime"] for file in found.files} == {2.0}
    own = resting_series(dataset.parent / "out", LABELS[:1])
    assert (find(dataset).source, participants(find(dataset))) == (own, ["01"])


def test_another_dataset_can_be_named(dataset: Path) -> None:
    (dataset.parent / "empty").mkdir()
    assert find(dataset.parent / "empty", "-d", f"xcp={dataset}").source == dataset


def test_where_there_are_none_the_places_are_named(dataset: Path) -> None:
    (dataset.parent / "empty").mkdir()
    with pytest.raises(
        NoInputError, match=r"no \*_timeseries\.tsv of the wanted runs in .*out or .*empty; run the part"
    ):
        find(dataset.parent / "empty")
    with pytest.raises(NoInputError, match=r"No series in .* match the options; there are tasks rest\."):
        find(dataset, "--task-id", "nback")


def test_participants_who_are_nowhere_are_refused_and_excluded_ones_reported(dataset: Path) -> None:
    with pytest.raises(NoInputError, match=r"has no participant 07; there are 01, 02, 03\."):
        find(dataset, "--participant-label", "01", "07")
    found = find(dataset, "--exclude-participant-label", "02", "09")
    assert participants(found) == ["01", "03"]
    (note,) = found.notes
    assert note.startswith("--exclude-participant-label 09 leaves out nobody: ")


def test_what_rows_and_patterns_leave_out_has_its_reason(dataset: Path) -> None:
    (dataset / ".bidsignore").write_text("/sub-01/\n")
    (dataset.parent / "runs.tsv").write_text("participant_id\treason\nsub-02\tmotion\n")
    found = find(dataset, "--exclude", dataset.parent / "runs.tsv")
    assert participants(found) == ["03"]
    assert [(row["participant_id"], row["reason"]) for row in found.excluded] == [
        ("01", ".bidsignore: /sub-01/"),
        ("02", "--exclude: motion"),
    ]
    (dataset.parent / "runs.tsv").write_text("task\treason\nrest\tasleep\n")
    with pytest.raises(NoInputError, match=r"All 3 runs in .* are left out\. Left out \(--exclude: asleep\): 3 runs"):
        find(dataset, "--exclude", dataset.parent / "runs.tsv")


def test_a_sidecar_that_can_not_be_read_costs_its_run_unless_none_can(dataset: Path) -> None:
    sidecars = sorted(dataset.rglob("*_timeseries.json"))
    sidecars[1].write_text("{")
    found = find(dataset)
    assert participants(found) == ["01", "03"]
    assert [(row["participant_id"], row["reason"]) for row in found.excluded] == [("02", "unreadable")]
    for path in sidecars:
        path.write_text("{")
    with pytest.raises(RunError, match=r"sub-01_task-rest_timeseries\.json is not readable JSON"):
        find(dataset)


def test_one_atlas_makes_one_analysis(dataset: Path) -> None:
    with pytest.raises(UsageError, match="The group level takes one --atlas; run it once for each"):
        find(dataset, "--atlas", "AAL3", "Schaefer400")
