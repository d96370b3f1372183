"""What a training node does besides training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.interfaces.cohort import MakeSplits
from bids_neurossm.interfaces.training import TrainCell
from bids_neurossm.registry import ModelEntry, register_model
from bids_neurossm.training.device import own_gpu

#: The current GPU, and the one that it was at each fit.
GPUS: list[int] = [0]
FITTED_ON: list[int] = []


class Quick:
    """A neural model for the interface, since it can be followed."""

    name = "quick"

    def follow(self, *_: Any) -> None:
        """Report nothing."""

    def fit(self, *_: Any) -> None:
        FITTED_ON.append(GPUS[-1])

    def predict(self, cohort: Cohort, indices: np.ndarray) -> np.ndarray:
        return np.zeros((len(indices), 2))

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a model")


def create(*_: Any) -> Quick:
    """Make it, as the registry asks."""
    return Quick()


register_model("quick", ModelEntry(f"{__name__}:create", "quick", by_recipe=False))


@contextlib.contextmanager
def gpu(number: int) -> Iterator[None]:
    GPUS.append(number)
    yield
    GPUS.pop()


def test_a_model_is_trained_on_a_gpu_that_no_other_training_of_the_command_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", gpu)
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(20)], "label": ["a", "b"] * 10})
    series = [np.random.default_rng(i).normal(size=(30, 3)) for i in range(20)]
    folder = tmp_path / "cohort"
    Cohort.create(folder, runs.assign(run=runs["participant_id"]), series, list("xyz"), list("xyz"), "class")
    analysis = Analysis(
        outputs=GroupOutputs(tmp_path, "test", {}), level="participant", model=ModelSpec("quick"), baselines=(),
        training=Training(), evaluation=Evaluation("dx", folds=2, holdout=0), execution=Execution(),
        attribution=Attribution(cpa=False), reference=Reference(),
    )  # fmt: skip
    common = {"analysis": analysis, "records": str(tmp_path / "records"), "cohort": str(folder)}
    split = MakeSplits(unit="splits", **common)
    split._work(tmp_path)
    first, second = [
        TrainCell(unit="cell", key=key, splits=split._results["splits"], **common) for key in cells_of(analysis)[:2]
    ]
    with own_gpu("auto", tmp_path / "records"):
        first._work(tmp_path)
    second._work(tmp_path)
    assert FITTED_ON == [1, 0]
    assert GPUS == [0]
