"""How far trainings are that take long, as small files beside the records of failure.

A cell is trained in a process of its own, perhaps on another machine. After every epoch, at most once a second, it
replaces its file; the command looks at the files while it waits.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_json
from bids_neurossm.training.callbacks import Callbacks

_SECONDS_BETWEEN = 1.0


@dataclass(frozen=True)
class CellProgress:
    """How far the training of one cell is.

    Parameters
    ----------
    unit : str
        Name of the cell.
    epoch, of : int
        Epochs that have ended, from 1; how many at most.
    loss : float
        Mean training loss of the last one.
    seconds_left : float
        Estimated.
    """

    unit: str
    epoch: int
    of: int
    loss: float
    seconds_left: float


class ProgressFile:
    """What a cell tells.

    Parameters
    ----------
    records : Path
        Folder of the command's records.
    unit : str
        Name of the cell.
    """

    def __init__(self, records: Path, unit: str) -> None:
        self._folder = _folder(records)
        self._unit = unit
        self._path = self._folder / f"{re.sub(r'[^0-9A-Za-z_.-]', '_', unit)}.json"
        self._last = -_SECONDS_BETWEEN

    def follow(self) -> Callbacks:
        """Let a training tell its epochs and its notices by way of this file."""
        return Callbacks(lambda told: self.epoch(told.number, told.of, told.loss, told.seconds_left), self.notice)

    def epoch(self, number: int, of: int, loss: float, seconds_left: float) -> None:
        """Tell that an epoch has ended."""
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN:
            self._last = now
            write_json(self._path, asdict(CellProgress(self._unit, number, of, loss, seconds_left)))

    def notice(self, text: str) -> None:
        """Tell the user something that is no failure."""
        write_json(self._folder / f"notice-{uuid.uuid4().hex}.json", {"unit": self._unit, "notice": text})

    def end(self) -> None:
        """Take the progress back: the training has ended, well or not."""
        self._path.unlink(missing_ok=True)


def read_progress(records: Path) -> list[CellProgress]:
    """Return how far the cells are that are being trained, by name."""
    found = []
    for path in sorted(_folder(records).glob("[!.]*.json")):
        if not path.name.startswith("notice-"):
            try:
                found.append(CellProgress(**read_json_object(path, RunError)))
            except RunError:
                if path.exists():  # else it has ended in this moment
                    raise
    return found


def take_notices(records: Path) -> list[tuple[str, str]]:
    """Return what cells have to say, each its name and a sentence, and remove it."""
    found = []
    for path in sorted(_folder(records).glob("notice-*.json"), key=lambda each: each.stat().st_mtime_ns):
        table = read_json_object(path, RunError)
        found.append((str(table["unit"]), str(table["notice"])))
        path.unlink()
    return found


def _folder(records: Path) -> Path:
    return records / "progress"
