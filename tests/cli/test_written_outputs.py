"""The summary vouches for files that are there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.cubes import group_options, make_dataset, participant_options

from bids_neurossm.cli import group, participant
from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.run import main
from bids_neurossm.cli.written_outputs import analysis_record
from bids_neurossm.planning.group import plan_group


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight participants, whose series are in a dataset of their own."""
    folder = tmp_path_factory.mktemp("study")
    make_dataset(folder, 8)
    assert main([str(folder / "fmriprep"), str(folder / "series"), "participant", *participant_options(folder)]) == 0
    return folder


def removed_after_work(module: Any, monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """Remove files or folders between the work of a command and its summary."""
    work = module._work

    def working(*arguments: Any) -> Any:
        records = work(*arguments)
        for place in places:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        return records

    monkeypatch.setattr(module, "_work", working)


def participants(study: Path, out: Path, *labels: str) -> list[str]:
    options = [*participant_options(study), "--participant-label", *labels]
    return [str(study / "fmriprep"), str(out), "participant", *options]


def test_a_dataset_that_was_removed_midway_is_no_success(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    removed_after_work(participant, monkeypatch, out)
    arguments = participants(study, out, "01", "02")
    assert main(arguments) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "sub-01_task-rest_space-MNIPediatricAsym: its files are missing; run the same command again" in told
    assert "failed: dataset: " in told
    assert "0 of 2 runs done, 0 excluded by rule, 2 failed." in told
    monkeypatch.undo()
    assert main(arguments) == 0
    assert "2 of 2 runs done" in " ".join(capsys.readouterr().out.split())


def test_a_removed_file_of_one_run_costs_that_run_alone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    stem = "sub-01_task-rest_space-MNIPediatricAsym_atlas-Cubes_scale-8_stat-coverage_bold.tsv"
    removed_after_work(participant, monkeypatch, out / "sub-01" / "func" / stem)
    assert main(participants(study, out, "01", "02")) == 1
    assert "1 of 2 runs done, 0 excluded by rule, 1 failed." in " ".join(capsys.readouterr().out.split())


def group_arguments(study: Path) -> list[str]:
    return [str(study / "series"), str(study / "results"), "group", *group_options(study)]


@pytest.fixture(scope="module")
def results(study: Path) -> Path:
    assert main(group_arguments(study)) == 0
    return study / "results"


@pytest.mark.parametrize(
    "name",
    [
        *("dataset_description.json", "group/g/summary.json", "group/g/metrics.tsv", "models/g/card.md"),
        *("models/g/final.safetensors", "models/g/cells/neurossm_fold-1_seed-1.npz"),
    ],
)
def test_every_file_of_an_analysis_is_looked_for(study: Path, results: Path, name: str) -> None:
    analysis = plan_group(parse_config(group_arguments(study))).analysis
    assert analysis_record(analysis) == []
    (results / name).rename(results / "aside")
    try:
        (record,) = analysis_record(analysis)
    finally:
        (results / "aside").rename(results / name)
    assert record.message == f"{results / name} was removed while the command worked; run the same command again"
    assert record.exit_code == 1


def test_an_analysis_with_a_file_missing_is_no_success(
    study: Path, results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    removed_after_work(group, monkeypatch, results / "group" / "g")
    assert main(group_arguments(study)) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "more files were removed while the command worked; run the same command again" in told
    assert "Report:" not in told
