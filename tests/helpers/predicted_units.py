"""Predictions of made-up people whose quality is known."""

import numpy as np
import pandas as pd

CLASSES = ["a", "b"]


def units(n=400, heat=3.0, seed=0, holdout=0):
    """Logits that are right up to a factor."""
    random = np.random.default_rng(seed)
    margin = random.normal(size=n) * 1.5
    label = (random.random(n) < 1 / (1 + np.exp(-margin))).astype(int)
    frame = pd.DataFrame({"model": "m", "set": "development", "split": 1, "fold": np.arange(n) % 5 + 1})
    names = [f"s{i:03d}" for i in range(n)]
    frame = frame.assign(unit=names, group=names, participant_id=names, site=[f"S{i % 2}" for i in range(n)])
    frame = frame.assign(label=np.array(CLASSES)[label], logit_0=-heat * margin / 2, logit_1=heat * margin / 2)
    frame.loc[frame.index < holdout, ["set", "fold"]] = ["holdout", 0]
    return frame


def predictions(n=100, runs=2, folds=5, seed=0, sites=2):
    """A tidy table with two runs and two seeds per participant."""
    random = np.random.default_rng(seed)
    rows = []
    for person in range(n):
        label = "ab"[person % 2]
        for run in range(runs):
            for number in (1, 2):
                logits = random.normal(size=2) + (np.arange(2) == person % 2)
                rows.append(
                    {
                        "model": "m", "set": "development", "split": 1, "fold": person // 2 % folds + 1,
                        "seed": number, "participant_id": f"sub-{person}", "group": f"sub-{person}",
                        "unit": f"sub-{person}_run-{run}", "site": f"s{person // 4 % sites}", "label": label,
                        "logit_0": logits[0], "logit_1": logits[1],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)
