"""Checks that go beside every map (docs/methods.md, section 3): arrays in, a result with its verdict out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.errors import UsageError

COMPLETE = 1e-5
#: Shares of the regions that are taken away for a deletion curve; dense where a map is read, at its top.
FRACTIONS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75)
#: Random orders beside a map's own: with 20 of them p can fall below .05.
RANDOM_ORDERS = 20
SIGNIFICANCE = 0.05
_OUTCOMES = {True: "passed", False: "failed", None: "can not be told"}
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
    passed : bool or None
        Whether it does; None where that can not be told.
    words : str
        What it means, which stands in the verdict behind the outcome.
    p : float
        Where the check is a test.
    """

    check: str
    value: float
    expected: str
    passed: bool | None
    words: str
    p: float = float("nan")

    @property
    def verdict(self) -> str:
        """The outcome in plain words."""
        return f"{_OUTCOMES[self.passed]}: {self.words}"


@dataclass(frozen=True)
class DeletionCurve:
    """What is left of the centred logit when regions are taken away, F steps and K random orders.

    Attributes
    ----------
    fractions : array (F,)
        Share of the regions taken away, from 0 on.
    curve : array (F,)
        Mean centred logit with the regions of the largest scores taken first.
    random : array (K, F)
        The same in random orders.
    """

    fractions: Floats
    curve: Floats
    random: Floats

    @property
    def area(self) -> float:
        """How far the map's curve runs below the random ones, mean over the steps, in units of the centred logit."""
        return float(self.random.mean() - self.curve.mean())

    @property
    def p(self) -> float:
        """Share of random orders that hurt as much, the map's own counted among them: never 0."""
        as_small = (self.random.mean(axis=1) <= self.curve.mean()).sum()
        return float((1 + as_small) / (1 + len(self.random)))


def completeness(attribution: PathwayAttribution) -> Check:
    """Check that the pathways' importances add up to the centred logit less its reference.

    The largest gap is taken relative to the size of the logit, or absolutely where that is below 1.
    """
    missing = attribution.logit - attribution.reference - attribution.importance.sum(axis=1)
    missing = missing - sum(attribution.further_terms.values(), np.zeros(len(missing)))
    value = float((np.abs(missing) / np.maximum(np.abs(attribution.logit), 1.0)).max())
    passed = value <= COMPLETE
    words = "the importances of the pathways" + (" add up to" if passed else " do not add up to") + " the decision"
    return Check("completeness over pathways", value, f"at most {COMPLETE:g}", passed, words)


def deletion_sets(order: NDArray[np.intp], fractions: Sequence[float] = FRACTIONS) -> NDArray[np.bool_]:
    """Return the regions that are kept at each step of a deletion, (F, R), when they are taken away in this order."""
    kept = np.ones((len(fractions), len(order)), dtype=bool)
    for step, fraction in enumerate(fractions):
        kept[step, order[: round(fraction * len(order))]] = False
    return kept


def order_of(score: Floats) -> NDArray[np.intp]:
    """Order of the regions by their score, the largest first.

    Raises
    ------
    UsageError
        If the map is not defined.
    """
    if not np.isfinite(score).all():
        raise UsageError("A map that is not defined has no deletion curve.")
    return np.argsort(-score, kind="stable")


def random_orders(n_regions: int, n_orders: int = RANDOM_ORDERS, seed: int = 0) -> list[NDArray[np.intp]]:
    """Draw orders of the regions to compare a map's own with."""
    generator = np.random.default_rng(seed)
    return [generator.permutation(n_regions) for _ in range(n_orders)]


def deletion_check(curve: DeletionCurve) -> Check:
    """Say whether taking the map's regions away hurts the decision more than taking random ones."""
    passed = bool(curve.p <= SIGNIFICANCE)
    words = "without the regions that rank high the decision is lost "
    words += "faster than without random ones" if passed else "no faster than without random ones"
    name = "deletion of top regions against random ones (area)"
    return Check(name, curve.area, f"above 0, p at most {SIGNIFICANCE:g}", passed, words, curve.p)


def agreement(maps: Floats) -> float:
    """Return the mean correlation over all pairs of maps (M, R), for instance of seeds or folds.

    Of the scores, not of their ranks: the ranks of regions that carry nothing are noise, and where three quarters of
    the regions carry nothing two maps that find all the others have rank correlations of .56 at most. NaN where there
    are not two defined maps that vary.
    """
    usable = [row for row in np.atleast_2d(maps) if np.isfinite(row).all() and np.ptp(row) > 0]
    if len(usable) < 2:
        return float("nan")
    correlations = np.corrcoef(usable)
    return float(correlations[np.triu_indices(len(usable), 1)].mean())


def agreement_check(value: float, over: str) -> Check:
    """Say whether the maps of several seeds or folds agree, given their `agreement`; .5 is asked for."""
    passed = None if np.isnan(value) else bool(value >= 0.5)
    words = {
        None: f"there are not two defined maps to compare over {over}",
        True: f"models of other {over} give a similar map",
        False: f"models of other {over} give another map, so that single regions should not be read",
    }[passed]
    return Check(f"agreement over {over} (mean correlation)", value, "at least 0.5", passed, words)


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
    passed = None if np.isnan(value) or np.isnan(between) else bool(value <= bound)
    words = {
        None: "a map is not defined or does not vary",
        True: "the map comes from what was learnt, not from the series or the shape of the model",
        False: "models that learnt nothing agree with it more than with each other: in part it shows the series or the "
        "shape of the model",
    }[passed]
    return Check("agreement with maps of random weights", value, f"at most {bound:.2f}", passed, words)


def overall_check(checks: Sequence[Check], defined: bool, permutation_p: float) -> Check:
    """Sum the checks of a map up; whatever they say, a failed permutation test means that nothing was learnt.

    Parameters
    ----------
    checks : sequence of Check
        Those of this map.
    defined : bool
        Whether there is a map at all.
    permutation_p : float
        Of the control with permuted labels; NaN where it could not be made.
    """
    failed = [each.check.partition(" (")[0] for each in checks if each.passed is False]
    passed: bool | None = False
    if permutation_p > SIGNIFICANCE:
        words = "nothing learned, for chance predicts the labels as well: the map shows nothing"
    elif not defined:
        words = "there is no map, for no pathway has a positive importance"
    elif failed:
        words = f"read with care, for this check failed: {'; '.join(failed)}"
    elif np.isnan(permutation_p):
        passed, words = None, "the labels could not be permuted, so it is not known whether anything was learned"
    else:
        passed, words = True, "something was learned, and the map stands every check that could be made"
    expected = f"p at most {SIGNIFICANCE:g}, no check failed"
    return Check("verdict (p of permuted labels)", permutation_p, expected, passed, words, permutation_p)
