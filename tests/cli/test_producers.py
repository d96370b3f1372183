"""The group level takes series of other programs as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def test_series_of_xcp_d_make_a_cohort(command: Any, tmp_path: Path) -> None:
    """Twelve participants; the one whose parcels differ is left out, with the reason."""
    dataset, random = tmp_path / "xcp_d", np.random.default_rng(0)
    names = [f"LH_Vis_{index}" for index in range(1, 9)]
    for number in range(1, 13):
        func = dataset / f"sub-{number:02d}" / "func"
        func.mkdir(parents=True)
        for atlas in ("4S456Parcels", "Tian"):
            stem = f"sub-{number:02d}_task-rest_space-MNI152NLin2009cAsym_seg-{atlas}_stat-mean_timeseries"
            columns = names if number != 1 else [*names[:-1], "other"]
            table = pd.DataFrame(random.standard_normal((80, 8)), columns=columns)
            table.to_csv(func / f"{stem}.tsv", sep="\t", index=False)
            (func / f"{stem}.json").write_text(json.dumps({"RepetitionTime": 2.0}))
    people = pd.DataFrame({"participant_id": [f"sub-{number:02d}" for number in range(1, 13)], "dx": ["a", "b"] * 6})
    people.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    shared = ("group", "--target", "dx", "--participants-file", tmp_path / "participants.tsv")
    both = command(dataset, tmp_path / "out", *shared)
    assert both.returncode == 2
    assert "seg-Tian" in both.stderr
    arguments = (*shared, "--atlas", "4S456Parcels", "--model", "pearson-connectivity", "--folds", "2", "--no-cpa")
    done = command(dataset, tmp_path / "out", *arguments, "--analysis-id", "x")
    # A run of other regions is left out by rule, and counts as done.
    assert done.returncode == 0, done.stderr + done.stdout
    assert "other regions" in done.stdout
    excluded = pd.read_csv(tmp_path / "out" / "group" / "x" / "exclusions.tsv", sep="\t")
    assert excluded["run"].tolist() == ["sub-01_task-rest"]
    assert excluded["reason"].tolist() == ["other regions"]
    assert "column 8 is 'other', 'LH_Vis_8' is expected" in excluded["detail"].iloc[0]
    quality = pd.read_csv(tmp_path / "out" / "group" / "x" / "qc_fc.tsv", sep="\t")
    assert "QC-FC is not known: 0 of 11 participants state a mean framewise displacement" in quality["sentence"].iloc[0]
    assert quality["sentence"].iloc[0] in done.stdout.replace("\n", " ")
    predictions = pd.read_csv(tmp_path / "out" / "group" / "x" / "predictions.tsv", sep="\t")
    assert len(predictions.query("model == 'pearson-connectivity'")) == 11
