"""Checks that go beside every map (docs/methods.md, section 3): arrays in, a result with its verdict out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.errors import UsageError

COMPLETE = 1e-5
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Check:
    """One row of the table of checks.

    Attributes
    ----------
    check : str
        What was checked.
    value : float
        What was found.
    expected : str
        What a sound attribution gives.
    passed : bool
        Whether it does.
    """

    check: str
    value: float
    expected: str
    passed: bool


@dataclass(frozen=True)
class DeletionCurve:
    """What is left of the centred logit when regions are taken away, F steps and K random orders.

    Attributes
    ----------
    fractions : array (F,)
        Share of the regions taken away, from 0 to 1.
    curve : array (F,)
        Mean centred logit with the regions of the largest scores taken first.
    random : array (K, F)
        The same in random orders.
    p : float
        (1 + random orders with an area as small) / (1 + K): small where the map finds what the model uses.
    """

    fractions: Floats
    curve: Floats
    random: Floats
    p: float


def completeness(attribution: PathwayAttribution) -> Check:
    """Check that the pathways' importances add up to the centred logit less its reference.

    The largest gap is taken relative to the size of the logit, or absolutely where that is below 1.
    """
    missing = attribution.logit - attribution.reference - attribution.importance.sum(axis=1)
    value = float((np.abs(missing) / np.maximum(np.abs(attribution.logit), 1.0)).max())
    return Check("completeness over pathways", value, f"at most {COMPLETE:g}", value <= COMPLETE)


def deletion_curve(
    centred_logit: Callable[[NDArray[np.bool_]], Floats],
    score: Floats,
    n_steps: int = 10,
    n_random: int = 20,
    seed: int = 0,
) -> DeletionCurve:
    """Take regions away in the order of a map, and in random orders.

    Parameters
    ----------
    centred_logit : callable
        Takes the regions kept, (R,) bool, and gives the centred logit of each run with the others set to 0, their
        mean; see `bids_neurossm.training.neural.NeuralEstimator`.
    score : array (R,)
        The map.
    n_steps, n_random, seed : int
        Steps of the curve; random orders.

    Raises
    ------
    UsageError
        If the map is not defined.
    """
    if not np.isfinite(score).all():
        raise UsageError("A map that is not defined has no deletion curve.")
    fractions = np.linspace(0, 1, n_steps + 1)
    generator = np.random.default_rng(seed)

    def curve(order: NDArray[np.intp]) -> Floats:
        points = []
        for fraction in fractions:
            kept = np.ones(len(score), dtype=bool)
            kept[order[: round(fraction * len(score))]] = False
            points.append(float(centred_logit(kept).mean()))
        return np.array(points)

    by_map = curve(np.argsort(-score, kind="stable"))
    random = np.stack([curve(generator.permutation(len(score))) for _ in range(n_random)])
    as_small = (random.mean(axis=1) <= by_map.mean()).sum()
    return DeletionCurve(fractions, by_map, random, float((1 + as_small) / (1 + n_random)))


def deletion_check(curve: DeletionCurve) -> Check:
    """Say whether taking the map's regions away hurts more than taking random ones, in 90 % of the orders."""
    return Check("deletion of top regions against random ones (p)", curve.p, "at most 0.1", curve.p <= 0.1)


def agreement(maps: Floats) -> float:
    """Return the mean Spearman correlation over all pairs of maps (M, R), for instance of seeds or folds.

    NaN where there are not two defined maps that vary.
    """
    usable = [row for row in np.atleast_2d(maps) if np.isfinite(row).all() and np.ptp(row) > 0]
    if len(usable) < 2:
        return float("nan")
    correlations = np.corrcoef([rankdata(row) for row in usable])
    return float(correlations[np.triu_indices(len(usable), 1)].mean())


def agreement_check(maps: Floats, over: str) -> Check:
    """Say how well the maps of several seeds or folds agree; .5 is asked for."""
    value = agreement(maps)
    return Check(f"agreement over {over} (mean Spearman correlation)", value, "at least 0.5", value >= 0.5)


def randomisation_check(trained: Floats, randomised: Floats) -> Check:
    """Say whether maps change when the weights are drawn anew.

    Parameters
    ----------
    trained : array (R,)
        Map of the trained model.
    randomised : array (K, R), K >= 2
        Maps of models of the same shape with random weights, on the same runs.

    Notes
    -----
    The trained map must agree with the random ones no better than these agree with each other (and a margin of .1):
    else it shows the data or the architecture, and not what was learnt (Adebayo et al. 2018, Sanity checks for
    saliency maps).
    """
    pairs = [agreement(np.stack([trained, other])) for other in randomised]
    value, between = float(np.mean(pairs)), agreement(randomised)
    # Random models agree by chance at least with 0: a negative value is no stricter bound.
    bound = max(between, 0.0) + 0.1
    return Check("agreement with maps of random weights", value, f"at most {bound:.2f}", value <= bound)
