"""What a command imports and keeps before its work begins."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.cli.run import _preload


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for label in ("01", "02"):
        (tmp_path / "fmriprep" / f"sub-{label}").mkdir(parents=True)
    (tmp_path / "fmriprep" / "sub-01.html").touch()
    return tmp_path / "fmriprep"


@pytest.mark.parametrize(
    ("options", "shared"),
    [
        (("--nprocs", "2"), True),
        (("--nprocs", "1"), False),
        (("--nprocs", "2", "--participant-label", "01"), False),
        (("--nprocs", "2", "--participant-label", "01", "02"), True),
    ],
)
def test_only_several_workers_share_what_their_server_imports(
    dataset: Path, options: tuple[str, ...], shared: bool
) -> None:
    modules = _preload(parse_config([str(dataset), str(dataset.parent / "out"), "participant", *options]))
    assert "bids_neurossm.interfaces.participant" in modules
    assert ("nilearn.signal" in modules) is shared


def test_a_killed_search_for_runs_is_told_in_a_sentence(
    dataset: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """The process that asks PyBIDS dies in the middle of it."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import importlib.abc, os, signal, sys\n"
        "class Hook(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'bids.layout':\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.meta_path.insert(0, Hook())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "bids_neurossm", str(dataset), str(tmp_path / "out"), "participant", "--nprocs", "1"],
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert f"looked for runs in {dataset} was killed from outside" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_that_a_library_swallows_ends_the_command_all_the_same(
    number: int, code: int, word: str, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    # A shell that starts the tests in the background has them ignore SIGINT.
    before = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    outside = signal.signal(number, before)
    request.addfinalizer(lambda: signal.signal(number, outside))

    def command() -> int:
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), number)
            time.sleep(1)
        raise AttributeError("what was to be made is None")

    assert guarded(command) == code
    assert word in capsys.readouterr().err
    assert signal.getsignal(number) is before
