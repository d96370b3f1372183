"""The repetition time comes from sidecars, by inheritance, and is refused when it can not be true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.dataset.repetition_time import repetition_time
from bids_neurossm.errors import RunError

NAME = "sub-01_ses-1_task-rest_space-MNI152NLin6Asym_desc-preproc_bold"


@pytest.fixture
def bold(tmp_path: Path) -> Path:
    folder = tmp_path / "sub-01" / "ses-1" / "func"
    folder.mkdir(parents=True)
    return folder / f"{NAME}.nii.gz"


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps({"RepetitionTime": value}))


def test_it_is_read_beside_the_image(bold: Path, tmp_path: Path) -> None:
    write(bold.with_name(f"{NAME}.json"), 0.72)
    assert repetition_time(bold, tmp_path) == 0.72


def test_a_sidecar_of_the_whole_dataset_is_inherited(bold: Path, tmp_path: Path) -> None:
    write(tmp_path / "task-rest_bold.json", 2)
    assert repetition_time(bold, tmp_path) == 2.0
    bold.with_name(f"{NAME}.json").write_text('{"SkullStripped": false}')
    assert repetition_time(bold, tmp_path) == 2.0


def test_the_nearest_sidecar_wins(bold: Path, tmp_path: Path) -> None:
    write(tmp_path / "task-rest_bold.json", 2)
    write(tmp_path / "sub-01" / "sub-01_task-rest_bold.json", 1.5)
    assert repetition_time(bold, tmp_path) == 1.5
    write(bold.with_name("sub-01_ses-1_task-rest_bold.json"), 1.2)
    assert repetition_time(bold, tmp_path) == 1.2
    write(bold.with_name(f"{NAME}.json"), 0.8)
    assert repetition_time(bold, tmp_path) == 0.8


@pytest.mark.parametrize(
    "other", ["task-nback_bold.json", "task-rest_acq-mb_bold.json", "task-rest_boldref.json", "task-rest_sbref.json"]
)
def test_sidecars_of_other_recordings_are_not_inherited(bold: Path, tmp_path: Path, other: str) -> None:
    write(tmp_path / other, 2)
    with pytest.raises(RunError, match=f"{NAME}.json gives no RepetitionTime; add the seconds"):
        repetition_time(bold, tmp_path)


def test_nothing_above_the_dataset_is_read(bold: Path, tmp_path: Path) -> None:
    write(tmp_path / "task-rest_bold.json", 2)
    with pytest.raises(RunError, match="gives no RepetitionTime"):
        repetition_time(bold, tmp_path / "sub-01")


@pytest.mark.parametrize("value", [0, -2, 2000, 720.0, "2.0", True, [2.0], float("nan")])
def test_zero_milliseconds_and_text_are_refused(bold: Path, tmp_path: Path, value: Any) -> None:
    write(bold.with_name(f"{NAME}.json"), value)
    with pytest.raises(RunError, match=r"RepetitionTime is .*; seconds between 0.05 and 30 are expected"):
        repetition_time(bold, tmp_path)


def test_null_is_as_good_as_absent(bold: Path, tmp_path: Path) -> None:
    write(bold.with_name(f"{NAME}.json"), None)
    with pytest.raises(RunError, match="gives no RepetitionTime"):
        repetition_time(bold, tmp_path)


def test_a_damaged_sidecar_is_named(bold: Path, tmp_path: Path) -> None:
    (tmp_path / "task-rest_bold.json").write_text('{"RepetitionTime": 2')
    with pytest.raises(RunError, match=r"task-rest_bold.json is not readable JSON"):
        repetition_time(bold, tmp_path)


def test_a_byte_order_mark_does_no_harm(bold: Path, tmp_path: Path) -> None:
    bold.with_name(f"{NAME}.json").write_bytes(b'\xef\xbb\xbf{"RepetitionTime": 2.5}')
    assert repetition_time(bold, tmp_path) == 2.5
