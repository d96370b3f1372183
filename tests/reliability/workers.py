"""Workers that are killed, that hang, and that must keep within the memory they are given."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from nipype.interfaces.base import TraitedSpec, traits
from nipype.pipeline import engine as pe
from reliability.cohort import SPACE, write_atlas, write_dataset
from reliability.outcome import Row, row

from bids_neurossm.cli.workflow_engine import run_workflow
from bids_neurossm.config import Execution
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.records import Record
from bids_neurossm.workflows.worker_pool import start_server

PART = "workers"
CGROUP = Path("/sys/fs/cgroup/memory")


class TroubleInputSpec(RecordingInputSpec):
    """What kind of trouble."""

    kind = traits.Enum("none", "killed-once", "killed-always", "hung", mandatory=True)
    scratch = traits.Str(mandatory=True, desc="folder for marks")


class TroubleOutputSpec(TraitedSpec):
    """That it ended."""

    done = traits.Bool()


class Trouble(RecordingInterface):
    """A node that is killed or hangs, and marks in a folder when it was at work."""

    input_spec = TroubleInputSpec
    output_spec = TroubleOutputSpec

    def _work(self, cwd: Path) -> None:
        scratch, unit = Path(self.inputs.scratch), self.inputs.unit
        attempts = scratch / f"{unit}.attempts"
        with attempts.open("a") as stream:
            stream.write(f"{time.monotonic()} begin\n")
        if self.inputs.kind == "hung":
            time.sleep(3600)
        first = len(attempts.read_text().splitlines()) == 1
        if self.inputs.kind == "killed-always" or (self.inputs.kind == "killed-once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        with attempts.open("a") as stream:
            stream.write(f"{time.monotonic()} end\n")
        self._results["done"] = True


def rows(folder: Path, full: bool) -> list[Row]:
    """Lost workers, hung nodes, and memory."""
    found = [lost_and_hung(folder / str(number)) for number in range(10 if full else 1)]
    kinds = "a worker killed once, one killed each time, a node that hangs, beside four that are sound"
    result = [row(PART, kinds, [fault for each in found for fault in each], "the run ended each time")]
    if full:
        result += [planned_memory(folder / "planned"), cgroup_memory(folder / "cgroup")]
    return result


def run_nodes(folder: Path, kinds: Sequence[str], node_hours: float = 72.0, nprocs: int = 3) -> list[Record]:
    """Run nodes that get into trouble, with the scheduler of the real commands."""
    records, scratch = folder / "records", folder / "scratch"
    scratch.mkdir(parents=True)
    workflow = pe.Workflow("trouble", base_dir=str(folder / "work"))
    for index, kind in enumerate(kinds):
        interface = Trouble(kind=kind, unit=f"{kind}-{index}", records=str(records), scratch=str(scratch))
        workflow.add_nodes([pe.Node(interface, name=f"node{index}", mem_gb=0.1)])
    workflow.config["execution"]["poll_sleep_duration"] = "0.05"
    execution = Execution(nprocs=nprocs, node_hours=node_hours)
    return run_workflow(workflow, execution, records, lambda *_: None)


def lost_and_hung(folder: Path) -> list[list[str]]:
    """Give one case each: killed once, killed always, hung."""
    kinds = ("none", "killed-once", "none", "killed-always", "hung", "none", "none")
    start_server(("reliability.workers",))
    run_nodes(folder / "first", ("none",))  # the server imports for seconds, which are not the nodes'
    records = {each.unit: each.message for each in run_nodes(folder, kinds, node_hours=10 / 3600)}
    attempts = {path.stem: path.read_text().splitlines() for path in (folder / "scratch").glob("*.attempts")}
    sound = [f"{unit} failed: {text}" for unit, text in records.items() if unit.startswith("none")]
    once, always, hung = (f"{kind}-{kinds.index(kind)}" for kind in ("killed-once", "killed-always", "hung"))
    return [
        sound
        + [f"killed once, but {records.get(once)}"] * (once in records)
        + ["not tried twice"] * (len(attempts[once]) != 3)
        + _company(attempts, once),
        ["not named"] * ("tried alone" not in records.get(always, ""))
        + ["not tried twice"] * (len(attempts[always]) != 2)
        + _company(attempts, always),
        ["not named"] * ("--node-hours" not in records.get(hung, "")) + ["tried again"] * (len(attempts[hung]) != 1),
    ]


def _company(attempts: dict[str, list[str]], unit: str) -> list[str]:
    """Name those that were at work while a node was tried again."""
    again = [float(line.split()[0]) for line in attempts[unit] if line.endswith("begin")][-1]
    with_it = []
    for other, lines in attempts.items():
        times = [float(line.split()[0]) for line in lines]
        if other != unit and len(lines) == 2 and lines[1].endswith("end") and times[0] < again < times[1]:
            with_it.append(f"{other} was at work beside the second try")
    return with_it


def _command(folder: Path, out: str, *options: str) -> list[str]:
    atlas = next(folder.glob("*_dseg.nii.gz"))
    command = [str(folder / "fmriprep"), str(folder / out), "participant", "--space", SPACE, "--atlas", str(atlas)]
    return [sys.executable, "-P", "-m", "bids_neurossm", *command, "--nprocs", "4", *options]


def planned_memory(folder: Path) -> Row:
    """Measure what the workers of a command use together, with ``--mem-mb`` and without."""
    write_dataset(folder / "fmriprep", write_atlas(folder), 6)
    faults, figures = [], []
    for megabytes, expected in ((100000, 4), (900, 3), (450, 1)):
        at_once, used = _watched(_command(folder, f"out-{megabytes}", "--mem-mb", str(megabytes)), folder / "said")
        figures.append(f"--mem-mb {megabytes}: {at_once} at work at most, {used:.0f} MB in all their memory")
        told = [f"{at_once} nodes at work at once, {expected} fit"] * (at_once > expected)
        faults.append(told + [f"{used:.0f} MB with --mem-mb {megabytes}"] * (used > megabytes))
    return row(PART, "--mem-mb bounds how many nodes of 300 to 400 MB are at work", faults, "; ".join(figures))


def _watched(command: Sequence[str], said: Path) -> tuple[int, float]:
    """Run a command; give the most of its workers that used the processor at once, and the memory they share not."""
    most, used = 0, 0.0
    with said.open("wb") as stream:
        child = subprocess.Popen(command, stdout=stream, stderr=stream)
    while child.poll() is None:
        with contextlib.suppress(psutil.Error):
            family = psutil.Process(child.pid).children(recursive=True)
            workers = [each for each in family if _begun_by(each, "forkserver")]
            most = max(most, len(workers))
            used = max(used, sum(each.memory_full_info().pss for each in workers) / 1e6)
        time.sleep(0.05)
    assert child.returncode == 0, said.read_text(encoding="utf-8")
    return most, used


def _begun_by(process: psutil.Process, name: str) -> bool:
    """Tell whether a process is a worker: the child of a fork server."""
    parent = process.parent()
    return parent is not None and name in " ".join(parent.cmdline())


@contextlib.contextmanager
def limited(megabytes: int) -> Iterator[Callable[[], None]]:
    """Make a cgroup with that much memory; what is given joins it."""
    group = CGROUP / f"reliability-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(megabytes * 1_000_000))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.2)


def cgroup_memory(folder: Path) -> Row:
    """Let the kernel kill for want of memory: the command ends, names what was killed, and does the rest later."""
    what = "a command in a cgroup: enough memory, too little for two workers, too little for one"
    if os.geteuid() != 0 or not os.access(CGROUP, os.W_OK):
        return row(PART, f"{what}: not tried, which needs root and cgroup v1", [])
    write_dataset(folder / "fmriprep", write_atlas(folder), 3)
    faults: list[list[str]] = []
    figures: list[str] = []
    for megabytes, allowed in ((700, (0,)), (330, (0, 1, -9)), (230, (1, 0, -9))):
        said = folder / f"said-{megabytes}"
        with limited(megabytes) as join, said.open("wb") as stream:
            child = subprocess.Popen(
                _command(folder, f"out-{megabytes}"), stdout=stream, stderr=stream, preexec_fn=join
            )
            try:
                code: Any = child.wait(240)
            except subprocess.TimeoutExpired:
                child.kill()
                code = "none, it hung"
        text = said.read_text(encoding="utf-8", errors="replace")
        figures.append(f"{megabytes} MB: exit {code}")
        faults.append(
            [f"exit code {code}: {text[-300:]}"] * (code not in allowed) + ["traceback"] * ("Traceback" in text)
        )
    return row(PART, what, faults, "; ".join(figures))
