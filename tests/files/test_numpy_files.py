"""Archives of arrays are read whole, or refused by their headers, before memory is set aside."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.files.numpy_files import check_archive, read_archive


def npy(shape: tuple[int, ...], content: bytes, dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def write(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def test_numbers_and_text_come_back_as_they_were_written(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", numbers=np.arange(6).reshape(2, 3), text=np.array("é"), none=np.zeros(0))
    found = read_archive(tmp_path / "x.npz")
    assert list(found) == ["numbers", "text", "none"]
    np.testing.assert_array_equal(found["numbers"], [[0, 1, 2], [3, 4, 5]])
    assert str(found["text"]) == "é"
    assert found["none"].shape == (0,)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"a": npy((10**6, 10**6), b"12345678")}, "claims 8000000000000 bytes and has 8: it is damaged"),
        ({"a": npy((2, 2), bytes(32), "|O")}, "holds object values; numbers are expected"),
        ({"a": npy((300 * 1024**2,), bytes(300 * 1024**2), "|u1")}, "unpacks from .* bytes, which no series does"),
        ({"a": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"}, "claims a header of 2147483647 bytes"),
        ({"a": b"text"}, "cannot be read: ValueError"),
    ],
)
def test_what_claims_too_much_or_is_no_array_is_refused(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    path = write(tmp_path / "x.npz", **members)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunError, match=words):
        read_archive(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_many_arrays_that_are_large_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(100), b=np.zeros(100))
    monkeypatch.setattr("bids_neurossm.files.numpy_files.MAX_ARRAY_BYTES", 1500)
    with pytest.raises(RunError, match=r"unpacks to 0\.0 GiB"):
        check_archive(tmp_path / "x.npz")


def test_what_is_no_archive_or_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(RunError, match="cannot be read: BadZipFile"):
        read_archive(tmp_path / "x.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(RunError, match="is a pipe, not a file; save it to a file first"):
        read_archive(tmp_path / "pipe.npz")
    with pytest.raises(RunError, match="cannot be read: FileNotFoundError"):
        read_archive(tmp_path / "absent.npz")
