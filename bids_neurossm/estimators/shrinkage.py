"""How far outputs are to be believed: the factor with the smallest loss, how far they spread, and around what."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shrinkage(unseen: NDArray[np.float64], goal: NDArray[Any], weights: NDArray[np.float64]) -> float:
    """Return the factor that makes out-of-fold predictions most truthful; 0 where they tell nothing.

    The factor in [0, 2] with the smallest log loss, or squared error; or 0 where its gain over 0 is smaller than the
    gain's own standard error.

    Parameters
    ----------
    unseen : array (n, C)
        Out-of-fold logits, or values (n, 1) of a standardised target.
    goal : array (n,)
        Class indices, or standardised values.
    weights : array (n,)
        What each run counts.
    """
    factor = best_factor(unseen, goal, weights, 2.0)
    return factor if standard_gain(factor * unseen, np.zeros_like(unseen), goal, weights) > 1 else 0.0


def standard_gain(
    better: NDArray[np.float64], worse: NDArray[np.float64], goal: NDArray[Any], weights: NDArray[np.float64]
) -> float:
    """Return by how many of its standard errors the mean loss of some outputs (n, C) is below that of others."""
    gain = weights * (_losses(worse, goal) - _losses(better, goal))
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return float(gain.mean() / max(error, np.finfo(np.float64).tiny))


def best_factor(
    outputs: NDArray[np.float64], goal: NDArray[Any], weights: NDArray[np.float64], largest: float
) -> float:
    """Return the factor in [0, largest] for which factor x outputs (n, C) have the smallest loss."""
    from scipy.optimize import minimize_scalar

    def loss(factor: float) -> float:
        return float(weights @ _losses(factor * outputs, goal))

    found = minimize_scalar(loss, bounds=(0.0, largest), method="bounded")
    # The search never tries the ends themselves.
    return min((0.0, float(found.x), largest), key=loss)


def spread(outputs: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Return how far outputs (n, C) differ between runs: the root mean square of what moves a decision.

    Of logits that is their distance from the mean of the run's, and of the runs'; a constant that all classes or all
    runs share moves nothing.
    """
    centred = outputs if outputs.shape[1] == 1 else outputs - outputs.mean(axis=1, keepdims=True)
    centred = centred - np.average(centred, axis=0, weights=weights)
    return float(np.sqrt(np.average((centred**2).sum(axis=1), weights=weights)))


def _losses(outputs: NDArray[np.float64], goal: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss of logits (n, C), or squared error of values (n, 1)."""
    from scipy.special import log_softmax

    if outputs.shape[1] == 1:
        return np.asarray((outputs[:, 0] - goal) ** 2, dtype=np.float64)
    return np.asarray(-log_softmax(outputs, axis=1)[np.arange(len(goal)), goal], dtype=np.float64)
