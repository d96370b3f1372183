"""Commands as users start them are killed, so that their fork server and their workers lose their parent."""

from __future__ import annotations

from pathlib import Path

from reliability.kills import Cohort, killed_with_workers, participant_command
from reliability.outcome import Row


def rows(folder: Path, full: bool) -> list[Row]:
    """Kill the command alone, and look whether anything outlives it."""
    cohort = Cohort(folder, 1)
    return [killed_with_workers(folder / "workers", participant_command(cohort)[:-2], 10 if full else 1)]
