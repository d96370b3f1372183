"""Files that crash, hang or fill memory while they are read end as a sentence, and the command goes on."""

from __future__ import annotations

import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.isolated import IsolatedReader

SERIES = np.arange(40.0).reshape(8, 5)


def _element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def _nested_cells(depth: int) -> bytes:
    """Write a MATLAB file with a cell in a cell in a cell ..."""
    flags, name, numbers = struct.pack("<II", 6, 0), b"", struct.pack("<4d", 1, 2, 3, 4)
    leaf = _element(14, b"".join(map(_element, (6, 5, 1, 9), (flags, struct.pack("<ii", 2, 2), name, numbers))))
    parts, size = [], len(leaf)
    for level in range(depth):
        name = _element(1, b"x" if level == depth - 1 else b"")
        head = _element(6, struct.pack("<II", 1, 0)) + _element(5, struct.pack("<ii", 1, 1)) + name
        parts.append(struct.pack("<II", 14, len(head) + size) + head)
        size += len(head) + 8
    packed = zlib.compress(b"".join(reversed(parts)) + leaf, 9)
    start = b"MATLAB 5.0 MAT-file".ljust(116) + b"\0" * 8 + struct.pack("<H", 0x0100) + b"IM"
    return start + struct.pack("<II", 15, len(packed)) + packed


def test_a_crash_is_a_sentence_and_the_other_files_are_read(tmp_path):
    (tmp_path / "a.mat").write_bytes(_nested_cells(100_000))
    savemat(tmp_path / "b.mat", {"x": SERIES})
    found = find_arrays(tmp_path)
    np.testing.assert_array_equal(found.runs[0].load(), SERIES)
    (failure,) = found.failures
    assert str(failure) == (
        f"{tmp_path / 'a.mat'} cannot be read: the process that read it was ended by SIGSEGV, because the file is "
        "damaged or nested too deeply; save the series as plain arrays in a .npz file instead."
    )


def test_a_pickle_of_a_megabyte_of_nested_tuples_is_refused(tmp_path):
    path = tmp_path / "x.pickle"
    path.write_bytes(b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.")
    with pytest.raises(UsageError, match="a key that is no plain value"):
        find_arrays(path)


def test_a_pickle_whose_hash_would_take_for_ever_is_refused(tmp_path):
    path = tmp_path / "x.pickle"
    doubled = b"".join(b"q%ch%c\x86" % (number, number) for number in range(45))
    path.write_bytes(b"\x80\x02}K\x01" + doubled + b"K\x01s.")
    with pytest.raises(UsageError, match="a key that is no plain value"):
        find_arrays(path)


def test_more_memory_than_the_file_warrants_is_a_sentence(tmp_path):
    path = tmp_path / "x.mat"
    rows = 800
    head = _element(6, struct.pack("<II", 6, 0)) + _element(5, struct.pack("<ii", rows, 125_000)) + _element(1, b"x")
    size = rows * 1_000_000
    pack = zlib.compressobj(1)
    parts = [pack.compress(struct.pack("<II", 14, len(head) + 8 + size) + head + struct.pack("<II", 9, size))]
    parts += [pack.compress(bytes(1_000_000)) for _ in range(rows)]
    packed = b"".join(parts) + pack.flush()
    start = b"MATLAB 5.0 MAT-file".ljust(116) + b"\0" * 8 + struct.pack("<H", 0x0100) + b"IM"
    path.write_bytes(start + struct.pack("<II", 15, len(packed)) + packed)
    assert path.stat().st_size < 5_000_000
    (failure,) = find_arrays(path).failures
    assert str(failure).startswith(f"{path} needs more than 1.0 GiB of memory to be read; ")


def slow(path: Path) -> None:
    """Never return, as a reader does that holds the interpreter."""
    while True:
        pass


def test_more_time_than_the_file_warrants_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    path = tmp_path / "x"
    path.write_bytes(b"x")
    with IsolatedReader(more_seconds=-29) as reader, pytest.raises(RunError) as caught:
        reader.call("test_isolated:slow", path)
    assert str(caught.value).startswith(f"{path} cannot be read: it takes more than 1 s of processor time; ")


def test_an_array_that_a_file_holds_a_million_times_is_handed_over_once(tmp_path):
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps([np.zeros((100, 50))] * 20_000))
    runs = find_arrays(path).runs
    assert len(runs) == 20_000
    assert len({run.load().__array_interface__["data"] for run in runs}) == 1


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "?"])
def test_arrays_come_back_as_stored(tmp_path, dtype):
    series = {f"s{number}": (SERIES[number:] > 3).astype(dtype) for number in range(3)}
    (tmp_path / "x.pickle").write_bytes(pickle.dumps(series))
    runs = find_arrays(tmp_path / "x.pickle").runs
    assert [run.key for run in runs] == ["s0", "s1", "s2"]
    for run in runs:
        assert run.load().dtype.kind == np.dtype(dtype).kind
        np.testing.assert_array_equal(run.load(), series[run.key])


def test_arrays_without_rows_are_a_sentence(tmp_path):
    (tmp_path / "x.pickle").write_bytes(pickle.dumps({"a": np.zeros((0, 5)), "b": SERIES}))
    runs = find_arrays(tmp_path / "x.pickle").runs
    assert [run.shape for run in runs] == [(0, 5), (8, 5)]
    assert runs[0].load().shape == (0, 5)


def test_nothing_is_imported_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pickle").write_bytes(pickle.dumps({"a": SERIES}))
    assert len(find_arrays(tmp_path / "x.pickle").runs) == 1
    assert not (tmp_path / "ran").exists()


def test_an_interrupt_ends_a_command_whatever_it_is_reading(tmp_path, monkeypatch):
    from helpers.started import (
        hear_ctrl_c,  # not at the top: the reader's process imports this file, and has no other path
    )

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    path = tmp_path / "x"
    path.write_bytes(b"x")
    code = (
        "from pathlib import Path; from bids_neurossm.cli.process.guard import guarded\n"
        "from bids_neurossm.roi_arrays.isolated import IsolatedReader\n"
        "def command():\n"
        f"    with IsolatedReader() as reader: reader.call('test_isolated:slow', Path({str(path)!r}))\n"
        "raise SystemExit(guarded(command))"
    )
    for number, expected in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        command = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c)
        threading.Timer(2, command.send_signal, [number]).start()
        began = time.monotonic()
        assert command.wait(30) == expected
        assert time.monotonic() - began < 7


def test_a_hundred_matlab_files_take_seconds(tmp_path):
    for number in range(100):
        savemat(tmp_path / f"{number:03d}.mat", {"x": SERIES})
    began = time.monotonic()
    assert len(find_arrays(tmp_path).runs) == 100
    assert time.monotonic() - began < 20
