"""Disks that are full, and places that can not be written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from reliability.commands import content, differences, preload, run
from reliability.kills import Cohort, into, left_behind, participant_command
from reliability.outcome import Row, row

PART = "disks"


def rows(folder: Path, full: bool) -> list[Row]:
    """Full disks at both levels, and read-only targets."""
    cohort = Cohort(folder, 3)
    command = participant_command(cohort)
    preload(into(command, folder / "first"), folder / "said")
    found = [read_only(folder / "read-only", command)]
    if os.geteuid() != 0:
        return [*found, row(PART, "full disks: not tried, which needs root for a small tmpfs", [])]
    found.append(full_disk("participant commands", folder / "participant", command, None, 6 if full else 2))
    if full:
        cohort.extract(folder / "series")
        found.append(full_disk("group commands", folder / "group", cohort.group(), folder / "series", 6))
    return found


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a tmpfs of that size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(what: str, folder: Path, command: Sequence[str | Path], begin: Path | None, n: int) -> Row:
    """Give a command disks that are full after each n-th of what it writes.

    Exit 5, one sentence, what is there is whole; with more room the same command goes on to the same result.
    """
    with small_disk(folder, 100_000) as disk:
        faults_before, expected, before, after = _with_room(disk, command, begin, folder.parent)
    assert not faults_before, faults_before
    faults = []
    there = content(begin) if begin is not None else {}
    for number in range(n):
        # From a disk that is full at once to one on which the last file does not fit.
        kilobytes = before + 4 + round((after - before - 44) * number / max(n - 1, 1))
        with small_disk(folder, kilobytes) as disk:
            out = _new(disk / "out", begin)
            done = run(into(command, out), folder.parent / "said", timeout=300)
            said = done.said()
            told = [] if done.code == 5 else [f"exit code {done.code} with {kilobytes} kB: {said[-500:]}"]
            told += ["a traceback"] * ("Traceback" in said)
            told += ["the place is not named"] * (str(out) not in said)
            told += [
                f"{name} is partial"
                for name, value in content(out).items()
                if value not in {expected.get(name), there.get(name)}
            ]
            told += left_behind(out)
            subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
            again = run(into(command, out), folder.parent / "said", timeout=300)
            told += [f"exit code {again.code} with more room: {again.said()[-300:]}"] * (again.code != 0)
            told += [f"{name} differs" for name in differences(content(out), expected)]
        faults.append(told)
    return row(PART, f"{what} on disks that fill up at one point after the other", faults, "exit 5 each time")


def _with_room(
    disk: Path, command: Sequence[str | Path], begin: Path | None, folder: Path
) -> tuple[list[str], dict[str, str], int, int]:
    out = _new(disk / "out", begin)
    before = _used(disk)
    done = run(into(command, out), folder / "said", timeout=300)
    return [done.said()] if done.code else [], content(out), before, _used(disk)


def _new(out: Path, begin: Path | None) -> Path:
    out.mkdir() if begin is None else shutil.copytree(begin, out)
    return out


def _used(disk: Path) -> int:
    facts = os.statvfs(disk)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize // 1000


def read_only(folder: Path, command: Sequence[str | Path]) -> Row:
    """Name places that can not be written; the command must say so within a second."""
    folder.mkdir()
    (folder / "file").write_text("x")
    places = [("OUT_DIR below a file", folder / "file" / "out", None), ("-w below a file", None, folder / "file" / "w")]
    if os.geteuid() == 0:
        places += [("OUT_DIR in /proc", Path("/proc/out"), None), ("-w in /sys", None, Path("/sys/work"))]
    faults = [_unwritable(what, folder, command, out, work) for what, out, work in places]
    if os.geteuid() == 0:
        disk = folder / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk)], check=True)
        for name in ("sub-001", "logs", "there"):
            (disk / name).mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        try:
            faults.append(_unwritable("OUT_DIR on a read-only disk", folder, command, disk / "out", None))
            faults.append(_unwritable("OUT_DIR there, on a read-only disk", folder, command, disk / "there", None))
            faults.append(_unwritable("-w on a read-only disk", folder, command, None, disk / "work"))
            for name in ("sub-001", "logs"):
                linked = folder / f"out-{name}"
                linked.mkdir()
                (linked / name).symlink_to(disk / name)
                faults.append(_unwritable(f"{name} in OUT_DIR can not be written", folder, command, linked, None))
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return row(PART, "targets that can not be written, found before a second of work", faults)


def _unwritable(
    what: str, folder: Path, command: Sequence[str | Path], out: Path | None, work: Path | None
) -> list[str]:
    place = out or work
    arguments = into(command, out or folder / "out")
    arguments[arguments.index("-w") + 1] = work or folder / "work"
    began = time.process_time()
    child_before = os.times().children_user
    done = run(arguments, folder / "said", timeout=60)
    seconds = os.times().children_user - child_before + time.process_time() - began
    said = done.said()
    told = [] if done.code == 5 else [f"{what}: exit code {done.code}: {said[-300:]}"]
    told += [f"{what}: {place} is not named in {said!r}"] * (str(place) not in said)
    told += [f"{what}: only after {seconds:.1f} s"] * (seconds > 1)
    return told
