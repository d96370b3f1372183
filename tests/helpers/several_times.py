"""Runs of several repetition times, of 100 s each."""

import numpy as np
import pandas as pd

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Training
from bids_neurossm.models import NeuroSSMConfig
from bids_neurossm.training.data import RunSet

SECONDS = {"scales": [2.0, 4.0, 8.0], "scale_unit": "seconds", "width": 8, "state": 2}


BRIEF = Training(epochs=2, batch_size=4, learning_rate=5e-3)


TIMES = np.array([2.0, 0.8, 1.0, 2.0, 0.8, 1.0, 2.0, 0.8])


RUNS = [f"sub-{number}_bold" for number in range(8)]


def config_in_seconds(**settings):
    return NeuroSSMConfig(n_regions=5, n_outputs=2, **{**SECONDS, "scales": (2.0, 4.0, 8.0), **settings})


def runs_of(times=TIMES, seconds=100.0):
    """Runs of 100 s at every repetition time, the first with a gap."""
    generator = np.random.default_rng(0)
    runs = [generator.normal(size=(round(seconds / t), 5)).astype(np.float32) for t in times]
    runs = [(series, [(0, len(series))]) for series in runs]
    runs[0] = (runs[0][0], [(0, 20), (23, 50)])
    return runs


def run_set(runs, times=None, reference=None):
    series, segments = zip(*runs, strict=True)
    return RunSet.in_memory(series, RUNS[: len(runs)], segments, times, reference)


def cohort_of_times(folder, times, told=None):
    runs = runs_of(times)
    table = pd.DataFrame(
        {
            "run": RUNS, "participant_id": [f"sub-{i}" for i in range(8)], "label": ["a", "b"] * 4,
            "repetition_time": times if told is None else told,
        }
    )  # fmt: skip
    return Cohort.create(folder, table, [series for series, _ in runs], list("vwxyz"), ["net"] * 5, "class")
