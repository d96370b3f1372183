"""Small cohorts whose target is a planted coupling, and the baselines that are tried on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.protocol import create_estimator

#: For the one baseline that is trained by gradient descent.
QUICK = Training(epochs=15, batch_size=12, window=40, learning_rate=0.01, weight_decay=0.0)


def baseline(name: str, class_weights: bool = True, **settings: Any) -> Any:
    """Make an unfitted baseline."""
    training = replace(QUICK, class_weights=class_weights)
    return create_estimator(name, ModelSpec(name, "", settings), training, Execution(device="cpu"))


def coupled_cohort(
    folder: Path, n: int = 60, regions: int = 8, target: Any = "class", runs_each: int = 1, **columns: Any
) -> Cohort:
    """Class "b" couples regions 0 and 1; a continuous target is that coupling."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(n), runs_each)
    coupling = np.where(np.arange(n) % 2, 0.7, 0.1) if target == "class" else random.random(n)
    series = []
    for number in person:
        x = random.normal(size=(80, regions))
        x[:, 1] = coupling[number] * x[:, 0] + np.sqrt(1 - coupling[number] ** 2) * x[:, 1]
        series.append(x)
    label = np.array(["a", "b"])[person % 2] if target == "class" else coupling[person]
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in person], "label": label}).assign(**columns)
    runs["run"] = [f"run{i}" for i in range(len(runs))]
    return Cohort.create(folder, runs, series, [f"r{i}" for i in range(regions)], ["net"] * regions, target)


def cohort_of_sites(
    folder: Path,
    target: Any = "class",
    n: int = 60,
    regions: int = 5,
    shift: float = 0.0,
    sites: tuple[str, ...] = ("X", "Y", "Z"),
) -> Cohort:
    """Region 0 follows region 1 in class "b" and lies higher; a continuous target is that coupling."""
    random = np.random.default_rng(0)
    share = np.arange(n) % 2 if target == "class" else random.random(n)
    site = [sites[i // 2 % len(sites)] for i in range(n)]
    series = []
    for number in range(n):
        x = random.normal(size=(60, regions))
        x[:, 1] = 0.8 * share[number] * x[:, 0] + np.sqrt(1 - 0.64 * share[number] ** 2) * x[:, 1]
        # What a volume alone can show: both regions are seldom low together.
        x[:, 2] = np.abs(x[:, 2]) if share[number] > 0.5 else x[:, 2]
        x[:, 3] += shift * sites.index(site[number]) * x[:, 4]
        series.append(x)
    runs = pd.DataFrame({"run": [f"r{i}" for i in range(n)], "participant_id": [f"s{i}" for i in range(n)]})
    runs["label"] = np.array(["a", "b"])[share] if target == "class" else share
    runs = runs.assign(site=site, age=[20.0 + i % 7 for i in range(n)])
    names = [f"r{i}" for i in range(regions)]
    return Cohort.create(folder, runs, series, names, names, target)
