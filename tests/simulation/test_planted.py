"""The simulated derivatives: fMRIPrep's names and habits, and a truth that is really in the images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm import simulate_derivatives
from bids_neurossm.atlas import load_parcellation
from bids_neurossm.config import Selection
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.dataset.repetition_time import repetition_time
from bids_neurossm.errors import UsageError
from bids_neurossm.signal import parcel_means
from bids_neurossm.simulation import PlantedTruth, read_truth

T, TR = 84, 2.0  # of the dataset in conftest.py


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_a_dataset_of_derivatives_that_owns_up_to_being_simulated(dataset: Path) -> None:
    described = json.loads((dataset / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert "imulated" in described["Name"]
    assert not any(path.name.startswith(".") for path in dataset.rglob("*"))


def test_every_participant_does_both_tasks_and_nothing_is_missing(dataset: Path, runs: dict[str, BoldRun]) -> None:
    assert sorted(runs) == [f"sub-{i:02d}_task-{task}" for i in (1, 2, 3) for task in ("flanker", "nback")]
    for run in runs.values():
        assert run.space == "MNI152NLin6Asym"
        assert run.mask is not None
        assert run.confounds is not None
        assert repetition_time(run.bold, dataset) == TR


def test_planted_regions_carry_the_rhythm_of_their_task(series: dict[str, np.ndarray], truth: PlantedTruth) -> None:
    names = load_parcellation("HarvardOxford").names
    for run, values in series.items():
        task = run.split("_task-")[1]
        if run == truth.short_run:
            continue
        steady = values[2:, :] - values[2:].mean(axis=0)
        power = np.abs(np.fft.rfft(steady, axis=0)) ** 2
        nearest = round(len(steady) * TR / truth.period[task])
        share = power[nearest - 1 : nearest + 2].sum(axis=0) / np.maximum(power[1:].sum(axis=0), 1e-12)
        planted = np.isin(names, truth.regions[task])
        dead = np.array(names) == truth.dead_region["region"]
        assert np.median(share[planted]) > 2 * np.median(share[~planted & ~dead]), run


def test_the_two_tasks_plant_different_regions(truth: PlantedTruth) -> None:
    names = load_parcellation("HarvardOxford").names
    n_back, flanker = (set(truth.regions[task]) for task in ("nback", "flanker"))
    assert n_back
    assert flanker
    assert not n_back & flanker
    assert n_back | flanker <= set(names)
    assert truth.period["nback"] > 4 * truth.period["flanker"]


def test_one_run_has_a_dead_region_and_only_that_one(series: dict[str, np.ndarray], truth: PlantedTruth) -> None:
    position = load_parcellation("HarvardOxford").names.index(truth.dead_region["region"])
    dead = {run for run, values in series.items() if not np.nan_to_num(values[:, position]).any()}
    assert dead == {truth.dead_region["run"]}


def test_one_run_is_too_short(series: dict[str, np.ndarray], truth: PlantedTruth) -> None:
    assert {name for name, values in series.items() if len(values) < T} == {truth.short_run}


def test_the_truth_is_read_back_as_it_was_returned(tmp_path: Path) -> None:
    planted = simulate_derivatives(tmp_path, n_participants=3, n_volumes=12)
    assert read_truth(tmp_path) == planted


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_derivatives(tmp_path / name, n_participants=3, n_volumes=10, seed=seed)
    first, second, other = (digests(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == other.keys()
    changed = {name for name in first if first[name] != other[name]}
    assert changed == {name for name in first if name.endswith(("_bold.nii.gz", "_timeseries.tsv"))}


def test_no_effect_plants_nothing(tmp_path: Path) -> None:
    """With `effect=0` what remains is noise, the same whichever regions would have been planted."""
    simulate_derivatives(tmp_path, n_participants=3, n_volumes=T, effect=0, seed=3)
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    planted = np.isin(atlas.names, read_truth(tmp_path).regions["nback"])
    run = find_bold_runs(tmp_path, Selection(participant_label=("01",), task_id=("nback",)))[0]
    deviation = parcel_means(run.bold, [atlas], run.mask)[0][2:].std(axis=0)
    assert np.median(deviation[planted]) < 1.3 * np.median(deviation[~planted])


@pytest.mark.parametrize("n_participants", [0, 2])
def test_fewer_than_three_participants_are_refused(tmp_path: Path, n_participants: int) -> None:
    with pytest.raises(UsageError, match="at least 3 participants"):
        simulate_derivatives(tmp_path / "out", n_participants=n_participants)
    assert not (tmp_path / "out").exists()
