"""Runs on grayordinates through the real command line, in files with fMRIPrep's names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.grayordinates import brain_models, striped, write_labels, write_series

from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.dataset.repetition_time import repetition_time
from bids_neurossm.errors import NoInputError, UsageError
from bids_neurossm.planning.group import _atlas_in

SOURCE = "sub-01_task-rest"
NAMES = {label: f"7Networks_LH_Vis_{label}" for label in range(1, 11)} | {11: "Thalamus_L"}


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    axis = brain_models()
    labels = striped(axis, 10)
    signals = np.random.default_rng(0).standard_normal((60, 12))
    noise = np.random.default_rng(1).standard_normal((60, len(axis)))
    return (1000 + 10 * signals[:, labels] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def dataset(series: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "fmriprep"
    description = {"Name": "fMRIPrep", "BIDSVersion": "1.4.0", "DatasetType": "derivative"}
    func = folder / "sub-01" / "func"
    write_series(func / f"{SOURCE}_space-fsLR_den-91k_bold.dtseries.nii", series, brain_models())
    (folder / "dataset_description.json").write_text(json.dumps(description))
    (func / f"{SOURCE}_space-fsLR_den-91k_bold.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    (func / f"{SOURCE}_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz").touch()
    motion = np.random.default_rng(2).standard_normal((60, 6)) * 0.01
    confounds = pd.DataFrame(motion, columns=[f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"])
    confounds["framewise_displacement"] = ["n/a", *np.full(59, 0.1)]
    confounds.to_csv(func / f"{SOURCE}_desc-confounds_timeseries.tsv", sep="\t", index=False)
    return folder


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    axis = brain_models()
    return write_labels(tmp_path_factory.mktemp("atlas") / "atlas-Mine_dseg.dlabel.nii", striped(axis, 10), NAMES, axis)


def test_a_dense_run_is_found_with_its_confounds(dataset: Path) -> None:
    (run,) = find_bold_runs(dataset, Selection(space="fsLR"))
    assert run.bold.name == f"{SOURCE}_space-fsLR_den-91k_bold.dtseries.nii"
    assert run.dense
    assert run.mask is None
    assert run.confounds is not None
    assert run.key == f"{SOURCE}_space-fsLR_den-91k"
    assert repetition_time(run.bold, dataset) == 2.0
    assert [each.bold.name for each in find_bold_runs(dataset, Selection(space="fsLR", res="91k"))] == [run.bold.name]


def test_what_is_not_there_is_said(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match=r"No run in .* matches --task-id nback, --space fsLR"):
        find_bold_runs(dataset, Selection(space="fsLR", task_id=("nback",)))
    (tmp_path / "sub-01").mkdir()
    with pytest.raises(NoInputError, match=r"has no \*_bold\.dtseries\.nii for 01"):
        find_bold_runs(tmp_path, Selection(space="fsLR"))


def test_two_densities_are_refused_until_one_is_chosen(dataset: Path, tmp_path: Path) -> None:
    func = tmp_path / "sub-01" / "func"
    func.mkdir(parents=True)
    for density in ("91k", "170k"):
        (func / f"{SOURCE}_space-fsLR_den-{density}_bold.dtseries.nii").touch()
    with pytest.raises(UsageError, match="one recording at two resolutions; choose one with --res"):
        find_bold_runs(tmp_path, Selection(space="fsLR"))
    (run,) = find_bold_runs(tmp_path, Selection(space="fsLR", res="170k"))
    assert run.entities["den"] == "170k"


def test_the_sidecar_of_older_releases_is_read(tmp_path: Path) -> None:
    bold = tmp_path / f"{SOURCE}_space-fsLR_den-91k_bold.dtseries.nii"
    (tmp_path / f"{SOURCE}_space-fsLR_den-91k_bold.dtseries.json").write_text('{"RepetitionTime": 0.72}')
    assert repetition_time(bold, tmp_path) == 0.72


def test_the_whole_level(command: Any, dataset: Path, atlas: Path, series: np.ndarray, tmp_path: Path) -> None:
    arguments = ("participant", "--space", "fsLR", "--atlas", atlas, "--denoise", "none")
    done = command(dataset, tmp_path / "out", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    func = tmp_path / "out" / "sub-01" / "func"
    stem = f"{SOURCE}_space-fsLR_atlas-Mine_scale-11_den-91k"
    table = pd.read_csv(func / f"{stem}_stat-mean_desc-none_timeseries.tsv", sep="\t")
    labels = striped(brain_models(), 10)
    expected = np.stack([series[:, labels == label].astype(np.float64).mean(axis=1) for label in range(1, 12)], axis=1)
    np.testing.assert_allclose(table.to_numpy(), expected, rtol=1e-8)
    assert list(table.columns) == list(NAMES.values())
    sidecar = json.loads((func / f"{stem}_stat-mean_desc-none_timeseries.json").read_text())
    assert sidecar["RepetitionTime"] == 2.0
    assert sidecar["Warnings"] == []
    assert (tmp_path / "out" / "sub-01.html").is_file()
    assert (tmp_path / "out" / "tpl-fsLR" / "tpl-fsLR_atlas-Mine_scale-11_den-91k_dseg.dlabel.nii").is_file()
    # The group level finds the atlas there, to draw its maps on.
    found = _atlas_in(tmp_path / "out", "fsLR", {"atlas": "Mine", "scale": "11"})
    assert found is not None
    assert (found.dense, found.names) == (True, tuple(NAMES.values()))
    again = command(dataset, tmp_path / "out", *arguments)
    assert "1 of them already finished" in again.stdout


def test_an_atlas_of_voxels_is_refused_before_anything_is_read(command: Any, dataset: Path, tmp_path: Path) -> None:
    done = command(dataset, tmp_path / "out", "participant", "--space", "fsLR", "--atlas", "HarvardOxford")
    assert done.returncode == 2
    assert "--atlas FILE.dlabel.nii" in done.stderr
    assert not (tmp_path / "out").exists()
