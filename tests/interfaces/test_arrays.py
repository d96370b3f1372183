"""Arrays between nodes come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.interfaces.arrays import CleanRun, load_arrays, save_arrays


def clean_run() -> CleanRun:
    return CleanRun(
        series=np.array([[0.1, np.nan], [0.2, np.nan]]),
        segments=np.array([[0, 2]]),
        degrees_of_freedom=np.array(1),
        n_voxels=np.array([5, 6]),
        n_covered=np.array([5, 0]),
        coverage=np.array([1.0, 0.0]),
        mean=np.array([800.0, np.nan]),
        tsnr=np.array([60.0, np.nan]),
        used=np.array([True, False]),
        kept=np.array([2, 3]),
        framewise_displacement=np.array([np.nan, 0.1, 0.2, 0.1]),
        n_dummy=np.array(2),
        n_censored=np.array(0),
        columns=np.array(["csf", "größe"]),
    )


def test_every_field_comes_back_with_its_type(tmp_path: Path) -> None:
    run = clean_run()
    place = save_arrays(tmp_path / "run.npz", run)
    assert place == str(tmp_path / "run.npz")
    back = load_arrays(place, CleanRun)
    for name, value in vars(run).items():
        found = getattr(back, name)
        assert found.dtype == value.dtype, name
        np.testing.assert_array_equal(found, value)


def test_objects_are_not_written(tmp_path: Path) -> None:
    run = clean_run()
    object.__setattr__(run, "columns", np.array([None]))
    with pytest.raises(ValueError, match="allow_pickle"):
        save_arrays(tmp_path / "run.npz", run)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    save_arrays(tmp_path / "run.npz", clean_run())
    content = (tmp_path / "run.npz").read_bytes()
    (tmp_path / "run.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"run\.npz"):
        load_arrays(tmp_path / "run.npz", CleanRun)
