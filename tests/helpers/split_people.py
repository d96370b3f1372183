"""Made-up people with labels and sites, and their splits."""

import numpy as np
import pandas as pd

from bids_neurossm.cohort.splitting import make_splits

CLASSES = ["control", "patient"]


def cohort(n=120, runs_each=2, sites=3, seed=0):
    random = np.random.default_rng(seed)
    people = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(n)]})
    people["label"] = np.where(random.random(n) < 0.4, "patient", "control")
    people["site"] = [f"site{i}" for i in random.integers(0, sites, n)]
    people["group"] = people["participant_id"]
    runs = people.loc[people.index.repeat(runs_each)].reset_index(drop=True)
    runs["run"] = [f"{p}_run-{i}" for i, p in enumerate(runs["participant_id"])]
    return runs


def split(runs, folds=5, holdout=0.0, group_by=None, seed=1, target_type="class", **more):
    return make_splits(runs, CLASSES, target_type, folds, holdout, group_by, seed, **more)
