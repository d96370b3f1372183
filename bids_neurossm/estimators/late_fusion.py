"""How a model of dynamics and a static term are joined in one decision (docs/methods.md, section 1.8).

Each is fitted as if it were alone, and both are brought to the same spread before they are added. How far a model
spreads its outputs over runs that it was fitted on says little about others, so that spreads and weights are taken
from out-of-fold outputs: of runs whose participants, and whoever they are grouped with, the model had not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.baselines.linear_solver import participant_weights
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.estimators.shrinkage import best_factor, shrinkage, spread, standard_gain
from bids_neurossm.estimators.static_term import StaticTerm, fit_static
from bids_neurossm.models.pathway_model import PathwayModel
from bids_neurossm.training.data import TrainingSet
from bids_neurossm.training.early_stopping import inner_parts
from bids_neurossm.training.inference import predict_logits

#: Parts that the training runs are dealt into for out-of-fold outputs; each is predicted from the others.
PARTS = 3
#: No further part is predicted when this many groups have been: two numbers are not told better by thousands.
ENOUGH_GROUPS = 300
#: A sum that is worse than one of its terms by more standard errors than these is not made.
_CLEARLY = 2.0
_SEED = 0

#: Fits a model on some of the training runs: which they are, and the number of the part that they leave, from 1.
TrainPart = Callable[[TrainingSet, int], PathwayModel]
Parts = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class LateFusion:
    """What the two terms of a decision count.

    Parameters
    ----------
    static : StaticTerm
        With its weight.
    dynamic_weight : float
        What the model's output is multiplied by.
    """

    static: StaticTerm
    dynamic_weight: float


def fit_joined(
    cohort: Cohort,
    indices: NDArray[np.int64],
    data: TrainingSet,
    class_weights: bool,
    standard: tuple[float, float],
    window: int | None,
    parts: Parts,
    train: TrainPart,
) -> LateFusion:
    """Fit the static term and find what both terms count; the same for every seed, so that all seeds share it.

    Where connectivity tells nothing, its weight is 0 and the model is left as it is, without further trainings.

    Parameters
    ----------
    cohort : Cohort
        Where the runs are.
    indices : array (n,), int64
        The training runs; nothing else of the cohort is looked at.
    data : TrainingSet
        The same runs, in the same order.
    class_weights : bool
        Give every class the same total weight.
    standard : (float, float)
        Mean and scale that a continuous target is standardised by; 0 and 1 for classes.
    window : int or None
        Time points per window.
    parts : list of (array, array)
        See :func:`parts_of`.
    train : callable
        Fits a model to part of `data`.

    Raises
    ------
    RunError
        If a run is too short, or a training fails.
    LabelError
        If a class has no training run.
    """
    static, unseen = fit_static(cohort, indices, class_weights, *standard)
    if unseen is None or static.weight == 0:
        return LateFusion(static, 1.0)
    if not parts:
        return LateFusion(static, 0.0)
    outputs = [
        predict_logits(train(data.some(learn), number), data.inputs.some(aside), window)
        for number, (learn, aside) in enumerate(parts, start=1)
    ]
    rows = np.concatenate([aside for _, aside in parts])
    classes = len(cohort.classes)
    runs = cohort.runs.iloc[indices[rows]].reset_index(drop=True)
    counts = participant_weights(runs, cohort.labels(indices)[rows], classes, class_weights)
    weights = join_weights(unseen[rows], np.concatenate(outputs), data.targets[rows], counts)
    return LateFusion(static.weighing(weights[0], unseen, data.targets), weights[1])


def parts_of(data: TrainingSet, n_outputs: int) -> Parts:
    """Deal training runs into parts for out-of-fold outputs; return for each the runs outside it, and its own.

    Parts without every class on both sides are left out, as are those after `ENOUGH_GROUPS` groups. Nothing is
    returned where a class has a single group.
    """
    labels = data.targets if n_outputs > 1 else np.zeros(len(data))
    names = np.asarray(data.inputs.names if data.groups is None else data.groups, dtype=np.str_)
    classes = len(np.unique(labels))
    if min(len(np.unique(names[labels == label])) for label in np.unique(labels)) < 2:
        return []
    chosen: Parts = []
    known: set[str] = set()
    for learn, aside in inner_parts(data, n_outputs, PARTS, _SEED):
        if len(known) < ENOUGH_GROUPS and len(np.unique(labels[learn])) == len(np.unique(labels[aside])) == classes:
            chosen.append((learn, aside))
            known.update(names[aside].tolist())
    return chosen


def join_weights(
    static: NDArray[np.float64], dynamic: NDArray[np.float64], goal: NDArray[Any], counts: NDArray[np.float64]
) -> tuple[float, float]:
    """Return what two terms are multiplied by in their sum.

    A term that tells nothing on its own counts 0; see :func:`bids_neurossm.estimators.shrinkage.shrinkage`. Two that
    tell something are brought to the same spread, and their sum is multiplied by the factor with the smallest loss.
    Equal parts are not the best ones for every cohort, but weights that are learned from hundreds of participants are
    not told apart from them (docs/accuracy.md). Where the sum is worse than one of them alone, by more than two
    standard errors of the difference, the other one counts 0.

    Parameters
    ----------
    static, dynamic : array (n, C)
        Out-of-fold logits, or values (n, 1) of a standardised target.
    goal : array (n,)
        Class indices, or standardised values.
    counts : array (n,)
        What each run counts.
    """
    terms = (static, dynamic)
    alone = [shrinkage(outputs, goal, counts) for outputs in terms]
    if min(alone) == 0:
        return alone[0], alone[1]
    spreads = [spread(outputs, counts) for outputs in terms]
    both = static / spreads[0] + dynamic / spreads[1]
    factor = best_factor(both, goal, counts, 2 * max(spreads))
    lost = [
        standard_gain(own * outputs, factor * both, goal, counts) for own, outputs in zip(alone, terms, strict=True)
    ]
    if max(lost) > _CLEARLY:
        return (alone[0], 0.0) if lost[0] > lost[1] else (0.0, alone[1])
    return factor / spreads[0], factor / spreads[1]
