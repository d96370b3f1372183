"""Cortex and nuclei of two atlases through the real command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ATLAS = """
name = "Lobes and nuclei"

[[parts]]
atlas = "HarvardOxford"

[[parts]]
atlas = "AAL3"
labels = ["75-78"]
prefix = "AAL3_"
"""


def test_the_series_are_those_of_each_atlas_by_itself(
    command: Any, simulated: Path, participant_results: Path, shared_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(ATLAS)
    chosen = ("--atlas", tmp_path / "mine.toml", "--atlas-dir", shared_data / "atlases")
    one_run = ("--participant-label", "01", "--task-id", "nback", "--max-uncovered", "1")
    done = command(simulated, tmp_path / "out", "participant", *one_run, *chosen)
    assert done.returncode == 0, done.stderr + done.stdout
    (path,) = (tmp_path / "out" / "sub-01" / "func").glob("*_timeseries.tsv")
    assert "_atlas-Lobesandnuclei_scale-52_" in path.name
    found = pd.read_csv(path, sep="\t", na_values="n/a")
    assert list(found.columns[48:]) == [f"AAL3_{name}_{side}" for name in ("Caudate", "Putamen") for side in "LR"]
    (alone,) = (participant_results / "sub-01" / "func").glob("*task-nback*_timeseries.tsv")
    np.testing.assert_allclose(found.iloc[:, :48], pd.read_csv(alone, sep="\t", na_values="n/a"), rtol=1e-6)
    image = "tpl-MNI152NLin6Asym/tpl-MNI152NLin6Asym_atlas-Lobesandnuclei_scale-52_res-02_dseg.nii.gz"
    assert (tmp_path / "out" / image).is_file()
    again = command(simulated, tmp_path / "out", "participant", *one_run, *chosen)
    assert "1 of them already finished" in again.stdout
