"""Why a unit of work failed, on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.interfaces.records import Record, private_folder, read_records, write_record


def test_records_are_sorted_and_the_cause_of_a_unit_comes_first(tmp_path: Path) -> None:
    records = [
        Record("b", "WriteMaps", "later", 70, "Traceback"),
        Record("b", "TrainCell", "cause", 1),
        Record("a", "x", "y", 5),
    ]
    assert read_records(tmp_path / "records") == []
    for record in records:
        write_record(tmp_path / "records", record)
    assert read_records(tmp_path / "records") == records[::-1]


def test_half_a_record_of_a_killed_process_is_not_looked_at_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    (tmp_path / ".half.json").write_text("{")
    assert read_records(tmp_path) == []
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(RunError, match=r"damaged\.json is not readable JSON"):
        read_records(tmp_path)


def test_a_folder_of_pickles_is_entered_by_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    for name in ("open", "new/inner"):
        assert stat.S_IMODE(private_folder(tmp_path / name).stat().st_mode) == 0o700
