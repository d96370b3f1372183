"""Commands whose output is closed, full or cut off, and whose input has names that terminals cannot show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.errors import UsageError

COMMAND = f"{sys.executable} -m bids_neurossm"
IMPORT = f"{sys.executable} -m bids_neurossm.cli.import_series"
OPTIONS = "--task rest --orientation time-roi --tr 2"


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, check=False, timeout=120)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", **{f"s{number}": rng.normal(size=(30, 4)) for number in range(3)})
    return tmp_path


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/null", "2> /dev/full"])
def test_work_is_done_whatever_becomes_of_the_output(series: Path, redirection: str) -> None:
    done = shell(f"{IMPORT} a.npz out {OPTIONS} {redirection}", series)
    assert done.returncode == 0, done.stderr
    assert len(list((series / "out").rglob("*_timeseries.tsv"))) == 3
    assert b"Traceback" not in done.stderr


def test_a_full_disk_of_standard_output_is_told(series: Path) -> None:
    done = shell(f"{IMPORT} a.npz out {OPTIONS} > /dev/full", series)
    assert done.returncode == 5
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("command", [f"{COMMAND} --help", f"{IMPORT} --help"])
def test_help_can_be_cut_off(tmp_path: Path, command: str) -> None:
    done = shell(f"{command} | head -c 1; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 0
    assert done.stderr == b""


def test_a_command_whose_output_is_cut_off_ends_quietly(series: Path) -> None:
    done = shell(f"{IMPORT} a.npz out {OPTIONS} | true; exit ${{PIPESTATUS[0]}}", series)
    assert done.returncode == 130
    assert done.stderr == b""


def test_paths_that_are_not_utf_8_are_read_written_and_shown(series: Path) -> None:
    source, target = os.fsencode(series) + b"/s\xff", os.fsencode(series) + b"/out\xfe"
    Path(os.fsdecode(source)).mkdir()
    (series / "a.npz").rename(os.fsdecode(source + b"/a\xff.npz"))
    command = [os.fsencode(part) for part in (*IMPORT.split(), source, target, *OPTIONS.split())]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"out\\udcfe" in done.stdout
    assert len(list(Path(os.fsdecode(target)).rglob("*_timeseries.tsv"))) == 3


def test_control_characters_of_a_table_do_not_reach_the_terminal(series: Path) -> None:
    (series / "p.tsv").write_text("participant_id\tdx\n\x1b[31ms0\u202e\tA\n\x1b[31ms9\tB\n")
    done = shell(f"{IMPORT} a.npz out {OPTIONS} --participants p.tsv", series)
    said = done.stdout + done.stderr
    assert b"\x1b" not in said
    assert "\u202e".encode() not in said


def test_identifiers_of_thousands_of_characters_are_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"s" * 5000: np.ones((30, 4))})
    done = shell(f"{IMPORT} a.npz out {OPTIONS}", tmp_path)
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert len(done.stderr + done.stdout) < 10_000


def test_arrays_without_rows_are_a_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", s1=np.zeros((0, 4)))
    done = shell(f"{IMPORT} a.npz out {OPTIONS}", tmp_path)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


def test_two_columns_of_one_name_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,x\n1,2\n3,4\n")
    done = shell(f"{IMPORT} a.csv out {OPTIONS}", tmp_path)
    assert done.returncode == 1
    assert b"has two columns called 'x'" in done.stdout + done.stderr


@pytest.mark.parametrize("option", ["", "--participants", "--regions", "--atlas"])
def test_pipes_are_refused_with_the_remedy(series: Path, option: str) -> None:
    os.mkfifo(series / "pipe.nii.gz")
    done = shell(f"{IMPORT} {f'a.npz out {OPTIONS} {option}' if option else f'{OPTIONS} --desc x'} pipe.nii.gz"
                 f"{'' if option else ' out'}", series)  # fmt: skip
    assert done.returncode == (4 if option == "--atlas" else 2)
    assert b"pipe.nii.gz is a pipe, not a file; save it to a file first." in done.stderr


def test_a_dataset_whose_path_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UsageError, match="is not UTF-8 text, which PyBIDS and Nipype need"):
        parse_config([os.fsdecode(b"ds\xff"), "out", "participant"])


def test_a_file_whose_name_is_not_utf_8_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "func"
    folder.mkdir(parents=True)
    (folder / os.fsdecode(b"sub-01_task-\xff_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")).write_bytes(b"x")
    (tmp_path / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    with pytest.raises(UsageError, match="has a name that is not UTF-8 text; rename it"):
        find_bold_runs(tmp_path, Selection())
