"""The grid of trainings of an analysis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
from helpers.coupling_model import analysis_of

from bids_neurossm.analysis.cells import FINAL, CellKey
from bids_neurossm.analysis.grid import cells_of


def test_the_grid_of_cells_is_what_was_asked_for(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path, "neurossm", folds=2, seeds=3, repeats=2, retrained_nulls=2, learning_curve=True)
    analysis = replace(analysis, baselines=("majority", "mean-pooled-mlp"))
    keys = cells_of(analysis)
    count = pd.Series([(key.model, key.variant.split("-")[0]) for key in keys]).value_counts()
    assert count[("neurossm", "")] == 2 * 2 * 3 + 1
    assert count[("mean-pooled-mlp", "")] == 2 * 2 * 3 + 1
    assert count[("majority", "")] == 2 * 2 + 1
    assert count[("neurossm", "null")] == 2 * 2
    assert count[("majority", "trained")] == 3 * 2
    assert len({analysis.cell_file(key) for key in keys}) == len(keys)
    one = replace(analysis, evaluation=replace(analysis.evaluation, only_fold=2, only_seed=2))
    assert {(key.fold, key.seed) for key in cells_of(one)} == {(2, 2)}
    assert {key.model for key in cells_of(one)} == {"neurossm", "mean-pooled-mlp"}
    assert analysis.keeps_model(CellKey("neurossm", FINAL, 1))
    assert not analysis.keeps_model(CellKey("neurossm", 1, 1, 2))
    assert not analysis.keeps_model(CellKey("neurossm", 1, 1, 1, "time-shuffle"))
