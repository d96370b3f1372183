"""What an import is about to write: one file for each run, and series that are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.roi_arrays.options import ImportOptions
from bids_neurossm.roi_arrays.plan import Import, Layout, PlannedRun, plan_import

SERIES = np.arange(60.0).reshape(20, 3)


def planned(folder: Path, **further: Any) -> Import:
    return plan_import(ImportOptions(folder / "My data", folder / "out", orientation="time-roi", **further))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "My data").mkdir()
    np.savez(tmp_path / "My data" / "x.npz", a=SERIES, b=SERIES + 1)
    return tmp_path / "My data"


def test_each_run_has_a_file_a_layout_and_a_digest_of_its_own(source: Path, tmp_path: Path) -> None:
    found = planned(tmp_path, task="rest", atlas="Three")
    names = [run.path.relative_to(tmp_path / "out").as_posix() for run in found.runs]
    assert names == [
        f"sub-{label}/func/sub-{label}_task-rest_atlas-Three_scale-3_stat-mean_desc-imported_timeseries.tsv"
        for label in "ab"
    ]
    assert [layout.regions for layout in found.layouts] == [["region-001", "region-002", "region-003"]]
    assert (found.source_dir, found.source_name, found.failures) == (source, "Mydata", [])
    first, second = found.runs
    assert first.digest != second.digest
    assert first.digest == planned(tmp_path, task="rest", atlas="Three").runs[0].digest
    assert first.digest != planned(tmp_path, task="rest", atlas="Three", repetition_time=2.0).runs[0].digest
    np.testing.assert_array_equal(second.read(), SERIES + 1)


def test_a_source_without_runs_is_planned_without_people(tmp_path: Path) -> None:
    (tmp_path / "My data").mkdir()
    (tmp_path / "My data" / "x.npz").write_bytes(b"PK damaged")
    found = planned(tmp_path)
    assert (found.runs, found.layouts, found.participants) == ([], [], None)
    assert ["x.npz cannot be read" in str(each) for each in found.failures] == [True]


def test_a_task_that_nothing_states_is_asked_for(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing states the task of a; add --task rest"):
        planned(tmp_path)


def one(array: np.ndarray, regions: int = 3, kept: tuple[int, ...] | None = None) -> PlannedRun:
    layout = Layout("Three", {}, [f"r{index}" for index in range(regions)], kept)
    return PlannedRun("a", Path("x.npz"), "0" * 64, "time-roi", lambda: array, {}, Path("out.tsv"), layout)


def test_series_are_turned_so_that_rows_are_volumes() -> None:
    np.testing.assert_array_equal(replace(one(SERIES.T), orientation="roi-time").read(), SERIES)
    with pytest.raises(RunError, match=r"x\.npz: a has 20 regions; 3 are expected"):
        one(SERIES.T).read()


def test_columns_that_are_no_region_are_left_out_only_where_they_are_empty() -> None:
    padded = np.insert(SERIES, 1, 5.0, axis=1)
    np.testing.assert_array_equal(one(padded, kept=(0, 2, 3)).read(), SERIES)
    padded[3, 1] = 6
    with pytest.raises(RunError, match="has numbers in column 2, which is no region of Three"):
        one(padded, kept=(0, 2, 3)).read()


def test_numbers_are_wanted() -> None:
    for value, told in ((np.inf, "holds infinite values"), (np.nan, "holds no number at all")):
        with pytest.raises(RunError, match=told):
            one(np.full((20, 3), value)).read()
