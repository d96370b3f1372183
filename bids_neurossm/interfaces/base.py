"""What all interfaces share: a failure leaves a record on disk, whichever plugin runs the node."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, traits

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.interfaces.records import INTERRUPTED, Record, write_record


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
        except BaseException as signal:
            # Nipype swallows it where the node runs in the process of the command; with the record, that ends all the
            # same (cli/workflow_engine.py).
            self._record(INTERRUPTED, 130 if isinstance(signal, KeyboardInterrupt) else 143)
            raise
        return runtime

    def _work(self, cwd: Path) -> None:
        """Do the work, with `cwd` as a private folder; results go to ``self._results``."""
        raise TypeError(f"{type(self).__name__} does no work of its own")

    def _record(self, message: str, exit_code: int, details: str = "") -> None:
        record = Record(self.inputs.unit, type(self).__name__, message, exit_code, details)
        write_record(Path(self.inputs.records), record)
