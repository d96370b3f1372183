"""The same command gives the same bytes, with however many workers, and after it was stopped."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from reliability.commands import content, differences
from reliability.kills import Cohort, into, participant_command
from reliability.outcome import Row, row

PART = "determinism"


def rows(folder: Path, full: bool) -> list[Row]:
    """Both levels with one worker, with three, and gone on with after half of the work."""
    cohort = Cohort(folder, 2)
    participant = [*participant_command(cohort)[:-2], "002"]
    participant.remove("002")
    participant.insert(participant.index("001") + 1, "002")
    group = cohort.group()[:-4]
    cases = [_compared("participant", folder, participant, "sub-001")]
    if full:
        cases.append(_compared("group", folder, [*group, "-w", folder / "work"], "models/tiny"))
    faults = [each for case in cases for each in case]
    what = "--nprocs 1, then 3, then with half of the work there already: every file outside logs/"
    return [row(PART, what, faults, "byte-identical, pictures and reports among them")]


def _compared(level: str, folder: Path, command: Sequence[str | Path], half: str) -> list[list[str]]:
    out = folder / "out"
    begin = folder / f"before-{level}"
    if out.exists():
        shutil.copytree(out, begin)
    expected = _run(command, out, 1)
    kept = folder / f"kept-{level}"
    shutil.copytree(out / half, kept)
    _again(out, begin)
    faults = [[f"{name} differs with 3 workers" for name in differences(_run(command, out, 3), expected)]]
    _again(out, begin)
    shutil.copytree(kept, out / half, dirs_exist_ok=True)
    faults.append([f"{name} differs after going on" for name in differences(_run(command, out, 2), expected)])
    return faults


def _again(out: Path, begin: Path) -> None:
    shutil.rmtree(out)
    if begin.is_dir():
        shutil.copytree(begin, out)


def _run(command: Sequence[str | Path], out: Path, nprocs: int) -> dict[str, str]:
    arguments = [*map(str, into(command, out)), "--nprocs", str(nprocs)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bids_neurossm", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = content(out)
    for page in out.glob("group_*.html"):
        # It shows the settings and the command line, in which this is what was meant to differ.
        text = re.sub(r"(nprocs = |--nprocs&#34;,\s*&#34;)\d+", "", page.read_text(encoding="utf-8"))
        found[page.name] = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return found
