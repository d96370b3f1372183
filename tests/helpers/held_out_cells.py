"""Cells of a model with made-up attributions, and an analysis that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.analysis.cells import Analysis, Cell, CellKey
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs

PATHWAYS = ("raw-1", "difference-2")


def analysis_in(folder: Path, name: str = "test", model: str = "neurossm") -> Analysis:
    """Make an analysis of the target dx."""
    return Analysis(
        GroupOutputs(folder, name, {}), "participant", ModelSpec(model), (), Training(), Evaluation("dx"),
        Execution(device="cpu"), Attribution(), Reference(),
    )  # fmt: skip


def cell(
    indices: list[int], scores: Any, importance: Any = None, share: Any = None, fold: int = 1, seed: int = 1,
    target: Any = None, **further: Any,
) -> Cell:  # fmt: skip
    """Make a cell of P pathways and R regions; without an importance it holds predictions alone."""
    attribution: dict[str, Any] = {}
    if importance is not None:
        n = len(indices)
        attribution = {
            "pathways": np.array(PATHWAYS),
            "target": np.zeros(n, dtype=np.int64) if target is None else np.array(target),
            "logit": np.asarray(importance, dtype=float).sum(axis=1),
            "importance": np.array(importance, dtype=float),
            "share": np.array(share, dtype=float),
            **{name: np.array(value, dtype=float) for name, value in further.items()},
        }
    key = CellKey("neurossm", fold, seed)
    return Cell(key, "digest", np.array(indices), np.array(scores, dtype=float), attribution, n_training=4)
