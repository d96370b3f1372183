"""ROI arrays in every format that is read: what a file holds, and what is refused."""

from __future__ import annotations

import io
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.readers import runs_of_mat

SERIES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def test_stacks_are_taken_layer_by_layer(tmp_path):
    stack = np.stack([SERIES, SERIES + 1])
    np.save(tmp_path / "cohort.npy", stack)
    np.savez_compressed(tmp_path / "other.npz", x=stack, labels=np.array([0, 1]))
    found = find_arrays(tmp_path)
    assert [run.key for run in found.runs] == ["cohort-1", "cohort-2", "x-1", "x-2"]
    assert all(run.positional for run in found.runs)
    for run, expected in zip(found.runs, [*stack, *stack], strict=True):
        np.testing.assert_array_equal(run.load(), expected)
    assert found.notes == [f"{tmp_path / 'other.npz'}[labels] has 1 dimension(s) and is no series: left out."]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("sub-1.csv", "a,b\n1,2\n3,4.5\n", ("a", "b")),
        ("sub-1.csv", ",a,b\n0,1,2\n1,3,4.5\n", ("a", "b")),
        ("sub-1.csv", "\ufeff1;2\r\n3;4.5\r\n", ()),
        ("sub-1.tsv", "a\tb\n1\t2\n3\t4.5\n", ("a", "b")),
        ("sub-1.1D", "# 3dmaskave\n  1   2\n  3   4.5\n", ()),
    ],
)
def test_text_tables_are_read_with_and_without_names(tmp_path, name, text, columns):
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "participants.tsv").write_text("participant_id\nsub-1\n")
    (run,) = find_arrays(tmp_path).runs
    assert (run.key, run.columns, run.shape) == ("sub-1", columns, (2, 2))
    np.testing.assert_array_equal(run.load(), [[1, 2], [3, 4.5]])


def test_missing_numbers_are_nan(tmp_path):
    (tmp_path / "a.csv").write_text("1,n/a\n3,\n")
    (run,) = find_arrays(tmp_path / "a.csv").runs
    assert np.isnan(run.load()[:, 1]).all()


def test_matlab_matrices_and_cells_are_read(tmp_path):
    scipy.io.savemat(tmp_path / "subject7.mat", {"ts": SERIES, "TR": 2.0, "labels": np.arange(3)})
    cells = np.empty((1, 2), dtype=object)
    cells[0, 0], cells[0, 1] = SERIES, SERIES[:9]
    scipy.io.savemat(tmp_path / "cohort.mat", {"all": cells})
    found = find_arrays(tmp_path)
    assert [(run.key, run.shape) for run in found.runs] == [
        ("cohort-1", (12, 5)),
        ("cohort-2", (9, 5)),
        ("subject7", (12, 5)),
    ]
    np.testing.assert_array_equal(found.runs[1].load(), SERIES[:9])


def test_a_matlab_file_of_version_7_3_needs_h5py(tmp_path, monkeypatch):
    path = tmp_path / "x.mat"
    # The header that MATLAB writes before the HDF5 content: version 2.0, little-endian.
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x00" * 512)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r"version 7\.3; install h5py"):
        runs_of_mat(path)

    class File(dict):
        def __init__(self, *_):
            super().__init__(ts=SERIES.T)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setitem(sys.modules, "h5py", types.SimpleNamespace(File=File))
    (run,) = runs_of_mat(path)
    np.testing.assert_array_equal(run.load(), SERIES)  # HDF5 holds MATLAB's matrices transposed


def _npz(path: Path, header: bytes, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header + content)
    return path


def _header(shape: tuple[int, ...], dtype: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_an_array_that_claims_more_than_its_file_has_is_not_read(tmp_path):
    _npz(tmp_path / "bomb.npz", _header((10**6, 10**6)), b"12345678")
    (tmp_path / "bomb.npy").write_bytes(_header((10**6, 10**6)) + b"12345678")
    found = find_arrays(tmp_path)
    assert found.runs == []
    assert all("claims 8000000000000 bytes and has 8" in str(failure) for failure in found.failures)
    assert len(found.failures) == 2


def test_an_archive_that_inflates_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_neurossm.roi_arrays.readers.MAX_ARRAY_BYTES", 10_000)
    _npz(tmp_path / "zeros.npz", _header((200, 100)), bytes(160_000))
    (failure,) = find_arrays(tmp_path).failures
    assert "GiB are read" in str(failure)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.npz", b"no archive", "BadZipFile"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy", _header((2, 2), "<c16") + bytes(64), "complex128 values"),
        ("a.csv", b"a,b\n1,x\n", "column 'b' holds text"),
        ("a.csv", b"", "is empty (0 bytes)"),
        ("a.mat", b"MATLAB", "MATLAB file"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    good = tmp_path / f"good{Path(name).suffix}"
    if good.suffix == ".csv":
        good.write_text("1,2\n3,4\n")
    elif good.suffix == ".mat":
        scipy.io.savemat(good, {"x": SERIES})
    else:
        np.savez(good, good=SERIES) if good.suffix == ".npz" else np.save(good, SERIES)
    found = find_arrays(tmp_path)
    assert [run.key for run in found.runs] == ["good"]
    (failure,) = found.failures
    assert told in str(failure)
    assert str(tmp_path / name) in str(failure)


def test_objects_in_an_archive_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object).reshape(1, 1))
    with pytest.raises(UsageError, match="Python objects"):
        find_arrays(tmp_path)
