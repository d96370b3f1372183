"""A file is read by what it is: its ending, and for pickles and files of torch its content."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.roi_arrays.isolated import IsolatedReader
from bids_neurossm.roi_arrays.reader_choice import found_in, runs_in
from bids_neurossm.roi_arrays.readers import ArrayRun

SERIES = np.arange(36.0).reshape(12, 3)


def read(path: Path) -> list[ArrayRun]:
    with IsolatedReader() as reader:
        return runs_in(path, [], None, reader)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.tsv", "a.1D"])
def test_arrays_and_tables_are_read_by_their_ending(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, SERIES)
    elif name == "a.npz":
        np.savez(path, a=SERIES)
    else:
        np.savetxt(path, SERIES, delimiter={"a.csv": ",", "a.tsv": "\t"}.get(name, " "))
    (run,) = read(path)
    assert (run.key, run.source, run.shape) == ("a", path, (12, 3))
    np.testing.assert_array_equal(run.load(), SERIES)


def test_the_name_of_a_published_file_counts_in_every_format(tmp_path: Path) -> None:
    np.savez(tmp_path / "dataset_hcpRest_schaefer.npz", a=SERIES)
    (tmp_path / "dataset_hcpRest_schaefer.pickle").write_bytes(
        pickle.dumps([{"roiTimeseries": SERIES, "pheno": {"subjectId": "a"}}])
    )
    for ending in ("npz", "pickle"):
        (run,) = read(tmp_path / f"dataset_hcpRest_schaefer.{ending}")
        assert (run.key, run.published.study, run.published.atlas, run.entities) == (
            *("a", "HCP", "Schaefer400"),
            {"task": "REST"},
        )


def test_what_the_other_process_hands_over_is_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps([{"roiTimeseries": SERIES, "pheno": {"subjectId": 7, "sex": "F"}}]))
    content, (series,) = found_in(path, None)
    (run,) = content["runs"]
    assert (run["key"], run["shape"], run["facts"], run["is_record"]) == ("7", (12, 3), {"sex": "F"}, True)
    np.testing.assert_array_equal(series, SERIES)


@pytest.mark.parametrize(
    ("name", "content", "error", "told"),
    [
        ("a.npz", b"PK damaged", RunError, r"a\.npz cannot be read"),
        ("a.npy", b"", RunError, r"a\.npy is empty"),
        ("a.pt", b"PK\x03\x04 cut", UsageError, r"a\.pt is no complete archive of torch"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, error: type[Exception], told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=told):
        read(tmp_path / name)
