"""What the two terms of a joined model count in each of its trainings, as a table and in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bids_neurossm.analysis.cells import FINAL, Analysis
from bids_neurossm.checkpoint_format import read_checkpoint
from bids_neurossm.registry import model_entry

COLUMNS = ("model", "seed", "static_weight", "dynamic_weight")


def joined_weights(checkpoints: Sequence[tuple[str, int, Path]]) -> pd.DataFrame:
    """Read what both terms count off checkpoints.

    Parameters
    ----------
    checkpoints : sequence of (str, int, Path)
        Name of the model (``fold-1``, ``final``), its seed, and its ``.safetensors``.

    Returns
    -------
    DataFrame
        ``model``, ``seed``, ``static_weight`` and ``dynamic_weight``: what the outputs of the linear model on
        connectivity and of the model of dynamics are multiplied by before they are added.
    """
    rows = []
    for model, seed, path in checkpoints:
        metrics = read_checkpoint(path)[1].metrics
        rows.append([model, seed, metrics["static_weight"], metrics["dynamic_weight"]])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def checkpoints_of(analysis: Analysis, folds: int) -> list[tuple[str, int, Path]]:
    """List the models of an analysis that are there; nothing unless it joins two terms."""
    if not model_entry(analysis.model.name).has_static_term:
        return []
    seeds = range(1, analysis.evaluation.seeds + 1)
    places = [(f"fold-{fold}", fold, seed) for fold in range(1, folds + 1) for seed in seeds]
    found = [(name, seed, analysis.checkpoint_file(fold, seed)) for name, fold, seed in [*places, ("final", FINAL, 1)]]
    return [each for each in found if each[2].is_file()]


def weights_notes(weights: pd.DataFrame) -> list[str]:
    """Say where one of the two terms counts nothing, so that a reader knows what the decisions rest on."""
    notes = []
    silent_both = (weights[["static_weight", "dynamic_weight"]] == 0).all(axis=1)
    if silent_both.any():
        notes.append(
            f"In {int(silent_both.sum())} of {len(weights)} trained models neither dynamics nor static connectivity "
            "told anything of the training runs: they say the same of every run (joined.tsv)."
        )
    for column, silent, other in (
        ("dynamic_weight", "dynamics", "static connectivity alone, and maps of dynamics show nothing that was used"),
        ("static_weight", "static connectivity", "dynamics alone"),
    ):
        several = int(((weights[column] == 0) & ~silent_both).sum())
        if several:
            notes.append(
                f"In {several} of {len(weights)} trained models the training runs gave {silent} the weight 0: these "
                f"decide by {other} (joined.tsv)."
            )
    return notes
