"""What a training tells is written now and then, and is no record of failure."""

from __future__ import annotations

from bids_neurossm.interfaces.records import Record, read_records, write_record
from bids_neurossm.interfaces.training_progress import CellProgress, ProgressFile, read_progress, take_notices


def test_progress_is_written_at_most_once_a_second_and_taken_back(tmp_path):
    cell = ProgressFile(tmp_path, "neurossm fold-1 seed-1")
    cell.epoch(1, 30, 0.7, 58.0)
    cell.epoch(2, 30, 0.6, 56.0)
    assert read_progress(tmp_path) == [CellProgress("neurossm fold-1 seed-1", 1, 30, 0.7, 58.0)]
    cell.end()
    cell.end()
    assert read_progress(tmp_path) == []


def test_progress_is_no_record_of_failure(tmp_path):
    ProgressFile(tmp_path, "a").epoch(1, 30, 0.7, 58.0)
    ProgressFile(tmp_path, "a").notice("smaller batches")
    write_record(tmp_path, Record("a", "TrainCell", "no", 1))
    assert [record.unit for record in read_records(tmp_path)] == ["a"]
    assert take_notices(tmp_path) == [("a", "smaller batches")]
    assert take_notices(tmp_path) == []
