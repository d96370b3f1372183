"""Runs of autocorrelated regions, of two runs per participant."""

import numpy as np
import pandas as pd

from bids_neurossm.cohort.store import Cohort


def series_of(seed=0):
    """Smooth series of 101 volumes, five of them censored and far off."""
    random = np.random.default_rng(seed)
    values = np.cumsum(random.normal(size=(101, 4)), axis=0)
    values[40:45] = 1e6
    return values.astype(np.float32)


def cohort(folder, n=12):
    runs = pd.DataFrame({"run": [f"r{i}" for i in range(n)], "participant_id": [f"s{i // 2}" for i in range(n)]})
    runs["label"] = np.array(["a", "b"])[np.arange(n) // 2 % 2]
    runs["site"] = np.where(np.arange(n) < n // 2, "A", "B")
    runs["segments"] = "[[0, 40], [45, 60], [60, 101]]"
    return Cohort.create(folder, runs, [series_of(i) for i in range(n)], list("wxyz"), list("wxyz"), "class")
