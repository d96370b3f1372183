"""The repetition time comes from sidecars, by inheritance, and is refused when it can not be true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.dataset.repetition_time import recording_repetition_time, repetition_time
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


def raw_dataset(folder: Path, **sidecars: Any) -> Path:
    for name, content in sidecars.items():
        path = folder.joinpath(*name.replace("__", "-").split("/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(content))
    return folder


class TestFromTheRawDataset:
    """Where the derivatives say nothing, the sidecars of the recording count, whatever they say of echo and part."""

    FUNC = "sub__01/ses__1/func/sub__01_ses__1_task__rest"

    def test_it_is_inherited_there_too(self, bold: Path, tmp_path: Path) -> None:
        raw = raw_dataset(tmp_path / "raw", task__rest_bold={"RepetitionTime": 1.9})
        assert repetition_time(bold, tmp_path, [raw]) == 1.9
        raw_dataset(raw, **{f"{self.FUNC}_bold": {"RepetitionTime": 1.7}})
        assert repetition_time(bold, tmp_path, [raw]) == 1.7

    def test_the_derivatives_come_first(self, bold: Path, tmp_path: Path) -> None:
        write(bold.with_name(f"{NAME}.json"), 2.5)
        raw = raw_dataset(tmp_path / "raw", task__rest_bold={"RepetitionTime": 1.9})
        assert repetition_time(bold, tmp_path, [raw]) == 2.5

    def test_echoes_and_parts_that_agree_count_as_one(self, bold: Path, tmp_path: Path) -> None:
        names = [f"{self.FUNC}_echo__{echo}_part__{part}_bold" for echo in (1, 2) for part in ("mag", "phase")]
        raw = raw_dataset(tmp_path / "raw", **{name: {"RepetitionTime": 1.5} for name in names})
        assert repetition_time(bold, tmp_path, [raw]) == 1.5

    def test_echoes_that_disagree_are_named(self, bold: Path, tmp_path: Path) -> None:
        echoes = {f"{self.FUNC}_echo__{echo}_bold": {"RepetitionTime": 1.0 + echo} for echo in (1, 2)}
        raw = raw_dataset(tmp_path / "raw", **echoes)
        with pytest.raises(
            RunError, match=r"echo-1_bold\.json and .*echo-2_bold\.json disagree on RepetitionTime.*2\.0 and"
        ):
            repetition_time(bold, tmp_path, [raw])

    def test_other_recordings_do_not_count(self, bold: Path, tmp_path: Path) -> None:
        others = [f"{self.FUNC}_run__1_bold", "sub__01/func/sub__01_task__rest_acq__x_bold", "task__rest_sbref"]
        raw = raw_dataset(tmp_path / "raw", **{name: {"RepetitionTime": 1.0} for name in others})
        with pytest.raises(RunError, match=r"gives no RepetitionTime; .*name the raw dataset with `-d raw=PATH`"):
            repetition_time(bold, tmp_path, [raw])

    def test_run_1_is_run_01(self, tmp_path: Path) -> None:
        raw = raw_dataset(tmp_path, **{"sub__1/func/sub__1_run__1_bold": {"RepetitionTime": 3}})
        assert recording_repetition_time({"sub": "1", "run": "01", "space": "T1w"}, raw) == 3.0
        assert recording_repetition_time({"sub": "1", "run": "10"}, raw) is None

    def test_content_that_was_not_fetched_is_not_absent(self, bold: Path, tmp_path: Path) -> None:
        raw = raw_dataset(tmp_path / "raw", task__rest_bold={"RepetitionTime": 1.9})
        nearer = raw_dataset(raw, **{f"{self.FUNC}_bold": {}}).joinpath(
            *f"{self.FUNC}_bold.json".replace("__", "-").split("/")
        )
        nearer.unlink()
        nearer.symlink_to("../x")
        with pytest.raises(RunError, match=r"run `datalad get .*sub-01_ses-1_task-rest_bold.json`"):
            repetition_time(bold, tmp_path, [raw])


class TestVolumeTiming:
    def test_an_even_one_is_a_repetition_time(self, bold: Path, tmp_path: Path) -> None:
        bold.with_name(f"{NAME}.json").write_text(json.dumps({"VolumeTiming": [0, 2.1, 4.2, 6.3]}))
        assert repetition_time(bold, tmp_path) == 2.1

    def test_an_uneven_one_is_refused(self, bold: Path, tmp_path: Path) -> None:
        bold.with_name(f"{NAME}.json").write_text(json.dumps({"VolumeTiming": [0, 2, 4, 12]}))
        with pytest.raises(RunError, match=r"VolumeTiming is not evenly spaced \(gaps from 2 to 8 s\)"):
            repetition_time(bold, tmp_path)

    def test_a_repetition_time_of_the_raw_dataset_comes_first(self, bold: Path, tmp_path: Path) -> None:
        bold.with_name(f"{NAME}.json").write_text(json.dumps({"VolumeTiming": [0, 2, 4, 12]}))
        raw = raw_dataset(tmp_path / "raw", task__rest_bold={"RepetitionTime": 2})
        assert repetition_time(bold, tmp_path, [raw]) == 2.0

    @pytest.mark.parametrize("value", ["0 2 4", [0], [0, "2"], [0, None], [4, 2, 0], [0, 0, 0]])
    def test_what_is_no_list_of_rising_times_is_refused(self, bold: Path, tmp_path: Path, value: Any) -> None:
        bold.with_name(f"{NAME}.json").write_text(json.dumps({"VolumeTiming": value}))
        with pytest.raises(RunError, match=r"VolumeTiming must list|seconds between"):
            repetition_time(bold, tmp_path)


def test_two_sidecars_that_are_equally_close_must_agree(bold: Path, tmp_path: Path) -> None:
    write(tmp_path / "task-rest_bold.json", 2)
    write(tmp_path / "space-MNI152NLin6Asym_bold.json", 2)
    assert repetition_time(bold, tmp_path) == 2.0
    write(tmp_path / "space-MNI152NLin6Asym_bold.json", 3)
    with pytest.raises(RunError, match=r"disagree on RepetitionTime of one recording, 3 and 2"):
        repetition_time(bold, tmp_path)
