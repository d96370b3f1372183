"""A 4D image read volume by volume."""

from __future__ import annotations

import gzip
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from isal.igzip_lib import IsalError

from bids_neurossm.errors import RunError
from bids_neurossm.signal import stream
from bids_neurossm.signal.stream import read_header, reading_order, volumes

SHAPE, N_VOLUMES = (7, 6, 5), 9
AFFINE = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


def stored_values(dtype: str = "<i2", shape: tuple[int, ...] = (*SHAPE, N_VOLUMES)) -> np.ndarray:
    """Whole numbers that every data type holds, all different from their neighbours."""
    return (np.arange(np.prod(shape)) * 37 % 120).reshape(shape, order="F").astype(dtype)


def nifti_bytes(values: np.ndarray, version: int = 1, slope: float = 1.0, intercept: float = 0.0) -> bytes:
    """Lay an image out as bytes by hand, for nibabel would choose scale factors and byte order itself."""
    kind = {1: nib.Nifti1Header, 2: nib.Nifti2Header}[version]
    header = kind(endianness=">" if values.dtype.byteorder == ">" else "<")
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header.set_sform(AFFINE, 4)
    header.set_qform(AFFINE, 4)
    header.set_zooms((2.0, 2.0, 2.0, 0.8, *[1.0] * (values.ndim - 4))[: values.ndim])
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(slope, intercept)
    header["magic"] = b"n+1" if version == 1 else header["magic"]
    header["vox_offset"] = {1: 352, 2: 544}[version]
    return header.binaryblock + b"\0" * 4 + values.tobytes(order="F")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def read_all(path: Path) -> np.ndarray:
    """All volumes; a reader that hangs fails the test instead of stopping it."""

    def read() -> np.ndarray:
        header = read_header(path)
        return np.stack([volume.copy() for volume in volumes(path, header)], axis=-1)

    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(read).result(timeout=30)
    finally:
        pool.shutdown(wait=False)


def assert_refused(path: Path, *words: str) -> None:
    """The error is one sentence that names the file, and no thread is left behind."""
    with pytest.raises(RunError) as caught:
        read_all(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not reading_threads()


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "volumes"]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i2", "<u2", ">i4", "<f4", ">f4", "<f8", ">f8"])
def test_volumes_are_the_stored_values_in_fortran_order(
    tmp_path: Path, dtype: str, version: int, extension: str
) -> None:
    values = stored_values(dtype)
    path = tmp_path / f"bold{extension}"
    content = nifti_bytes(values, version)
    path.write_bytes(gzip.compress(content) if extension.lower().endswith(".gz") else content)
    header = read_header(path)
    assert (header.shape, header.n_volumes, header.dtype) == (SHAPE, N_VOLUMES, np.dtype(dtype))
    assert header.repetition_time == pytest.approx(0.8)
    np.testing.assert_allclose(header.affine, AFFINE)
    np.testing.assert_array_equal(read_all(path), values.reshape(-1, N_VOLUMES, order="F"))


def test_scale_factors_are_told_and_not_applied(tmp_path: Path) -> None:
    values = stored_values()
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(values, slope=0.25, intercept=-3.0))
    header = read_header(path)
    assert (header.slope, header.intercept) == (0.25, -3.0)
    np.testing.assert_array_equal(read_all(path), values.reshape(-1, N_VOLUMES, order="F"))


def test_trailing_dimensions_of_one_are_ignored(tmp_path: Path) -> None:
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values(shape=(*SHAPE, N_VOLUMES, 1))))
    assert read_header(path).n_volumes == N_VOLUMES
    assert read_all(path).shape == (np.prod(SHAPE), N_VOLUMES)


def test_repetition_time_in_milliseconds(tmp_path: Path) -> None:
    content = bytearray(nifti_bytes(stored_values()))
    content[123] = 2 | 16  # xyzt_units: mm, msec
    assert read_header(write(tmp_path / "bold.nii", bytes(content))).repetition_time == pytest.approx(0.0008)


@pytest.mark.parametrize("piece", [1 << 20, 256])
def test_wanted_voxels_come_group_by_group(tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PIECE_BYTES", piece)
    values = stored_values().reshape(-1, N_VOLUMES, order="F")
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values()))
    header = read_header(path)
    voxels = np.arange(3, 200, 2)
    groups = voxels % 5
    order, starts = reading_order(voxels, groups, header)
    found = np.stack([volume.copy() for volume in volumes(path, header, voxels[order])], axis=-1)
    np.testing.assert_array_equal(found, values[voxels[order]])
    assert starts.size == 5 * (-(-int(voxels[-1]) * 2 // piece))
    for stretch in np.split(groups[order], starts[1:]):
        assert np.unique(stretch).size == 1


def test_no_wanted_voxel_is_no_error(tmp_path: Path) -> None:
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values()))
    header = read_header(path)
    nothing = np.array([], dtype=np.intp)
    order, starts = reading_order(nothing, nothing, header)
    assert order.size == starts.size == 0
    assert [volume.size for volume in volumes(path, header, nothing)] == [0] * N_VOLUMES


def test_voxels_in_another_order_are_a_mistake_of_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PIECE_BYTES", 256)
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values()))
    with pytest.raises(ValueError, match="reading_order"):
        next(volumes(path, read_header(path), np.array([200, 3])))


@pytest.mark.parametrize(
    ("shape", "dtype", "words"),
    [
        (SHAPE, "<i2", "4D image"),
        ((*SHAPE, 1), "<i2", "4D image"),
        ((*SHAPE, 3, 2), "<i2", "4D image"),
        ((*SHAPE, 3), "<c8", "complex64"),
        ((*SHAPE, 3), "rgb", "R"),
    ],
)
def test_images_that_are_no_bold_are_refused(tmp_path: Path, shape: tuple[int, ...], dtype: str, words: str) -> None:
    kind: Any = [("R", "u1"), ("G", "u1"), ("B", "u1")] if dtype == "rgb" else dtype
    assert_refused(write(tmp_path / "bold.nii.gz", nifti_bytes(np.zeros(shape, dtype=kind))), words)


@pytest.mark.parametrize("content", [b"", b"sub-01\tn/a\n", b"\x1f\x8b\x08", bytes(range(256)) * 4])
@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_files_that_are_no_image_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert_refused(path)


def test_missing_files_folders_and_other_formats_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "bold.nii.gz")
    (tmp_path / "folder.nii").mkdir()
    assert_refused(tmp_path / "folder.nii")
    assert_refused(write(tmp_path / "bold.mgz", nifti_bytes(stored_values())), ".nii.gz")
    assert_refused(write(tmp_path / "plain.nii", gzip.compress(nifti_bytes(stored_values()))))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    rng = np.random.default_rng(0)
    content = nifti_bytes(rng.integers(0, 30000, (*SHAPE, N_VOLUMES)).astype("<i2"))
    packed = gzip.compress(content)
    for name, whole in (("bold.nii", content), ("bold.nii.gz", packed)):
        path = tmp_path / name
        path.write_bytes(whole[: int(share * len(whole))])
        assert_refused(path)


@pytest.mark.parametrize("damage", ["data", "checksum", "length", "garbage", "half a trailer", "zeros, then garbage"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    rng = np.random.default_rng(0)
    content = nifti_bytes(rng.integers(0, 3000, (*SHAPE, N_VOLUMES)).astype("<i2"))
    packed = bytearray(gzip.compress(content))
    middle = len(packed) // 2
    damaged = {
        "data": packed[:middle] + bytes(b ^ 0xFF for b in packed[middle : middle + 8]) + packed[middle + 8 :],
        "checksum": packed[:-8] + b"\1\2\3\4" + packed[-4:],
        "length": packed[:-4] + b"\1\2\3\4",
        "garbage": packed + b"left by an interrupted copy",
        "half a trailer": packed[:-4],
        "zeros, then garbage": packed + b"\0" * 16 + b"garbage",
    }[damage]
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(damaged)
    assert_refused(path, "is damaged", f"of {N_VOLUMES} volumes")


def test_deflate_data_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    """ISA-L raises an error of its own, which is no `zlib.error`."""
    content = nifti_bytes(stored_values(shape=(40, 40, 40, N_VOLUMES)))
    packer = zlib.compressobj(wbits=-15)
    half = packer.compress(content[:600_000]) + packer.flush(zlib.Z_FULL_FLUSH)
    path = tmp_path / "bold.nii.gz"
    no_such_block = b"\x07" * 50
    path.write_bytes(gzip.compress(b"")[:10] + half + no_such_block)
    with pytest.raises(RunError, match="is damaged") as caught:
        read_all(path)
    assert isinstance(caught.value.__cause__, IsalError)
    assert str(path) in str(caught.value)
    assert not reading_threads()


def test_concatenated_members_and_padding_are_legal(tmp_path: Path) -> None:
    content = nifti_bytes(stored_values())
    path = tmp_path / "bold.nii.gz"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]) + b"\0" * 512)
    np.testing.assert_array_equal(read_all(path), stored_values().reshape(-1, N_VOLUMES, order="F"))


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("claimed", [2, N_VOLUMES - 1, N_VOLUMES + 1, 32000])
def test_a_header_that_lies_about_the_number_of_volumes_is_refused(tmp_path: Path, name: str, claimed: int) -> None:
    content = bytearray(nifti_bytes(stored_values()))
    content[48:50] = claimed.to_bytes(2, "little")  # dim[4]
    assert_refused(write(tmp_path / name, bytes(content)))


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
@pytest.mark.parametrize("size", [0, 6, 8, 30000, -1])
def test_a_header_that_lies_about_the_grid_is_refused(tmp_path: Path, name: str, size: int) -> None:
    content = bytearray(nifti_bytes(stored_values()))
    content[42:44] = (size % 65536).to_bytes(2, "little")  # dim[1]
    assert_refused(write(tmp_path / name, bytes(content)))


def test_any_damage_to_the_header_is_refused_or_harmless(tmp_path: Path) -> None:
    whole = nifti_bytes(stored_values())
    rng = np.random.default_rng(1)
    messages = []
    for _ in range(400):
        content = bytearray(whole)
        for position in rng.integers(0, 352, 3):
            content[position] = rng.integers(0, 256)
        path = write(tmp_path / "bold.nii", bytes(content))
        try:
            read_all(path)
        except RunError as error:
            messages.append(str(error))
    assert 20 < len(messages) < 400
    assert all(str(path) in message for message in messages)


def test_a_consumer_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values(shape=(40, 40, 40, 60))))
    header = read_header(path)
    for n_taken in (0, 1, 2, 5, 59):
        with closing(volumes(path, header)) as read:
            for _ in range(n_taken):
                next(read)
            # Near the end the thread may have read all that there is, and ended by itself.
            assert len(reading_threads()) == (n_taken > 0) or n_taken == 59
        assert not reading_threads()


def test_a_consumer_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values()))

    def fail() -> None:
        with closing(volumes(path, read_header(path))) as read:
            raise ZeroDivisionError(f"at a volume of {next(read).size} voxels")

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not reading_threads()


def test_a_generator_that_is_dropped_ends_its_thread(tmp_path: Path) -> None:
    path = write(tmp_path / "bold.nii.gz", nifti_bytes(stored_values()))
    read = volumes(path, read_header(path))
    next(read)
    del read
    assert not reading_threads()
