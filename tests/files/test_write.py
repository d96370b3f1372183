"""A file is there whole or not at all; the same content gives the same bytes; what is in the way is said."""

from __future__ import annotations

import errno
import gzip
import json
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import OutputNotWritableError
from bids_neurossm.files.write import replacing, write_bytes, write_json, write_nifti, write_text, write_tsv


def test_folders_are_made_and_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "µ\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"\xc2\xb5\n"


def test_a_reader_never_meets_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".")
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:  # noqa: PT012 (the error comes midway)
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def write_half(path: Path, content: bytes) -> int:
        with path.open("wb") as stream:
            stream.write(content[: len(content) // 2])
        raise OSError(code, "no room")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OutputNotWritableError, match=r"table.tsv can not be written: .*another OUT_DIR"):
        write_bytes(tmp_path / "table.tsv", b"0123456789")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_other_kinds_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="worn out") as caught, replacing(tmp_path / "a"):
        raise OSError(errno.EIO, "worn out")
    assert not isinstance(caught.value, OutputNotWritableError)


@pytest.mark.parametrize("mode", [0o555, 0o000])
@pytest.mark.parametrize("name", ["a.txt", "sub-01/a.txt"])
@pytest.mark.usefixtures("unprivileged")
def test_a_folder_that_may_not_be_written_is_said(mode: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(mode)
        with pytest.raises(OutputNotWritableError, match="Permission denied"):
            write_text(Path(folder) / name, "x")
        Path(folder).chmod(0o755)
        assert list(Path(folder).iterdir()) == []


def test_a_file_where_a_folder_is_needed_is_said(tmp_path: Path) -> None:
    (tmp_path / "sub-01").write_text("a file")
    for path in (tmp_path / "sub-01" / "a.txt", tmp_path / "sub-01" / "func" / "a.txt"):
        with pytest.raises(OutputNotWritableError, match=r"Not a directory|File exists"):
            write_text(path, "x")


def test_a_folder_where_the_file_belongs_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputNotWritableError, match="Is a directory"):
        write_text(tmp_path / "a.txt", "x")


def test_json_is_sorted_and_knows_numpy_paths_and_missing_numbers(tmp_path: Path) -> None:
    content = {
        **{"b": np.float64("nan"), "a": (np.int64(3), float("inf")), "path": Path("/data"), "none": None},
        **{"array": np.array([[1, 2]]), "flag": np.True_, "nested": {"z": [np.float32(0.5)], 1: "µ"}},
    }
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        **{"a": [3, "n/a"], "array": [[1, 2]], "b": "n/a", "flag": True},
        **{"nested": {"1": "µ", "z": [0.5]}, "none": None, "path": "/data"},
    }
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert "µ" in text
    write_json(tmp_path / "b.json", dict(reversed(content.items())))
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_table_has_tabs_missing_values_and_fixed_digits(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["a", None], "value": [1 / 3, float("nan")], "count": [1, 2]})
    write_tsv(tmp_path / "a.tsv", table)
    assert (tmp_path / "a.tsv").read_bytes() == b"name\tvalue\tcount\na\t0.333333333\t1\nn/a\tn/a\t2\n"


def test_an_image_has_the_same_bytes_at_another_time_under_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_nifti(tmp_path / "a.nii.gz", data, np.diag([2.0, 2, 2, 1]))
    monkeypatch.setattr(time, "time", lambda: 4e9)
    write_nifti(tmp_path / "b.nii.gz", data, np.diag([2.0, 2, 2, 1]))
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[4:8] == b"\0\0\0\0"  # the time in a gzip header
    assert b"a.nii" not in content
    assert len(gzip.decompress(content)) == 352 + 24 * 4


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16])
def test_an_image_keeps_voxels_affine_type_and_space(tmp_path: Path, dtype: type[np.generic]) -> None:
    data = np.arange(24).reshape(2, 3, 4).astype(dtype)
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    header = nib.Nifti1Header()
    header["sform_code"] = header["qform_code"] = 2
    write_nifti(tmp_path / "a.nii.gz", data, affine, header)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    np.testing.assert_array_equal(image.affine, affine)
    assert image.get_data_dtype() == dtype
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (2, 2)
    assert image.header.get_xyzt_units() == ("mm", "sec")


def test_nan_outside_the_atlas_survives(tmp_path: Path) -> None:
    data = np.full((2, 2, 2), np.nan, dtype=np.float32)
    data[0, 0, 0] = 3
    write_nifti(tmp_path / "a.nii.gz", data, np.eye(4))
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    assert float(image.header["cal_max"]) == 3
