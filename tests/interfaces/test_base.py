"""An interface that fails says so on disk, and fails all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from nipype.interfaces.base import Bunch

from bids_neurossm.errors import LabelError
from bids_neurossm.interfaces.base import RecordingInterface
from bids_neurossm.interfaces.records import INTERRUPTED, Record, read_records


class Raising(RecordingInterface):
    """Its unit is what it raises."""

    def _work(self, cwd: Path) -> None:
        (cwd / "worked").touch()
        error = {
            "label": LabelError("no label"),
            "memory": MemoryError(),
            "bug": KeyError("x"),
            "interrupt": KeyboardInterrupt(),
            "end": SystemExit(),
        }.get(self.inputs.unit)
        if error is not None:
            raise error


def carry_out(unit: str, folder: Path) -> None:
    Raising(unit=unit, records=str(folder / "records"))._run_interface(Bunch(cwd=str(folder)))


@pytest.mark.parametrize(
    ("unit", "error", "message", "code"),
    [
        ("label", LabelError, "no label", 7),
        ("memory", MemoryError, "there was not enough memory; give --mem-mb or fewer --nprocs", 1),
        ("interrupt", KeyboardInterrupt, INTERRUPTED, 130),
        ("end", SystemExit, INTERRUPTED, 143),
    ],
)
def test_what_a_user_can_put_right_is_recorded_in_a_sentence(
    tmp_path: Path, unit: str, error: type[BaseException], message: str, code: int
) -> None:
    with pytest.raises(error):
        carry_out(unit, tmp_path)
    assert read_records(tmp_path / "records") == [Record(unit, "Raising", message, code)]


def test_a_bug_is_recorded_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        carry_out("bug", tmp_path)
    (record,) = read_records(tmp_path / "records")
    assert (record.message, record.exit_code) == ("KeyError: 'x'", 70)
    assert "in _work" in record.details


def test_what_ends_well_leaves_its_work_and_no_record(tmp_path: Path) -> None:
    carry_out("sound", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["worked"]
