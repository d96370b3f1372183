"""Ctrl-C, SIGTERM and SIGHUP end every command within 5 seconds, whatever it is reading, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.started import Start, Started

#: Replaces a function by a call into C code that does not come back for hours, wherever it is called.
_HOOK = """
import hashlib, importlib.abc, importlib.machinery, os, sys
from pathlib import Path
MODULE, _, NAME = os.environ["HANGS"].partition(":")
def hang(*_, **__):
    Path(os.environ["REACHED"]).touch()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            setattr(module, NAME, hang)
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""

_ANALYSIS = [
    "--target",
    "entity:task",
    "--recipe",
    "demo",
    "--folds",
    "4",
    "--baselines",
    "none",
    "--reference",
    "none",
    "--no-cpa",
]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Give a folder for temporary files whose path is short enough for sockets, wherever the tests run."""
    with tempfile.TemporaryDirectory(prefix="s-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def hanging(start: Start, tmp_path: Path, temporary: Path) -> Start:
    """Start a command that hangs in C code as soon as it calls a function, and wait until it does."""

    def begin(function: str, *arguments: str | Path, module: str = "bids_neurossm") -> Started:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(_HOOK)
        places = {"PYTHONPATH": str(tmp_path / "site"), "TMPDIR": str(temporary)}
        reached = tmp_path / "reached"
        command = start(module, *arguments, HANGS=function, REACHED=str(reached), **places)
        end = time.monotonic() + 120
        while not reached.exists():
            assert command.process.poll() is None, command.process.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.02)
        return command

    return begin


@pytest.mark.parametrize(
    ("level", "function"),
    [("participant", "bids_neurossm.signal.stream:volumes"), ("group", "bids_neurossm.training.fit:fit")],
)
def test_ctrl_c_in_a_terminal_reaches_all_processes_and_prints_one_sentence(
    level: str, function: str, hanging: Start, simulated: Path, participant_results: Path, tmp_path: Path
) -> None:
    arguments = (
        [simulated, tmp_path / "out", level, "--atlas", "HarvardOxford"]
        if level == "participant"
        else [participant_results, tmp_path / "out", level, "-d", f"raw={simulated}", *_ANALYSIS]
    )
    command = hanging(function, *arguments)
    os.killpg(command.process.pid, signal.SIGINT)
    code, said, _ = command.end()
    assert code == 130
    assert "Traceback" not in said
    assert "killed from outside" not in said
    assert said.splitlines()[-1].startswith("bids-neurossm: interrupted; finished work is kept")


def ended(command: Started, number: int) -> tuple[int, list[str], float]:
    """Send a signal; give the exit code, what is left of the command, and how many seconds it took."""
    began = time.monotonic()
    os.kill(command.process.pid, number)
    code, said, left = command.end()
    seconds = time.monotonic() - began
    assert "Traceback" not in said
    while left and time.monotonic() < began + 5:  # the kernel may take a moment for what was killed
        left = command.alive()
    return code, left, seconds


@pytest.mark.parametrize(
    ("number", "level", "options", "function"),
    [
        (signal.SIGTERM, "participant", [], "bids_neurossm.dataset.query:index_runs"),
        (signal.SIGINT, "participant", ["Linear"], "bids_neurossm.dataset.query:index_runs"),
        (signal.SIGTERM, "participant", ["--check"], "bids_neurossm.atlas.catalogue:read_label_image"),
        (signal.SIGINT, "participant", [], "bids_neurossm.atlas.catalogue:read_label_image"),
        (signal.SIGTERM, "participant", [], "bids_neurossm.files.safe_reading:read_content"),
        (signal.SIGINT, "participant", [], "bids_neurossm.signal.stream:volumes"),
        (signal.SIGTERM, "participant", ["Linear"], "bids_neurossm.signal.stream:volumes"),
        (signal.SIGHUP, "group", [], "bids_neurossm.files.tables:read_delimited"),
        (signal.SIGINT, "group", ["--dry-run"], "bids_neurossm.files.tables:read_delimited"),
        (signal.SIGTERM, "group", [], "bids_neurossm.files.toml_files:read_toml"),
        (signal.SIGINT, "group", [], "bids_neurossm.training.fit:fit"),
        (signal.SIGTERM, "group", ["Linear"], "bids_neurossm.training.fit:fit"),
    ],
)
def test_a_level_ends_while_a_library_does_not_come_back(
    number: int,
    level: str,
    options: list[str],
    function: str,
    hanging: Start,
    simulated: Path,
    participant_results: Path,
    tmp_path: Path,
    temporary: Path,
) -> None:
    plugin = tmp_path / "linear.yml"
    plugin.write_text("plugin: Linear\n")
    given = [word for option in options for word in (["--use-plugin", plugin] if option == "Linear" else [option])]
    arguments = (
        [simulated, tmp_path / "out", level, "--atlas", "HarvardOxford", *given]
        if level == "participant"
        else [participant_results, tmp_path / "out", level, "-d", f"raw={simulated}", *_ANALYSIS, *given]
    )
    code, left, seconds = ended(hanging(function, *arguments), number)
    assert code == 128 + number
    assert left == []
    assert seconds < 5
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "function", "arguments"),
    [
        ("bids_neurossm", "bids_neurossm.cli.fetch:_fetch", ["--fetch-resources", "{folder}"]),
        (
            "bids_neurossm.cli.demo",
            "bids_neurossm.files.safe_reading:read_content",
            ["{folder}", "--participants", "5"],
        ),
        ("bids_neurossm.cli.import_series", "bids_neurossm.roi_arrays.plan:plan_import", ["{folder}", "{folder}/out"]),
    ],
)
def test_other_commands_end_while_a_library_does_not_come_back(
    module: str, function: str, arguments: list[str], hanging: Start, tmp_path: Path, temporary: Path
) -> None:
    places = [each.replace("{folder}", str(tmp_path / "folder")) for each in arguments]
    code, left, seconds = ended(hanging(function, *places, module=module), signal.SIGTERM)
    assert code == 143
    assert left == []
    assert seconds < 5
    assert list(temporary.iterdir()) == []


_SCRIPT = """
import sys, tempfile, time
from bids_neurossm.cli.process.guard import guarded
def command():
    with tempfile.TemporaryDirectory():
        {body}
    return 0
sys.exit(guarded(command))
"""


def script(body: str, folder: Path, numbers: list[int]) -> tuple[int, str, float]:
    """Run a command that prints a line when it is ready; send signals; give exit code, output and seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT.format(body=body.replace("\n", "\n        "))],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.5)  # it goes on from the line that prints this
    began = time.monotonic()
    for number in numbers:
        os.kill(process.pid, number)
        time.sleep(0.3)
    process.wait(60)
    return process.returncode, process.stdout.read(), time.monotonic() - began


def test_a_library_that_swallows_every_signal_is_ended(tmp_path: Path) -> None:
    body = "print('ready', flush=True)\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass"
    code, said, seconds = script(body, tmp_path, [signal.SIGTERM])
    assert code == 143
    assert said == "bids-neurossm: terminated; finished work is kept; rerun the same command to resume.\n"
    assert 4 <= seconds < 5
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_interrupt_the_clean_up(tmp_path: Path) -> None:
    body = "print('ready', flush=True)\ntry: time.sleep(60)\nfinally: time.sleep(1); print('clean', flush=True)"
    code, said, seconds = script(body, tmp_path, [signal.SIGTERM, signal.SIGTERM, signal.SIGHUP])
    assert code == 143
    assert said.splitlines()[0] == "clean"
    assert seconds < 4
    assert list(tmp_path.iterdir()) == []


def test_workers_do_not_hear_ctrl_c() -> None:
    code = (
        "import signal\n"
        "from bids_neurossm.cli.process.child_processes import worker_pool\n"
        "with worker_pool(1) as pool: print(pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result())\n"
        "print(signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [f"{{{signal.SIGINT!r}}}", "set()"]
