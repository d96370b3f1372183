"""Looks, while a group command works, how far its trainings are."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.interfaces.training_progress import read_progress, take_notices

_SECONDS_BETWEEN = 1.0


class TrainingWatch:
    """A thread that shows progress and notices of cells; use as a context around the workflow.

    Parameters
    ----------
    records : Path
        Folder where cells leave them.
    console : Console
        Where they are shown.
    """

    def __init__(self, records: Path, console: Console) -> None:
        self._records, self._console = records, console
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="training-watch", daemon=True)
        self._ended: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    def ended(self, unit: str) -> None:
        """Say that a cell has ended; if it was killed, its file is still there."""
        self._ended.add(unit)

    def look(self) -> None:
        """Look once."""
        for unit, text in take_notices(self._records):
            # Every cell tells its device; once is enough.
            if (unit, text) not in self._told:
                self._told.add((unit, text))
                self._console.event("warning", f"{unit}: {text}", unit=unit)
        running = [each for each in read_progress(self._records) if each.unit not in self._ended]
        texts = [f"{each.unit}: epoch {each.epoch}/{each.of}, {each.seconds_left:.0f} s left" for each in running]
        self._console.under_way(texts, sum(each.epoch / each.of for each in running))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS_BETWEEN):
            self.look()
