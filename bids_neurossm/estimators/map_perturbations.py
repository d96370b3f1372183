"""What the checks of a map ask of a trained model: its decision without some regions, and its maps with random weights.

Arrays and models only; `bids_neurossm.attribution.checks` judges what comes out.
"""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import without_regions
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.evaluation.metrics import centred_logits

Floats = NDArray[np.float64]


def decisions_without(
    estimator: Any, cohort: Cohort, rows: NDArray[np.int64], target: NDArray[np.int64], kept: NDArray[np.bool_]
) -> Floats:
    """Return the centred logit of each run with only some regions left, without the static term, which has no map.

    Parameters
    ----------
    estimator : Estimator
        Trained, on other runs.
    cohort : Cohort
        Where the runs are.
    rows : array (n,)
        Which.
    target : array (n,)
        Class of each run; for a continuous target 1 or -1, the direction that is explained.
    kept : array (K, R), bool
        Regions that are kept, set by set.

    Returns
    -------
    array (K, n)
        One prediction of all runs for each set: this is what the cost is made of.
    """
    pathways, mean = _pathways_of(estimator), _mean_of(estimator)
    return np.stack(
        [centred_logits(pathways.predict(without_regions(cohort, each), rows) - mean, target) for each in kept]
    )


def with_random_weights(estimator: NeuralEstimator, seed: int) -> NeuralEstimator:
    """Return an estimator of the same shape whose weights are drawn anew; what scales the input is kept."""
    trained = estimator.model
    assert trained is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = type(trained)(trained.config)
    # Buffers come from the data and not from learning.
    model.load_state_dict({**model.state_dict(), **dict(trained.named_buffers())})
    made = type(estimator)(estimator.name, estimator.spec, estimator.training, estimator.execution)
    made.model, made.facts = model.to(next(trained.parameters()).device).eval(), estimator.facts
    return made


def random_shares(
    estimator: NeuralEstimator,
    cohort: Cohort,
    rows: NDArray[np.int64],
    target: NDArray[np.int64],
    localisation: Literal["gradient", "integrated"],
    n_models: int,
    seed: int,
) -> Floats:
    """Return the shares a_p of the regions under models with random weights, (n_models, n, P, R)."""
    several = []
    for number in range(n_models):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        several.append(with_random_weights(estimator, own).attribute(cohort, rows, target, localisation).share)
    return np.stack(several)


def _pathways_of(estimator: Any) -> Any:
    """Return the estimator without its static term, where it has one."""
    if getattr(estimator, "static", None) is None:
        return estimator
    alone = copy.copy(estimator)
    alone.static = None
    return alone


def _mean_of(estimator: Any) -> float:
    facts = getattr(estimator, "facts", None)
    return 0.0 if facts is None else float(facts.target_mean)
