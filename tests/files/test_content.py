"""What is no file is refused with the remedy, and what is too large or too deep before memory is set aside."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.atlas.parcellation import read_label_image
from bids_neurossm.atlas.tables import read_label_table
from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.errors import ResourceMissingError, RunError, UsageError
from bids_neurossm.files.content import missing_content, read_gzip, too_deep
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.files.tables import read_first_rows, read_table
from bids_neurossm.files.toml_files import read_toml
from bids_neurossm.signal.stream import read_header


def _json(path: Path) -> object:
    return read_json_object(path, RunError)


def _table(path: Path) -> object:
    return read_table(path, RunError)


def _first_row(path: Path) -> object:
    return read_first_rows(path, RunError)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x.json", _json),
        ("x.tsv", _table),
        ("x.tsv", _first_row),
        ("x.toml", read_toml),
        ("x.xml", read_label_table),
        ("x_bold.nii.gz", read_header),
    ],
)
def test_a_pipe_is_refused_by_every_reader(tmp_path, name, read):
    path = tmp_path / name
    os.mkfifo(path)
    with pytest.raises((RunError, UsageError, ResourceMissingError)) as caught:
        read(path)
    assert str(caught.value) == f"{path} is a pipe, not a file; save it to a file first."


def test_devices_and_sockets_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("x")
        assert missing_content(Path("x")) == "x is a socket, not a file; save it to a file first."
    assert missing_content(Path("/dev/zero")) == "/dev/zero is a device, not a file; save it to a file first."
    assert missing_content(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' + "[" * 100_000, "it has more than 100 brackets within each other"),
        ('{"a": ' + "1" * 10_000 + "}", "4300 digits"),
        ('{"a": "' + "x" * 16 * 1024**2 + '"}', "has 16 MiB; a file of this kind has at most 16 MiB"),
    ],
)
def test_json_that_is_too_deep_or_too_long_is_a_sentence(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=words):
        _json(tmp_path / "x.json")


def test_brackets_in_strings_are_text():
    assert too_deep('{"a": "' + "[" * 1000 + '\\"[[", "b": []}') is None


@pytest.mark.parametrize("text", ['"\\' * 4_000_000, '"' * 8_000_000, "[]," * 2_000_000])
def test_looking_for_depth_takes_time_in_proportion_to_the_text(text):
    began = time.process_time()
    assert too_deep(text) is None
    assert time.process_time() - began < 5


@pytest.mark.parametrize("text", ["a." * 100_000 + "a = 1", "[" + "a." * 100_000 + "a]", "x = " + "{a=" * 50_000])
def test_toml_that_would_hang_its_parser_is_a_sentence(tmp_path, text):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(UsageError, match="is not valid TOML"):
        read_toml(tmp_path / "x.toml")


def test_a_table_of_very_many_columns_is_a_sentence(tmp_path):
    (tmp_path / "x.tsv").write_text("\t".join(f"c{number}" for number in range(100_001)) + "\n")
    with pytest.raises(RunError, match="has 100001 columns; at most 100000 are read"):
        _table(tmp_path / "x.tsv")


def test_names_of_very_many_columns_are_compared_in_seconds(tmp_path):
    header = "\t".join(f"c{number}" for number in range(100_000))
    (tmp_path / "x.tsv").write_text(f"{header}\n{header}\n")
    began = time.process_time()
    assert _table(tmp_path / "x.tsv").shape == (1, 100_000)
    assert time.process_time() - began < 20


def _image(path: Path, offset: float, flag: int = 1) -> Path:
    """Write an image whose header says that its voxels begin at `offset`."""
    content = bytearray(nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4)).to_bytes())
    struct.pack_into("<f", content, 108, offset)
    content[348] = flag
    path.write_bytes(gzip.compress(bytes(content)))
    return path


@pytest.mark.parametrize("offset", [2.0**24 + 512, 1.5 * 2**30, float("inf"), float("-inf"), float("nan")])
def test_header_extensions_that_take_memory_are_refused_before_they_are_read(tmp_path, offset):
    path = _image(tmp_path / "x_bold.nii.gz", offset)
    with pytest.raises(RunError, match="header extensions"):
        read_header(path)
    with pytest.raises(ResourceMissingError, match="header extensions"):
        read_label_image(path)


def test_header_extensions_without_an_end_are_refused(tmp_path):
    with pytest.raises(RunError, match="has header extensions that have no end"):
        check_nifti(_image(tmp_path / "x.nii.gz", 0), RunError)


def test_an_image_with_a_comment_is_read(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    image.header["pixdim"][4] = 2
    nib.save(image, tmp_path / "x_bold.nii.gz")
    assert read_header(tmp_path / "x_bold.nii.gz").n_volumes == 3


def test_a_dataset_whose_description_is_a_pipe_is_refused(tmp_path):
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz").write_bytes(b"x")
    os.mkfifo(tmp_path / "dataset_description.json")
    with pytest.raises(UsageError, match="is a pipe, not a file; save it to a file first"):
        find_bold_runs(tmp_path, Selection())


def test_what_nibabel_remarks_about_a_header_is_logged_with_the_path_and_not_printed(tmp_path, capfd, caplog):
    content = bytearray(nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4)).to_bytes())
    struct.pack_into("<h", content, 252, 1024)  # the code of the qform
    path = tmp_path / "x_bold.nii"
    path.write_bytes(bytes(content))
    with caplog.at_level("INFO", logger="bids_neurossm"):
        assert load_nifti(path).shape == (4, 4, 4, 3)
    assert caplog.messages == [f"{path}: qform_code 1024 not valid; setting to 0"]
    assert capfd.readouterr() == ("", "")


def test_a_gzipped_table_is_read_as_far_as_it_may_unpack(tmp_path):
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(b"x" * 2 * 1024**2))
    assert len(read_gzip(path, RunError, 2 * 1024**2)) == 2 * 1024**2
    with pytest.raises(RunError, match="unpacks to more than 1 MiB"):
        read_gzip(path, RunError, 1024**2)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RunError, match="the file is damaged"):
        read_gzip(path, RunError, 2 * 1024**2)
