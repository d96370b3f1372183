"""From attributions of runs to maps of classes: participants first, then the class (docs/methods.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_neurossm.errors import UsageError

# A region is given a dominant pathway only where this share of the bootstraps agrees.
STABLE = 0.9
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassMap:
    """What the runs of a class say together, over P pathways and R regions.

    Attributes
    ----------
    label : str
        Class; empty for the map over all runs.
    n_runs, n_participants : int
        What the map is made of.
    importance, importance_interval : array (P,), (P, 2)
        Mean Delta_p over participants, with a 95 % bootstrap interval over participants.
    weight, weight_interval : array (P,), (P, 2)
        w_p = max(mean Delta_p, 0) / sum of these; NaN where none is positive.
    share : array (P, R)
        Mean a_p[r] over participants.
    score : array (R,)
        m[r] = sum over p of w_p a_p[r]; NaN where the weights are undefined.
    dominant : array (R,), int64
        Pathway with the largest w_p a_p[r], or -1 where fewer than 90 % of the bootstraps agree.
    stability : array (R,)
        Share of the bootstraps that agree.
    top_quarter : array (R,), bool
        The quarter of the regions with the largest scores.
    defined : bool
        False where no pathway has a positive importance: there is no map.
    """

    label: str
    n_runs: int
    n_participants: int
    importance: Floats
    importance_interval: Floats
    weight: Floats
    weight_interval: Floats
    share: Floats
    score: Floats
    dominant: NDArray[np.int64]
    stability: Floats
    top_quarter: NDArray[np.bool_]
    defined: bool


def class_maps(
    importance: Floats,
    share: Floats,
    participants: Sequence[str] | ArrayLike,
    labels: Sequence[str] | ArrayLike | None,
    classes: Sequence[str] = (),
    n_bootstraps: int = 1000,
    seed: int = 0,
) -> list[ClassMap]:
    """Make the map over all runs and one map per class.

    Parameters
    ----------
    importance : array (n, P)
        Delta_p of each run, for its own class (`PathwayAttribution.importance`).
    share : array (n, P, R)
        a_p of each run.
    participants : sequence of str (n,)
        Whose run it is.
    labels : sequence of str (n,) or None
        Class of each run; None for a continuous target.
    classes : sequence of str
        Classes to map, in this order. A class without a run is refused.
    n_bootstraps, seed : int
        Bootstraps over participants.

    Returns
    -------
    list of ClassMap
        The map over all runs first (label ``""``). With two classes it is *the* discriminative map: the centred logits
        are each other's negative, so the regions are the same for both, and the maps per class are descriptive.

    Raises
    ------
    UsageError
        If the arrays do not fit each other, or a class has no run.
    """
    importance, share = np.asarray(importance, dtype=np.float64), np.asarray(share, dtype=np.float64)
    who = np.asarray(participants).astype(str)
    if share.ndim != 3 or importance.shape != share.shape[:2] or who.shape != importance.shape[:1]:
        raise UsageError(
            f"Importance {importance.shape}, share {share.shape} and {who.shape[0]} participants do not fit together."
        )
    maps = [_class_map("", importance, share, who, n_bootstraps, seed)]
    if labels is not None:
        names = np.asarray(labels).astype(str)
        for number, label in enumerate(classes):
            chosen = names == str(label)
            if not chosen.any():
                raise UsageError(f"No run has the class {label}; it can not be mapped.")
            maps.append(
                _class_map(str(label), importance[chosen], share[chosen], who[chosen], n_bootstraps, seed + 1 + number)
            )
    return maps


def mean_importance(
    importance: Floats, participants: Sequence[str] | ArrayLike, n_bootstraps: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Average the importance of a term that is no pathway: participants first, with a 95 % bootstrap interval.

    Parameters
    ----------
    importance : array (n,)
        Of each run.
    participants : sequence of str (n,)
        Whose run it is.
    n_bootstraps, seed : int
        Bootstraps over participants.

    Returns
    -------
    mean, low, high : float
    """
    persons = _per_person(np.asarray(participants).astype(str)) @ np.asarray(importance, dtype=np.float64)
    low, high = _interval((_bootstraps(len(persons), n_bootstraps, seed) @ persons)[:, np.newaxis])[0]
    return float(persons.mean()), float(low), float(high)


def _per_person(who: NDArray[np.str_]) -> Floats:
    """Weights (persons, n) that average the runs of each person."""
    names, owner = np.unique(who, return_inverse=True)
    membership = owner == np.arange(len(names))[:, None]
    return np.asarray(membership / membership.sum(axis=1, keepdims=True))


def _bootstraps(n_persons: int, n: int, seed: int) -> Floats:
    """Weights (n, persons) of each person in each bootstrap."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n_persons, np.full(n_persons, 1 / n_persons), size=n) / n_persons


def _class_map(label: str, importance: Floats, share: Floats, who: NDArray[np.str_], n: int, seed: int) -> ClassMap:
    """Average over participants, and again over bootstraps of them."""
    per_person = _per_person(who)
    persons = per_person @ importance
    person_shares = np.tensordot(per_person, share, axes=1)
    mean, mean_share = persons.mean(axis=0), person_shares.mean(axis=0)
    weight = pathway_weights(mean)
    defined = bool(np.isfinite(weight).all())
    score = np.tensordot(weight, mean_share, axes=1)

    counts = _bootstraps(len(persons), n, seed)
    again = counts @ persons
    weights_again = pathway_weights(again)
    stability, dominant = np.zeros(len(score)), np.full(len(score), -1, dtype=np.int64)
    if defined:
        best = (weight[:, None] * mean_share).argmax(axis=0)
        for count, drawn in zip(counts, weights_again, strict=True):
            # One bootstrap at a time: all of them at once would not fit into memory with a fine atlas.
            if np.isfinite(drawn).all():
                shares_again = np.tensordot(count, person_shares, axes=1)
                stability += (drawn[:, None] * shares_again).argmax(axis=0) == best
        stability /= n
        # A region that no pathway looks at is dominated by none.
        dominant = np.where((stability >= STABLE) & (score > 0), best, -1)
    return ClassMap(
        label, len(importance), len(persons), mean, _interval(again), weight, _interval(weights_again), mean_share,
        score, dominant, stability, top_quarter(score), defined,
    )  # fmt: skip


def pathway_weights(importance: Floats) -> Floats:
    """Return max(Delta_p, 0) / sum over the last axis; NaN where none is positive, never uniform."""
    positive = np.maximum(importance, 0.0)
    total = positive.sum(axis=-1, keepdims=True)
    result: Floats = np.divide(positive, total, out=np.full_like(positive, np.nan), where=total > 0)
    return result


def top_quarter(score: Floats) -> NDArray[np.bool_]:
    """Mark the quarter (rounded up) of the regions with the largest scores; none where the score is not defined."""
    marked = np.zeros(score.shape, dtype=bool)
    if np.isfinite(score).all():
        marked[np.argsort(-score, kind="stable")[: -(-len(score) // 4)]] = True
        # A region of score 0 is in no top quarter, however few the others are.
        marked &= score > 0
    return marked


def _interval(values: Floats) -> Floats:
    """95 % percentile interval over the first axis, (P, 2); NaN where no bootstrap is defined."""
    kept = values[np.isfinite(values).all(axis=1)]
    if not len(kept):
        return np.full((values.shape[1], 2), np.nan)
    return np.percentile(kept, [2.5, 97.5], axis=0).T.astype(np.float64)
