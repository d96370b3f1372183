"""The names that users and other programs rely on."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.dataset.names import parse_name
from bids_neurossm.dataset.outputs import GroupOutputs, RunOutputs

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
