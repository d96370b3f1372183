"""Real tables of confounds, under the names and beside the metadata that each fMRIPrep writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

#: Version -> real table, and the suffix that this version writes.
SOURCES = {
    "1.4": ("test_desc-confounds_regressors.tsv", "regressors"),
    "20.0": ("no_nonsteady_desc-confounds_regressors.tsv", "regressors"),
    "20.2": ("test_desc-confounds_regressors.tsv", "timeseries"),
    "21.0": ("test-v21_desc-confounds_timeseries.tsv", "timeseries"),
    "23.2": ("test-v21_desc-confounds_timeseries.tsv", "timeseries"),
    "25.0": ("test-v21_desc-confounds_timeseries.tsv", "timeseries"),
}
MASK_OF_PREFIX = {"a": "combined", "c": "CSF", "w": "WM"}


def component(method: str, mask: str | None, retained: bool = True) -> dict[str, Any]:
    entry = {"CumulativeVarianceExplained": 0.2, "Method": method, "Retained": retained, "SingularValue": 93.8}
    return entry | {"VarianceExplained": 0.02} | ({"Mask": mask} if mask else {})


def metadata(version: str, columns: list[str]) -> dict[str, Any]:
    """What stands beside the table.

    Up to 20 the components of all three masks are ``a_comp_cor_*`` and only the JSON tells them apart; from 21 on those
    of CSF and white matter are ``c_`` and ``w_``; from 22 on the brain's edge has its own.
    """
    found: dict[str, Any] = {"csf": {"Method": "Mean"}, "white_matter": {"Method": "Mean"}}
    anatomical = [name for name in columns if name[:2] in ("a_", "c_", "w_") and "comp_cor" in name]
    for index, name in enumerate(anatomical):
        mask = MASK_OF_PREFIX[name[0]]
        if version < "21":  # combined, CSF, white matter, one behind the other
            mask = "combined" if index < 57 else "CSF" if index < 70 else "WM"
        found[name] = component("aCompCor", mask)
    for name in columns:
        if name.startswith("t_comp_cor"):
            found[name] = component("tCompCor", None)
        elif name.startswith("edge_comp"):
            found[name] = component("EdgeRegressor", "Edge")
    for index in range(40):
        found[f"dropped_{index}"] = component("aCompCor", ("combined", "CSF", "WM")[index % 3], retained=False)
    return found


def stage(table: pd.DataFrame, version: str, folder: Path) -> Path:
    """Write a table and its JSON as a version of fMRIPrep does."""
    folder.mkdir(parents=True, exist_ok=True)
    if version >= "23":  # 24 components of the brain's edge stand between CompCor and the cosines
        rng = np.random.default_rng(5)
        edges = {f"edge_comp_{index:02d}": rng.normal(size=len(table)) for index in range(24)}
        table = pd.concat([table, pd.DataFrame(edges)], axis=1)
    path = folder / f"sub-01_task-rest_desc-confounds_{SOURCES[version][1]}.tsv"
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    path.with_suffix(".json").write_text(json.dumps(metadata(version, list(table))))
    return path


@pytest.fixture
def real_table(shared_data: Path, tmp_path: Path) -> Any:
    """Stage the table of a version: ``real_table("21.0")``, and with ``repeated=4`` one that is as long as a run.

    The real tables have 30 rows, fewer than most strategies have parameters: repeated and jittered they keep their
    columns, scales and marks.
    """

    def staged(version: str, repeated: int = 1) -> Path:
        real = pd.read_csv(shared_data / "confounds" / SOURCES[version][0], sep="\t")
        if repeated > 1:
            one_per_volume = [name for name in real if name.startswith(("non_steady_state", "motion_outlier"))]
            rest = real.drop(columns=one_per_volume).bfill()
            long = pd.concat([rest] * repeated, ignore_index=True)
            long += np.random.default_rng(2).normal(size=long.shape) * rest.std().to_numpy() * 0.3
            # Most of the table of 21 is motion; the copies hold still enough for scrubbing to leave something.
            long.loc[30:, "framewise_displacement"] *= 0.25
            long.loc[30:, "std_dvars"] *= 0.45
            marks = {name: np.concatenate([real[name], np.zeros(len(long) - 30)]) for name in one_per_volume}
            real = pd.concat([long, pd.DataFrame(marks)], axis=1)
        return stage(real, version, tmp_path / version / "sub-01" / "func")

    return staged
