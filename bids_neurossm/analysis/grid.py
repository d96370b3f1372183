"""The grid of trainings of an analysis: models, folds, seeds, and what is altered."""

from __future__ import annotations

from bids_neurossm.analysis.cells import FINAL, Analysis, CellKey
from bids_neurossm.cohort.surrogates import NULL, TRAINED_ON
from bids_neurossm.registry import model_entry

#: Shares of each training set, in percent, that a learning curve is drawn from; the whole is trained anyway.
LEARNING_CURVE = (25, 50, 75)


def cells_of(analysis: Analysis) -> list[CellKey]:
    """List every cell; fold 0 is the final model.

    The model and the baselines that are trained by gradient descent have every seed, the other baselines one. The
    altered series of ``--controls`` have every cell of the model; permuted labels and the learning curve stay with
    the first split and its first seed.
    """
    evaluation = analysis.evaluation
    model, folds = analysis.model.name, range(1, evaluation.folds + 1)
    splits = range(1, evaluation.repeats + 1)
    seeds = {name: evaluation.seeds if model_entry(name).by_recipe else 1 for name in (model, *analysis.baselines)}
    seeds[model] = evaluation.seeds
    cells = [
        CellKey(name, fold, seed, split)
        for name, count in seeds.items()
        for split in splits
        for fold in folds
        for seed in range(1, count + 1)
    ]
    cells += [
        CellKey(model, fold, seed, split, variant)
        for variant in evaluation.controls
        for split in splits
        for fold in folds
        for seed in range(1, evaluation.seeds + 1)
    ]
    nulls = [f"{NULL}{number}" for number in range(1, evaluation.retrained_nulls + 1)]
    cells += [CellKey(model, fold, 1, 1, variant) for variant in nulls for fold in folds]
    if evaluation.learning_curve:
        parts = [f"{TRAINED_ON}{percent}" for percent in LEARNING_CURVE]
        cells += [CellKey(name, fold, 1, 1, variant) for name in seeds for variant in parts for fold in folds]
    if evaluation.only_fold is not None and evaluation.only_seed is not None:
        place = (evaluation.only_fold, evaluation.only_seed)
        return [key for key in cells if (key.fold, key.seed) == place]
    return cells + [CellKey(name, FINAL, 1) for name in seeds]
