"""People whose first network of regions holds together in one class only, and a small LMAE-RWMoE for them."""

import numpy as np
import pandas as pd

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.protocol import create_estimator

REGIONS, PEOPLE, LENGTH = 16, 36, 120


PLANTED = 4


TRAIN, TEST = np.arange(24), np.arange(24, 36)


SMALL = {
    "width": 8, "state": 2, "nodes": 6, "depth": 1, "heads": 2, "layers": 1, "experts": 3,
    "region_dropout": 0.0, "predictor_dropout": 0.1, "dropout": 0.0,
    "pretraining": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "homologues": 1, "held_out": 0.2},
    "stages": {"frozen_epochs": 4, "rate": 0.5},
}  # fmt: skip


TRAINING = Training(epochs=16, batch_size=8, learning_rate=0.02, weight_decay=0.01, window=96)


CPU = Execution(device="cpu")


def networks_of(coupled, generator):
    """Four networks of four regions; the first one holds together in one class only."""
    networks = generator.normal(size=(LENGTH + 4, REGIONS // 4))
    # What is shared is smooth over time, as a haemodynamic response makes it.
    networks = np.stack([np.convolve(each, np.ones(5) / 5**0.5, "valid") for each in networks.T], axis=1)
    shared = np.repeat(networks, 4, axis=1)
    noise = generator.normal(size=(LENGTH, REGIONS))
    weight = np.full(REGIONS, 1.2)
    weight[:PLANTED] = 1.8 if coupled else 0.0
    return 1000 + 10 * (noise + weight * shared)


def cohort_of_networks(folder, target_type="class", **columns):
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"participant_id": [f"{i:02d}" for i in range(PEOPLE)], "repetition_time": 2.0})
    table["run"] = "sub-" + table["participant_id"]
    coupled = np.arange(PEOPLE) % 2 == 1
    table["label"] = np.where(coupled, "old", "young") if target_type == "class" else 20.0 + 40.0 * coupled
    for name, value in columns.items():
        table[name] = value
    series = [networks_of(each, generator) for each in coupled]
    names = [f"region-{r}" for r in range(REGIONS)]
    extra = {"atlas": "simulated", "target": "age", "denoise": "none"}
    return Cohort.create(folder, table, series, names, ["-"] * REGIONS, target_type, extra)


def small_estimator(training=TRAINING, execution=CPU, name="lmae-rwmoe", **settings):
    spec = ModelSpec(name, "", {**SMALL, **settings})
    return create_estimator(name, spec, training, execution)
