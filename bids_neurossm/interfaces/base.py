"""What all interfaces share: a failure leaves a record on disk, whichever plugin runs the node.

Nipype hands errors back as text in a traceback, or, from a batch system, not at all. A record is a small JSON file
in a folder that the command made; the command reads them when the workflow has ended.
"""

from __future__ import annotations

import json
import os
import traceback
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, traits

from bids_neurossm.dataset.write import write_json
from bids_neurossm.errors import NeuroSSMError


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
    found = [Record(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("[!.]*.json"))]
    return sorted(found, key=lambda record: (record.unit, record.exit_code))


class RecordingInputSpec(BaseInterfaceInputSpec):  # type: ignore[misc]
    """Inputs that every interface has."""

    unit = traits.Str(mandatory=True, desc="name of the run or fold", nohash=True)
    records = traits.Str(mandatory=True, desc="folder for records of failure", nohash=True)


class RecordingInterface(SimpleInterface):  # type: ignore[misc]
    """An interface that says on disk what went wrong."""

    input_spec = RecordingInputSpec

    def _run_interface(self, runtime: Any) -> Any:
        try:
            self._work(Path(runtime.cwd))
        except NeuroSSMError as error:
            self._record(str(error), error.exit_code)
            raise
        except MemoryError:
            self._record("there was not enough memory; give --mem-mb or fewer --nprocs", 1)
            raise
        except Exception as error:
            details = traceback.format_exc()
            self._record(f"{type(error).__name__}: {error}", NeuroSSMError.exit_code, details)
            raise
        return runtime

    def _work(self, cwd: Path) -> None:
        """Do the work, with `cwd` as a private folder; results go to ``self._results``."""
        raise TypeError(f"{type(self).__name__} does no work of its own")

    def _record(self, message: str, exit_code: int, details: str = "") -> None:
        record = Record(self.inputs.unit, type(self).__name__, message, exit_code, details)
        write_record(Path(self.inputs.records), record)


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter: Nipype keeps pickles in its work folder."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_uid == os.getuid():
        path.chmod(0o700)
    return path
