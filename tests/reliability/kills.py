"""Commands are killed at random moments; what is there afterwards is whole, and running them again completes it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
from reliability.cohort import SPACE, write_atlas, write_dataset, write_plugin, write_recipe
from reliability.commands import STATE, all_of, content, differences, is_temporary, preload, run, start
from reliability.outcome import Row, row

from bids_neurossm.analysis.cells import Cell

PART = "kills"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: What a command that was told to end may say: that it was, or that it had been done already.
CODES = {
    signal.SIGKILL: (0, -signal.SIGKILL),
    signal.SIGTERM: (0, 143, -signal.SIGTERM),
    signal.SIGINT: (0, 130, -signal.SIGINT),
}
#: Kills in a row before a command is let to its end.
_IN_A_ROW = 2


def rows(folder: Path, full: bool) -> list[Row]:
    """Kills of participant commands that stay in one process."""
    cohort = Cohort(folder, 1)
    inline = participant_command(cohort)
    preload(into(inline, folder / "first"), folder / "said")
    return [killed("participant commands", folder / "participant", inline, None, 60 if full else 3)]


class Cohort:
    """A dataset and the commands on it."""

    def __init__(self, folder: Path, n_participants: int) -> None:
        self.folder = folder
        self.atlas, self.plugin = write_atlas(folder), write_plugin(folder)
        self.recipe = write_recipe(folder)
        self.dataset = write_dataset(folder / "fmriprep", self.atlas, n_participants, ("nback", "flanker"))

    def extract(self, out: Path) -> None:
        """Write the series that the group level reads."""
        for path in sorted(self.dataset.glob("sub-*")):
            options = ["--space", SPACE, "--atlas", self.atlas, "--participant-label", path.name]
            done = run([self.dataset, out, "participant", *options, "--use-plugin", self.plugin], self.folder / "said")
            assert done.code == 0, done.said()
        shutil.rmtree(out / "logs")

    def group(self) -> list[str | Path]:
        """Name a command of the group level; it is small, but has all of the steps that write."""
        options = ["--target", "entity:task", "--recipe", self.recipe, "--folds", "2", "--baselines", "none"]
        options += ["--reference", "none", "--analysis-id", "tiny", "--no-cpa", "--use-plugin", self.plugin]
        return [self.dataset, "OUT", "group", *options, "-w", self.folder / "work"]


def participant_command(cohort: Cohort) -> list[str | Path]:
    """Name a command on both runs of one participant, which stays in one process."""
    options = ["--space", SPACE, "--atlas", cohort.atlas, "--participant-label", "001"]
    options += ["-w", cohort.folder / "work", "--use-plugin", cohort.plugin]
    return [cohort.dataset, "OUT", "participant", *options]


def into(command: Sequence[str | Path], out: Path) -> list[str | Path]:
    """Give a command its output dataset."""
    return [out if each == "OUT" else each for each in command]


def killed(
    what: str,
    folder: Path,
    command: Sequence[str | Path],
    begin: Path | None,
    n: int,
    again: Sequence[str | Path] | None = None,
) -> Row:
    """Kill a command at random moments, look at what it left, and run it again.

    Parameters
    ----------
    what : str
        For the table.
    folder : Path
        For scratch.
    command : sequence
        With ``OUT`` where the output dataset stands.
    begin : Path or None
        Content that each output dataset begins with.
    n : int
        Kills.
    again : sequence, optional
        `command` without its ``--overwrite``: after every second round of kills it goes on with what was begun. Where
        it ends with 2, nothing had begun, and `command` is run. After the other rounds `command` itself is run again.
    """
    folder.mkdir()
    chance = random.Random(n)
    expected, seconds = _undisturbed(folder, command, begin)
    gone_on = expected if again is None else _undisturbed(folder, again, begin, command)[0]
    before = content(begin) if begin is not None else {}
    faults: list[list[str]] = []
    by_signal = dict.fromkeys(SIGNALS, 0)
    during = 0
    while len(faults) < n:
        out = _new_out(folder / "out", begin)
        finished: dict[str, int] = {}
        for place in range(_IN_A_ROW):
            number = SIGNALS[len(faults) % len(SIGNALS)]
            there, began = set(left_behind(out)), time.monotonic()  # SIGKILL may have left something
            code, said = _kill_at(into(command, out), folder, chance.uniform(0, seconds), number)
            if code == 0 and place == 0:  # it had all to do, and has ended before it was to be killed
                seconds = min(seconds, time.monotonic() - began)
            by_signal[number] += 1
            during += code != 0
            told = [] if code in CODES[number] else [f"exit code {code} after {signal.Signals(number).name}: {said}"]
            told += partial(out, expected, before, gone_on) + _redone(out, finished) + false_records(out)
            told += sorted(set(left_behind(out)) - there) if number != signal.SIGKILL else []
            # What `command` makes again in any case, --overwrite, is not finished work.
            finished = {} if "--overwrite" in command else _finished(out, expected)
            faults.append(told)
        goes_on = again is not None and len(faults) // _IN_A_ROW % 2 == 1
        this, in_the_end = (again, gone_on) if again is not None and goes_on else (command, expected)
        finished = _finished(out, expected) if "--overwrite" not in this else {}
        began = time.monotonic()
        done = run(into(this, out), folder / "said", timeout=600)
        if goes_on and done.code == 2:
            done, finished, in_the_end = run(into(command, out), folder / "said", timeout=600), {}, expected
        seconds = 0.7 * seconds + 0.3 * (time.monotonic() - began)  # other work on the machine comes and goes
        told = (
            [] if done.code == 0 else [f"the command that was run again ended with {done.code}: {done.said()[-500:]}"]
        )
        told += [f"{name} differs from an undisturbed run" for name in differences(content(out), in_the_end)]
        faults[-1] += told + _redone(out, finished)
        shutil.rmtree(out)
        shutil.rmtree(folder.parent / "work", ignore_errors=True)
    kinds = ", ".join(f"{count} {signal.Signals(number).name}" for number, count in by_signal.items())
    return row(PART, what, faults, f"{kinds}; {during} hit the command at work, the others after its end")


def _undisturbed(
    folder: Path, command: Sequence[str | Path], begin: Path | None, earlier: Sequence[str | Path] | None = None
) -> tuple[dict[str, str], float]:
    """Run a command twice, the second time after an earlier one; say what it leaves, and how long it takes."""
    out = _new_out(folder / "out", begin)
    run(into(command, out), folder / "said", timeout=600)
    shutil.rmtree(out)
    _new_out(out, begin)
    if earlier is not None:
        run(into(earlier, out), folder / "said", timeout=600)
    began = time.monotonic()
    done = run(into(command, out), folder / "said", timeout=600)
    assert done.code == 0, done.said()
    seconds, expected = time.monotonic() - began, content(out)
    shutil.rmtree(out)  # what is compared has the same path: reports name it
    return expected, seconds


def _new_out(out: Path, begin: Path | None) -> Path:
    if begin is not None:
        shutil.copytree(begin, out)
    return out


def _kill_at(command: Sequence[str | Path], folder: Path, moment: float, number: int) -> tuple[int, str]:
    with all_of([start(command, folder / "said")]) as (child,):
        end = time.monotonic() + moment
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        if child.code is None:
            child.kill(number)
        return child.wait(60), child.said()[-300:]


def partial(out: Path, *allowed: dict[str, str]) -> list[str]:
    """Name files that have their final name, but neither their final content nor that from before the command."""
    return [f"{name} is partial" for name, value in content(out).items() if value not in {a.get(name) for a in allowed}]


def left_behind(out: Path) -> list[str]:
    """Name the temporary files that a command left; where a training goes on is none of them."""
    left = [path.name for path in out.rglob("*") if is_temporary(path)]
    return [f"{name} was left behind" for name in left if not name.endswith(STATE)]


def _finished(out: Path, expected: dict[str, str]) -> dict[str, int]:
    """Inodes of what need not be done again: sidecars of series, and cells, as an undisturbed run leaves them.

    A file that is written again is a new file under the old name.
    """
    found = content(out)
    paths = [*out.rglob("*_timeseries.json"), *out.rglob("cells/*.npz")]
    named = {str(path.relative_to(out)): path for path in paths if not path.name.startswith(".")}
    return {name: path.stat().st_ino for name, path in named.items() if found[name] == expected.get(name)}


def _redone(out: Path, finished: dict[str, int]) -> list[str]:
    return [f"{name} was done again" for name, inode in finished.items() if _inode(out / name) != inode]


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.is_file() else None


def false_records(out: Path) -> list[str]:
    """Name sidecars and cells that state hashes which are not those of the files next to them."""
    stated: dict[Path, str] = {}
    for path in out.rglob("*_timeseries.json"):
        hashes = json.loads(path.read_text(encoding="utf-8")).get("OutputHashes", {})
        stated |= {path.parent / name: value for name, value in hashes.items()}
    for path in out.rglob("cells/[!.]*.npz"):
        stated |= {path.parents[1] / name: value for name, value in Cell.load(path).files.items()}
    return [f"a record states another hash of {path.name}" for path, value in stated.items() if _hash(path) != value]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def killed_with_workers(folder: Path, command: Sequence[str | Path], n: int) -> Row:
    """Kill a command as a user starts it, alone, so that its fork server and workers lose their parent."""
    folder.mkdir()
    chance = random.Random(n)
    expected, seconds = _undisturbed_process(folder, command)
    faults = []
    for index in range(n):
        number, out = SIGNALS[index % len(SIGNALS)], folder / "out"
        child = _process(into(command, out), folder)
        time.sleep(chance.uniform(0, seconds))
        family = _family(child.pid)
        child.send_signal(number)
        code = child.wait(60)
        _, alive = psutil.wait_procs(family, timeout=30)
        told = [f"{each.pid} outlived its command" for each in alive]
        told += [] if code in CODES[number] else [f"exit code {code}"]
        told += partial(out, expected)
        finished = _finished(out, expected)
        again = _process(into(command, out), folder).wait(600)
        told += [f"exit code {again} of the command that was run again"] * (again != 0)
        told += [f"{name} differs" for name in differences(content(out), expected)] + _redone(out, finished)
        faults.append(told)
    return row(
        PART, "participant commands with workers, in processes of their own", faults, "no process outlived its command"
    )


def _process(command: Sequence[str | Path], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "said").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "bids_neurossm", *map(str, command)], stdout=said, stderr=said
        )


def _undisturbed_process(folder: Path, command: Sequence[str | Path]) -> tuple[dict[str, str], float]:
    began = time.monotonic()
    out = folder / "out"
    assert _process(into(command, out), folder).wait(600) == 0
    seconds, expected = time.monotonic() - began, content(out)
    shutil.rmtree(out)
    return expected, seconds


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
