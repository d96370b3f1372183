"""What a sidecar says of the denoising of a run, and by which rules a run is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.errors import UsageError
from bids_neurossm.interfaces.arrays import CleanRun
from bids_neurossm.interfaces.provenance import exclusion, run_sidecar
from bids_neurossm.signal.strategy import Strategy, load_strategy

T, KEPT, R = 100, 80, 3
NAMES = ("A", "B", "C")


def clean_run(n_kept: int = KEPT, degrees: int = 40, columns: tuple[str, ...] = ("csf",)) -> CleanRun:
    return CleanRun(
        series=np.zeros((n_kept, R)),
        segments=np.array([[0, n_kept]]),
        degrees_of_freedom=np.array(degrees),
        n_voxels=np.full(R, 9),
        n_covered=np.full(R, 9),
        coverage=np.ones(R),
        mean=np.full(R, 1000.0),
        tsnr=np.full(R, 50.0),
        used=np.ones(R, dtype=bool),
        kept=np.arange(2, 2 + n_kept),
        framewise_displacement=np.zeros(T),
        n_dummy=np.array(2),
        n_censored=np.array(T - 2 - n_kept),
        columns=np.array(columns, dtype=np.str_),
    )


@pytest.fixture
def run(tmp_path: Path) -> BoldRun:
    """A run of a hundred volumes with known motion; its image is not read."""
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    bold = folder / "sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"
    table = folder / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    rows = [("n/a", "n/a"), *((f"{0.1 + 0.9 * (t == 50)}", f"{1 + (t == 70)}") for t in range(1, T))]
    table.write_text("framewise_displacement\tstd_dvars\n" + "".join(f"{fd}\t{dvars}\n" for fd, dvars in rows))
    entities = {"sub": "01", "task": "rest", "space": "MNI152NLin6Asym", "desc": "preproc"}
    return BoldRun(bold, None, table, entities, tmp_path, 2.0)


def sidecar_of(run: BoldRun, strategy: Strategy, clean: CleanRun, **extraction: Any) -> dict[str, Any]:
    dataset = run.bold.parents[2]
    atlas = dataset / "atlas.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), dtype=np.int16), np.eye(4)), atlas)
    parcellation = Parcellation(
        {"atlas": "X"}, "MNI152NLin6Asym", atlas, atlas.with_suffix(".tsv"), (1, 2, 3), NAMES, ("n/a",) * R
    )
    return run_sidecar(run, parcellation, strategy, Extraction(**extraction), clean)


def test_motion_of_the_run_stands_in_the_sidecar(run: BoldRun) -> None:
    facts = sidecar_of(run, load_strategy("simple"), clean_run())
    assert facts["MeanFramewiseDisplacement"] == pytest.approx((98 * 0.1 + 1.0) / 99)
    assert facts["MaxFramewiseDisplacement"] == 1.0
    assert facts["MeanStandardizedDVARS"] == pytest.approx(100 / 99)
    assert facts["NumberOfOutlierVolumes"] == 2
    assert facts["NumberOfVolumesKept"] == KEPT
    assert (facts["DegreesOfFreedom"], facts["DegreesOfFreedomLost"]) == (40, 40)


def test_motion_that_is_not_known_is_said_to_be_so(run: BoldRun) -> None:
    facts = sidecar_of(replace(run, confounds=None), load_strategy("none"), clean_run(columns=()))
    for name in ("MeanFramewiseDisplacement", "MaxFramewiseDisplacement", "MeanStandardizedDVARS"):
        assert facts[name] == "n/a"
    assert facts["NumberOfOutlierVolumes"] == "n/a"


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("simple", None, ("n/a", "n/a", "n/a")),
        ("simple", 0.4, (0.4, "n/a", "n/a")),
        ("scrubbing", None, (0.5, 1.5, 5)),
        ("scrubbing", 0.2, (0.2, 1.5, 5)),
    ],
)
def test_the_rule_by_which_volumes_were_dropped_is_the_one_that_was_used(
    run: BoldRun, name: str, given: float | None, expected: tuple[Any, ...]
) -> None:
    facts = sidecar_of(run, load_strategy(name), clean_run(), fd_threshold=given)
    names = ("FramewiseDisplacementThreshold", "StandardizedDVARSThreshold", "ShortestSegmentKept")
    assert tuple(facts[each] for each in names) == expected


def test_thresholds_that_a_strategy_leaves_to_nilearn_are_nilearns(run: BoldRun, tmp_path: Path) -> None:
    import inspect

    from nilearn.interfaces.fmriprep import load_confounds

    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"Confounds": {"nilearn": {"strategy": ["motion", "scrub"], "scrub": 3}}}))
    facts = sidecar_of(run, load_strategy(str(path)), clean_run())
    defaults = inspect.signature(load_confounds).parameters
    assert facts["ShortestSegmentKept"] == 3
    assert facts["FramewiseDisplacementThreshold"] == defaults["fd_threshold"].default
    assert facts["StandardizedDVARSThreshold"] == defaults["std_dvars_threshold"].default


def test_noise_components_taken_out_twice_are_warned_of(run: BoldRun) -> None:
    smoothed = replace(run, entities={**run.entities, "desc": "smoothAROMAnonaggr"})
    strategy, clean = load_strategy("ica_aroma"), clean_run(columns=("aroma_motion_01", "csf"))
    assert any("ICA-AROMA" in text for text in sidecar_of(smoothed, strategy, clean)["Warnings"])
    assert not any("ICA-AROMA" in text for text in sidecar_of(run, strategy, clean)["Warnings"])
    assert not any("ICA-AROMA" in text for text in sidecar_of(smoothed, strategy, clean_run())["Warnings"])


def test_a_missing_mask_and_a_header_that_disagrees_are_warned_of(run: BoldRun) -> None:
    strategy = load_strategy("simple")
    plain = sidecar_of(run, strategy, clean_run())["Warnings"]
    assert plain == ["There is no brain mask for the image: voxels count as covered where they are not zero."]
    agrees = replace(clean_run(), header_repetition_time=np.array(2.001))
    assert sidecar_of(run, strategy, agrees)["Warnings"] == plain
    facts = sidecar_of(run, strategy, replace(clean_run(), header_repetition_time=np.array(1.0)))
    assert "The header of the image claims a repetition time of 1 s, its sidecar 2 s" in " ".join(facts["Warnings"])
    assert facts["RepetitionTime"] == 2.0


def test_a_run_without_any_coverage_is_left_out_with_that_reason() -> None:
    nowhere = replace(clean_run(), used=np.zeros(R, dtype=bool), coverage=np.zeros(R))
    found = exclusion(Extraction(), nowhere)
    assert found is not None
    assert found["Reason"] == "too many regions without signal"
    assert found["Detail"].startswith("100% of the regions can not be used")


@pytest.mark.parametrize(
    ("n_kept", "degrees", "settings", "reason"),
    [
        (80, 40, {}, None),
        (80, 15, {}, None),
        (80, 14, {}, "too few degrees of freedom"),
        (80, 14, {"min_dof": 14}, None),
        (80, 0, {"min_dof": 1}, "too few degrees of freedom"),
        (80, -3, {}, "too few degrees of freedom"),
        (49, 49, {}, "too few volumes"),
        (49, -9, {}, "too few volumes"),
        (0, -31, {"min_volumes": 1}, "too few volumes"),
        (1, -30, {"min_volumes": 1}, "too few degrees of freedom"),
    ],
)
def test_a_run_that_keeps_too_little_is_left_out_with_the_reason(
    n_kept: int, degrees: int, settings: dict[str, int], reason: str | None
) -> None:
    found = exclusion(Extraction(**settings), clean_run(n_kept, degrees))
    assert (found["Reason"] if found else None) == reason


def test_the_reason_has_the_numbers() -> None:
    found = exclusion(Extraction(), clean_run(80, 10))
    assert found is not None
    assert found["Detail"] == (
        "denoising takes 70 from the 80 volumes that are kept and leaves 10, --min-dof asks for 15"
    )


def test_no_degree_of_freedom_at_all_can_not_be_allowed() -> None:
    with pytest.raises(UsageError, match="--min-dof must be at least 1"):
        Extraction(min_dof=0)
