"""One cohort has one drawing of its atlas, and series that were asked for with one set of settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.cubes import SPACE, group_options, make_dataset, participant_options

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.run import main
from bids_neurossm.dataset.series import SeriesFile
from bids_neurossm.errors import UsageError
from bids_neurossm.planning.group import GroupPlan, plan_group
from bids_neurossm.planning.same_series import refuse_mixed_settings, refuse_two_drawings


def files(*sidecars: dict[str, Any]) -> list[SeriesFile]:
    """Tables of participants 01, 02 ... with these sidecars."""
    return [
        SeriesFile(Path(f"sub-{number:02d}.tsv"), {"sub": f"{number:02d}", "task": "rest"}, sidecar)
        for number, sidecar in enumerate(sidecars, start=1)
    ]


def atlas(labels: str | None, file: str = "f", space: str = "MNI", resolution: str = "2x2x2") -> dict[str, Any]:
    """Return a sidecar; without labels one by 0.1.0."""
    stated = {} if labels is None else {"Resolution": resolution, "LabelsSHA256": labels}
    return {"Atlas": {"Name": "Cubes8", "Space": space, "SHA256": file, **stated}}


def test_two_drawings_under_one_name_are_refused_with_the_number_of_runs() -> None:
    with pytest.raises(UsageError) as caught:
        refuse_two_drawings(files(atlas("a"), atlas("b"), atlas("a")))
    assert str(caught.value).startswith(
        "The series come from 2 different label images of Cubes8 in MNI (2 runs like sub-01_task-rest, 1 run like "
        "sub-02_task-rest): the same names mean different places in the brain. Choose runs of one kind with "
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "sidecars",
    [
        pytest.param((atlas("a", "x"), atlas("a", "y")), id="the same labels compressed again"),
        pytest.param((atlas("a"), atlas("b", space="Other")), id="another space"),
        pytest.param((atlas("a"), atlas("b", resolution="1x1x1")), id="another resolution"),
        pytest.param((atlas("a"), {}, {"Atlas": {"Name": "n/a"}}, {"Atlas": "4S"}), id="series of other programs"),
        pytest.param((atlas("a", "x"), atlas(None, "x")), id="0.1.0 with the same file"),
        pytest.param((atlas(None, "x"), atlas(None, "x")), id="only 0.1.0"),
        pytest.param((atlas(None, "x"), atlas("b", "y", "Other")), id="0.1.0 and another space"),
    ],
)
def test_what_may_be_combined(sidecars: tuple[dict[str, Any], ...]) -> None:
    refuse_two_drawings(files(*sidecars))


@pytest.mark.parametrize("other", [None, "a"])
def test_another_label_file_in_sidecars_of_the_first_release_is_refused(other: str | None) -> None:
    with pytest.raises(UsageError, match="2 different label images"):
        refuse_two_drawings(files(atlas(None, "x"), atlas(other, "y")))


def settings(**changed: Any) -> dict[str, Any]:
    return {"RequestedSettings": {"DummyScans": "auto", "HighPass": "n/a", **changed}, "NumberOfVolumesDropped": 3}


def test_different_requested_settings_are_refused_with_counts_per_value() -> None:
    cohort = files(settings(), settings(DummyScans=12), settings(), settings(HighPass=0.01), {})
    with pytest.raises(UsageError) as caught:
        refuse_mixed_settings(cohort, False)
    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        "The series of this cohort were made with different settings (DummyScans: auto (3 runs), 12 (1 run); "
        "HighPass: n/a (3 runs), 0.01 (1 run)). Choose runs of one kind with --participant-label, --session-id, "
        "--task-id or --filter (those with DummyScans auto: --participant-label 01 03 04), run the participant level "
        "again with the same settings for all of them, or give --allow-mixed-settings."
    )


def test_an_entity_that_goes_with_the_setting_is_the_example() -> None:
    cohort = files(settings(), settings(DummyScans=12), settings())
    for each, acquisition in zip(cohort, ("mb4", "mb8", "mb6"), strict=True):
        each.entities["acq"] = acquisition
    with pytest.raises(UsageError, match=r"\(those with DummyScans auto: --filter acq=mb4 acq=mb6\), run"):
        refuse_mixed_settings(cohort, False)
    mixed = [*files(settings()), *files(settings(DummyScans=12))]
    with pytest.raises(UsageError, match=r"--task-id or --filter, run the participant"):
        refuse_mixed_settings(mixed, False)


def test_different_settings_that_are_allowed_are_a_note() -> None:
    assert refuse_mixed_settings(files(settings(), settings(DummyScans=12)), True) == [
        "The series were made with different settings, which --allow-mixed-settings permits: DummyScans: auto (1 "
        "run), 12 (1 run)."
    ]


def test_records_of_two_formats_are_not_mixed() -> None:
    cohort = files({**settings(), "RecordFormat": 1}, {**settings(), "RecordFormat": 2})
    with pytest.raises(UsageError, match=r"\(RecordFormat: 1 \(1 run\), 2 \(1 run\)\)"):
        refuse_mixed_settings(cohort, False)


def test_effective_values_and_series_without_settings_are_not_compared() -> None:
    """Sites differ in what `auto` finds; other programs state nothing."""
    cohort = files(settings(), {**settings(), "NumberOfVolumesDropped": 5}, {}, {"RequestedSettings": None})
    assert refuse_mixed_settings(cohort, False) == []


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight participants; the last three have 12 volumes less."""
    folder = tmp_path_factory.mktemp("study")
    make_dataset(folder, 8)
    labels = [f"{number:02d}" for number in range(1, 9)]
    common = [str(folder / "fmriprep"), str(folder / "series"), "participant", *participant_options(folder)]
    assert main([*common, "--participant-label", *labels[:5]]) == 0
    assert main([*common, "--participant-label", *labels[5:], "--dummy-scans", "12"]) == 0
    return folder


def planned(study: Path, *options: str) -> GroupPlan:
    arguments = [str(study / "series"), str(study / "out"), "group", *group_options(study), "--folds", "2"]
    return plan_group(parse_config([*arguments, *options]))


def test_a_cohort_of_two_commands_with_other_settings_is_refused(study: Path) -> None:
    with pytest.raises(UsageError, match=r"different settings \(DummyScans: auto \(5 runs\), 12 \(3 runs\)\)\. Choose"):
        planned(study)
    with pytest.raises(UsageError, match=r"\(those with DummyScans auto: --participant-label 01 02 03 04 05\), run"):
        planned(study)
    chosen = planned(study, "--participant-label", "01", "02", "03", "04", "05")
    assert len(chosen.cohort.runs) == 5
    assert not any("different settings" in note for note in chosen.cohort.extra["notes"])


def test_series_of_two_label_images_under_one_name_are_refused(study: Path, tmp_path: Path) -> None:
    """The regions of the second image are numbered from the other end."""
    for name in ("atlas", "fmriprep", "series"):
        shutil.copytree(study / name, tmp_path / name)
    for name in ("people.tsv", "own.toml"):
        shutil.copyfile(study / name, tmp_path / name)
    (image_file,) = (tmp_path / "atlas").glob("*.nii.gz")
    image = nib.load(image_file)
    labels = np.asanyarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(labels > 0, 9 - labels, 0).astype("i2"), image.affine), image_file)
    places = [str(tmp_path / "fmriprep"), str(tmp_path / "series")]
    label = ["--participant-label", "08", "--overwrite"]
    assert main([*places, "participant", *participant_options(tmp_path), *label]) == 0
    words = r"2 different label images of Cubes8 in MNIPediatricAsym \(7 runs like sub-01_task-rest, 1 run like sub-08_"
    with pytest.raises(UsageError, match=words):
        planned(tmp_path, "--allow-mixed-settings")


def test_mixed_settings_that_are_allowed_stand_in_the_notes_of_report_and_card(study: Path) -> None:
    plan = planned(study, "--allow-mixed-settings")
    assert len(plan.cohort.runs) == 8
    assert plan.cohort.extra["notes"][0] == (
        "The series were made with different settings, which --allow-mixed-settings permits: DummyScans: auto (5 "
        "runs), 12 (3 runs)."
    )
    assert plan.cohort.extra["atlas_drawing"]["Space"] == SPACE


def test_series_whose_sidecars_state_no_hash_are_planned_without_one(study: Path, tmp_path: Path) -> None:
    """As 0.1.0 and other programs leave them."""
    shutil.copytree(study / "series", tmp_path / "series")
    for path in (tmp_path / "series").rglob("sub-*/func/*_timeseries.json"):
        kept = {name: value for name, value in json.loads(path.read_text()).items() if name != "OutputHashes"}
        path.write_text(json.dumps(kept))
    arguments = [str(tmp_path / "series"), str(tmp_path / "out"), "group", *group_options(study), "--folds", "2"]
    rows = plan_group(parse_config([*arguments, "--allow-mixed-settings"])).cohort.runs
    assert {row["sha256"] for row in rows} == {""}
    stated = {row["sha256"] for row in planned(study, "--allow-mixed-settings").cohort.runs}
    assert len(stated) == 8
    assert {len(each) for each in stated} == {64}
