"""Probes find motion and site where features carry them, and only there."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.controls.probes import probes


def cohort(folder, n=120, motion=0.0, site=0.0, seed=0):
    """Motion and site are written into the coupling of regions 0 and 1, and of regions 2 and 3."""
    random = np.random.default_rng(seed)
    fd, place, label = random.random(n), np.arange(n) % 2, np.arange(n) // 2 % 2
    series = []
    for i in range(n):
        x = random.normal(size=(100, 6))
        x[:, 1] += motion * fd[i] * x[:, 0]
        x[:, 3] += site * place[i] * x[:, 2]
        series.append(x)
    runs = pd.DataFrame(
        {
            "run": [f"run{i}" for i in range(n)], "participant_id": [f"sub-{i:03d}" for i in range(n)],
            "label": np.array(["a", "b"])[label], "mean_fd": fd, "site": np.array(["x", "y"])[place],
        }
    )  # fmt: skip
    return Cohort.create(folder, runs, series, list("abcdef"), list("abcdef"), "class")


def probed(data):
    splits = make_splits(data.runs, data.classes, "class", 5, 0.0, None, seed=0)
    return probes(data, splits, permutations=199).set_index("control")


def test_planted_motion_and_site_are_found(tmp_path):
    table = probed(cohort(tmp_path, motion=1.5, site=1.0))
    assert table.loc["probe: mean_fd", "observed"] > 0.5
    assert table.loc["probe: site", "observed"] > 0.85
    assert table.loc["probe: site", "null_mean"] == pytest.approx(0.5, abs=0.05)
    for control in ("probe: mean_fd", "probe: site"):
        assert table.loc[control, "p"] == pytest.approx(1 / 200)
        assert table.loc[control, "verdict"].startswith("warning: the features carry")


def test_clean_features_raise_no_warning(tmp_path):
    table = probed(cohort(tmp_path, seed=1))
    assert not table["verdict"].str.startswith("warning").any()


def test_without_motion_and_site_there_is_nothing_to_probe(tmp_path):
    data = cohort(tmp_path)
    bare = data.runs.assign(site="", mean_fd=np.nan)
    series = [data.raw(i) for i in range(len(bare))]
    data = Cohort.create(tmp_path / "bare", bare, series, data.regions, data.networks, "class")
    assert probed(data.__class__.open(data.folder)).empty


def test_a_site_seen_in_one_fold_only_does_not_stop_the_probe(tmp_path):
    data = cohort(tmp_path, site=1.0)
    rare = data.runs.assign(site=np.where(data.runs.index == 5, "rare", data.runs["site"]))
    data = Cohort.create(
        tmp_path / "rare", rare, [data.raw(i) for i in range(120)], data.regions, data.networks, "class"
    )
    assert probed(data).loc["probe: site", "observed"] > 0.8
