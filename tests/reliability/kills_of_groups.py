"""Group commands are killed at random moments, like the participant commands of `reliability.kills`."""

from __future__ import annotations

from pathlib import Path

from reliability.commands import preload
from reliability.kills import Cohort, into, killed
from reliability.outcome import Row


def rows(folder: Path, full: bool) -> list[Row]:
    """Kill between reading the series and the report."""
    cohort = Cohort(folder, 3)
    cohort.extract(folder / "series")
    command = cohort.group()
    first = folder / "first"
    cohort.extract(first)
    preload(into(command, first), folder / "said")
    return [killed("group commands", folder / "group", command, folder / "series", 30 if full else 2)]
