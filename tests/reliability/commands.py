"""Commands as processes of their own, which begin where the imports have ended.

Starting Python and importing takes most of the time of a small command. These are forked from a process that has
imported everything, and then are what a user starts: `bids_neurossm.cli.run.main` with arguments, an exit code, and
what was said in a file. Only the figures of their reports are left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, util
from pathlib import Path
from typing import IO, Any

#: Where a training goes on after a kill; hidden, and removed when the model is there.
STATE = ".state"

#: What differs between two runs of one command by its nature: when it was run, by which command line.
OWN_TO_A_RUN = ("logs/",)


@dataclass
class Child:
    """A command in a process of its own, the leader of its process group."""

    pid: int
    output: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Exit code, negative for a signal, None while it runs."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def wait(self, timeout: float = 300) -> int:
        """Wait for the exit code; a command that does not end is killed, and that is an error."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                self.kill(signal.SIGKILL, group=True)
                raise TimeoutError(f"the command hung for {timeout} s; it said: {self.said()}")
            time.sleep(0.005)
        assert self.code is not None
        return self.code

    def kill(self, number: int, group: bool = False) -> None:
        """Send a signal to the process, or to all that it has started too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def said(self) -> str:
        """What it printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")


_NO_MAPS: dict[str, Any] = {"coverage_maps": []}


def _save_blank(self: Any, stream: IO[bytes], **_: Any) -> None:
    stream.write(b"<svg></svg>")


def fresh(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, and return what it returns, an iterator as a list.

    A process that has trained a model has threads that its forked children lack, and one of them may wait for ever.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_called, function, arguments).result()


def _called(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    found = function(*arguments)
    return list(found) if isinstance(found, Iterator) else found


def start(arguments: Sequence[str | Path], output: Path, tell_modules: Path | None = None) -> Child:
    """Start ``bids-neurossm`` with arguments.

    Parameters
    ----------
    arguments : sequence of str or Path
        The command line.
    output : Path
        File for what it prints.
    tell_modules : Path, optional
        File for the names of all modules that it has imported in the end.

    Returns
    -------
    Child
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # the child does it too: whoever comes first
            os.setpgid(pid, pid)
        return Child(pid, output)
    code = 70
    try:
        os.setpgid(0, 0)
        # The one who forks may be in the middle of handling these itself.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stream = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(stream, number)
        sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        from matplotlib.figure import Figure

        import bids_neurossm.reports.participant as report
        from bids_neurossm.cli.run import main

        # Drawing takes nine tenths of the time of a small command, and writes nothing.
        Figure.savefig = _save_blank
        for name in (
            "workflow",
            "interface",
            "utils",
        ):  # as a command's own settings have it (cli/process/environment.py)
            logging.getLogger(f"nipype.{name}").setLevel(logging.CRITICAL)
        report._carpet = lambda *_: None
        report._connectivity = lambda *_: []
        report._coverage = lambda *_: dict.fromkeys(("coverage", "covered_share", "region_table"), None) | _NO_MAPS
        code = main([str(each) for each in arguments])
        if tell_modules is not None:
            tell_modules.write_text("\n".join(sorted(sys.modules)), encoding="utf-8")
    except KeyboardInterrupt:  # before the command could take care of it
        code = 130
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 70
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
            util._run_finalizers()  # type: ignore[attr-defined] # its folder for sockets
        os._exit(code)


def preload(arguments: Sequence[str | Path], output: Path) -> None:
    """Run a command once, and import here what it imported, for all that are forked later."""
    modules = output.with_suffix(".modules")
    child = start(arguments, output, modules)
    if child.wait() != 0:
        raise AssertionError(f"the command that all others are like failed: {child.said()}")
    for name in modules.read_text(encoding="utf-8").split():
        if name != "__main__":
            with contextlib.suppress(Exception):  # a few are made at run time and can not be imported
                importlib.import_module(name)


def run(arguments: Sequence[str | Path], output: Path, timeout: float = 300) -> Child:
    """Run a command to its end."""
    child = start(arguments, output)
    child.wait(timeout)
    return child


def content(folder: Path, without: Sequence[str] = OWN_TO_A_RUN) -> dict[str, str]:
    """Hash every file of a dataset that has its final name.

    Parameters
    ----------
    folder : Path
        The dataset.
    without : sequence of str
        Beginnings of names that are left out.

    Returns
    -------
    dict of str to str
        Name to SHA-256.
    """
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not is_temporary(path)
        and not (name := str(path.relative_to(folder))).startswith(tuple(without))
    }


def is_temporary(path: Path) -> bool:
    """Tell whether a file is one that was never given its final name."""
    return path.name.startswith(".") and path.name.endswith((".tmp", STATE))


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Name the files that are missing, too many or different."""
    names = sorted(set(found) | set(expected))
    return [name for name in names if found.get(name) != expected.get(name)]


@contextlib.contextmanager
def all_of(children: list[Child]) -> Iterator[list[Child]]:
    """Leave no process behind, whatever happens."""
    try:
        yield children
    finally:
        for child in children:
            if child.code is None:
                child.kill(signal.SIGKILL, group=True)
                with contextlib.suppress(ChildProcessError):
                    child.code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
