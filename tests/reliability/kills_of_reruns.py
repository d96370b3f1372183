"""Commands that replace finished results with those of other settings are killed at random moments."""

from __future__ import annotations

import shutil
from pathlib import Path

from reliability.cohort import RECIPE, write_recipe
from reliability.commands import preload
from reliability.kills import Cohort, into, killed, participant_command
from reliability.outcome import Row

#: Kills of each level by ``make reliability``, and in the tests.
_FULL, _QUICK = 20, 3


def rows(folder: Path, full: bool) -> list[Row]:
    """Kill second commands of both levels."""
    return [participants(folder / "participants", full), groups(folder / "groups", full)]


def participants(folder: Path, full: bool) -> Row:
    """Kill a command that makes the series of another number of dummy scans."""
    folder.mkdir(parents=True)
    first = participant_command(Cohort(folder, 1))
    preload(into(first, folder / "before"), folder / "said")
    shutil.rmtree(folder / "before" / "logs")
    second = [*first, "--dummy-scans", "12"]
    what = "participant commands with other settings on finished series"
    return killed(what, folder / "rerun", second, folder / "before", _FULL if full else _QUICK)


def groups(folder: Path, full: bool) -> Row:
    """Kill a command that trains the models of an analysis for another number of epochs."""
    folder.mkdir(parents=True)
    cohort = Cohort(folder, 3)
    cohort.extract(folder / "before")
    first = cohort.group()
    preload(into(first, folder / "before"), folder / "said")
    longer = write_recipe(folder, RECIPE.replace("epochs = 2", "epochs = 3"), "longer.toml")
    second = [longer if each == cohort.recipe else each for each in first]
    what = "group commands with other settings on a finished analysis"
    number = _FULL if full else _QUICK
    return killed(what, folder / "rerun", [*second, "--overwrite"], folder / "before", number, second)
