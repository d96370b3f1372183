"""What is no file is refused with the remedy, and what is too large or too deep before memory is set aside."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from bids_neurossm.atlas.tables import read_label_table
from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.errors import ResourceMissingError, RunError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.safe_reading import missing_content, too_deep
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


def test_brackets_in_strings_are_text():
    assert too_deep('{"a": "' + "[" * 1000 + '\\"[[", "b": []}') is None


@pytest.mark.parametrize("text", ['"\\' * 4_000_000, '"' * 8_000_000, "[]," * 2_000_000])
def test_looking_for_depth_takes_time_in_proportion_to_the_text(text):
    began = time.process_time()
    assert too_deep(text) is None
    assert time.process_time() - began < 5


def test_a_dataset_whose_description_is_a_pipe_is_refused(tmp_path):
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz").write_bytes(b"x")
    os.mkfifo(tmp_path / "dataset_description.json")
    with pytest.raises(UsageError, match="is a pipe, not a file; save it to a file first"):
        find_bold_runs(tmp_path, Selection())
