"""Runs, records and files that the tests of ROI arrays have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.roi_arrays.readers import ArrayRun


def array_run(rows: int = 2, n_regions: int = 3, key: str = "a", **further: Any) -> ArrayRun:
    return ArrayRun(key, Path("x.npz"), (rows, n_regions), lambda: np.zeros((rows, n_regions)), **further)


def constant_record(subject: object, rows: int, columns: int, **facts: object) -> dict[str, object]:
    return {"roiTimeseries": np.full((rows, columns), 1, "f4"), "pheno": {"subjectId": subject, **facts}}


def save_objects(path: Path, records: list[object]) -> Path:
    array = np.empty(len(records), dtype=object)
    array[:] = records
    np.save(path, array, allow_pickle=True)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class Reduced:
    """Its pickle asks for a call."""

    def __init__(self, call: Any, arguments: Any, state: Any = None) -> None:
        self.parts = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts
