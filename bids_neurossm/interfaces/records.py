"""Records of failure on disk, and the private folder they lie in.

Nipype hands errors back as text in a traceback, or, from a batch system, not at all. A record is a small JSON file
in a folder that the command made; the command reads them when the workflow has ended.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_json

#: Message of a record that a command leaves when it is told to end in the middle of a node.
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Record:
    """Why one unit of work (a run, a fold) did not end well.

    Parameters
    ----------
    unit : str
        Name of the run or the fold.
    step : str
        What was being done.
    message : str
        One sentence for the user.
    exit_code : int
        As in `bids_neurossm.errors`; 70 is a bug.
    details : str
        Traceback, for bugs.
    """

    unit: str
    step: str
    message: str
    exit_code: int
    details: str = ""


def write_record(folder: Path, record: Record) -> None:
    """Leave a record."""
    write_json(folder / f"{uuid.uuid4().hex}.json", asdict(record))


def read_records(folder: Path) -> list[Record]:
    """Read the records of a command, sorted by unit; the first one of a unit is its cause."""
    if not folder.is_dir():
        return []
    found = [Record(**read_json_object(path, RunError)) for path in sorted(folder.glob("[!.]*.json"))]
    return sorted(found, key=lambda record: (record.unit, record.exit_code))


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter: Nipype keeps pickles in its work folder."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid == os.getuid():
        path.chmod(0o700)
    return path
