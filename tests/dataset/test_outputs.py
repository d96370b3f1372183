"""The names that users and other programs rely on."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from bids_neurossm.dataset.names import parse_name
from bids_neurossm.dataset.outputs import BIDSIGNORE, GroupOutputs, RunOutputs

ATLAS = {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "400"}
SOURCE, _, _ = parse_name("sub-01_ses-1_task-rest_run-1_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz")
STEM = "sub-01_ses-1_task-rest_run-1_space-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400_res-2"


def test_what_is_derived_from_a_run_stands_in_its_own_func_folder() -> None:
    outputs = RunOutputs(Path("/out"), SOURCE, ATLAS, "simple")
    folder = Path("/out/sub-01/ses-1/func")
    assert outputs.timeseries == folder / f"{STEM}_stat-mean_desc-simple_timeseries.tsv"
    assert outputs.coverage == folder / f"{STEM}_stat-coverage_bold.tsv"
    assert outputs.connectivity == folder / f"{STEM}_stat-pearsoncorrelation_desc-simple_relmat.tsv"
    assert outputs.motion == folder / f"{STEM}_desc-simple_outliers.tsv"
    assert outputs.prediction("dx") == folder / f"{STEM}_desc-dx_prediction.tsv"
    assert outputs.attributions("dx") == folder / f"{STEM}_stat-cpa_desc-dx_attributions.tsv"
    assert outputs.attribution_map("dx") == folder / f"{STEM}_stat-cpa_desc-dx_boldmap.nii.gz"


def test_without_a_session_there_is_no_session_folder() -> None:
    outputs = RunOutputs(Path("/out"), {"sub": "01", "task": "rest", "space": "T1w", "desc": "preproc"}, ATLAS, "none")
    assert outputs.timeseries.parent == Path("/out/sub-01/func")
    assert outputs.timeseries.name.startswith("sub-01_task-rest_space-T1w_atlas-")


def test_another_atlas_or_strategy_never_overwrites_the_first() -> None:
    paths = {
        RunOutputs(Path("/out"), SOURCE, atlas, strategy).timeseries
        for atlas in (ATLAS, {"atlas": "AAL3v2", "scale": "166"})
        for strategy in ("simple", "none")
    }
    assert len(paths) == 4


def test_an_analysis_has_its_own_folders() -> None:
    outputs = GroupOutputs(Path("/out"), "dx_neurossm", {"space": "MNI152NLin6Asym", **ATLAS})
    assert outputs.table("splits") == Path("/out/group/dx_neurossm/splits.tsv")
    assert outputs.models == Path("/out/models/dx_neurossm")
    assert outputs.named("boldmap", ".nii.gz", "cpa", label="PD") == outputs.folder / (
        "space-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400_label-PD_stat-cpa_boldmap.nii.gz"
    )
    assert outputs.named("mask", ".nii.gz", "cpa", label="PD", desc="top25").name.endswith(
        "_label-PD_stat-cpa_desc-top25_mask.nii.gz"
    )


def test_bidsignore_covers_every_output_that_has_a_name() -> None:
    run = RunOutputs(Path("/out"), SOURCE, ATLAS, "simple")
    named = [getattr(run, name) for name, value in vars(RunOutputs).items() if isinstance(value, property)]
    files = [path for path in named if path != run.folder]
    files += [run.relations("covariance"), run.prediction("dx"), run.attributions("dx"), run.attribution_map("dx")]
    assert len(files) == 8
    for path in [each for file in files for each in (file, file.with_suffix(".json"))]:
        assert any(fnmatch(path.name, pattern) for pattern in BIDSIGNORE), path.name
    group = GroupOutputs(Path("/out"), "dx", {"space": "MNI152NLin6Asym", **ATLAS})
    for path in (group.table("splits"), group.named("boldmap", ".nii.gz", "cpa"), group.models / "final.toml"):
        assert f"/{path.relative_to('/out').parts[0]}" in BIDSIGNORE


def test_a_suffix_that_bidsignore_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="'bolt' is not among the suffixes of a run"):
        RunOutputs(Path("/out"), SOURCE, ATLAS, "simple").path("bolt", ".tsv")
