"""A quick model of connectivity, cohorts for it, and the nodes of a group analysis without Nipype's processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.interfaces.cohort import MakeSplits
from bids_neurossm.interfaces.evaluation import Evaluate
from bids_neurossm.interfaces.training import TrainCell
from bids_neurossm.registry import ModelEntry, register_model


def cohort_of(folder: Path, n: int = 80, strength: float = 0.3, sites: int = 1, **columns: Any) -> Cohort:
    """Class "b" couples regions 0 and 1; connectivity tells it, the order of time does not."""
    random = np.random.default_rng(0)
    series = []
    for number in range(n):
        x = random.normal(size=(60, 6))
        coupling = strength * (number % 2)
        x[:, 1] = coupling * x[:, 0] + np.sqrt(1 - coupling**2) * x[:, 1]
        series.append(x)
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(n)]}).assign(**columns)
    runs["label"] = np.array(["a", "b"])[np.arange(n) % 2]
    runs["run"] = runs["participant_id"]
    runs["site"] = [f"S{i // 2 % sites}" for i in range(n)]
    names = [f"r{i}" for i in range(6)]
    return Cohort.create(folder, runs, series, names, names, "class", {"target": "dx"})


class Coupling:
    """A model that fits in no time: how much nearer the correlation of two regions is to one class's mean."""

    name = "coupling"

    def _correlation(self, cohort: Cohort, indices: np.ndarray) -> np.ndarray:
        return np.array([np.corrcoef(cohort.raw(int(i))[:, :2].T)[0, 1] for i in indices])

    def fit(self, cohort: Cohort, indices: np.ndarray, seed: int) -> None:
        value, label = self._correlation(cohort, indices), cohort.labels(indices)
        low, high = value[label == 0].mean(), value[label == 1].mean()
        self.middle, self.slope = (low + high) / 2, 6 * (high - low)

    def predict(self, cohort: Cohort, indices: np.ndarray) -> np.ndarray:
        margin = self.slope * (self._correlation(cohort, indices) - self.middle)
        return np.column_stack([-margin / 2, margin / 2])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a model")


def create(*_: Any) -> Coupling:
    """Make it, as the registry asks."""
    return Coupling()


def analysis_of(folder: Path, model: str = "coupling", name: str = "test", **evaluation: Any) -> Analysis:
    return Analysis(
        outputs=GroupOutputs(folder, name, {}),
        level="participant",
        model=ModelSpec(model),
        baselines=("majority",),
        training=Training(),
        evaluation=Evaluation("dx", **evaluation),
        execution=Execution(),
        attribution=Attribution(cpa=False),
        reference=Reference(),
    )


def carry_out(analysis: Analysis, cohort: Cohort, scratch: Path) -> dict[str, Any]:
    """Do what the nodes of the workflow do, without Nipype's processes."""
    common = {"analysis": analysis, "records": str(scratch / "records"), "cohort": str(cohort.folder)}
    split = MakeSplits(unit="splits", **common)
    split._work(scratch)
    cells = []
    for key in cells_of(analysis):
        cell = TrainCell(unit="cell", key=key, splits=split._results["splits"], **common)
        cell._work(scratch)
        cells.append(cell._results["cell"])
    evaluate = Evaluate(unit="evaluation", cells=cells, splits=split._results["splits"], **common)
    evaluate._work(scratch)
    tables = {path.stem: read(path) for path in analysis.outputs.folder.glob("*.tsv")}
    return {**tables, "notes": [*split._results["notes"], *evaluate._results["notes"]], "cells": cells}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a")


register_model("coupling", ModelEntry("helpers.coupling_model:create", "coupling", by_recipe=False))
