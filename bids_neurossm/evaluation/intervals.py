"""How sure a figure is: given these models (bootstrap), and for the procedure as a whole (Nadeau-Bengio).

The two answer different questions and carry their answer in ``label`` (docs/methods.md, section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.metrics import Floats, Metric, labels_and_scores

_Cell = NDArray[np.int64] | list[NDArray[np.int64]]

GIVEN_MODELS = "given these models"
OF_PROCEDURE = "of the procedure"


@dataclass(frozen=True)
class Interval:
    """An estimate and how far it can be trusted.

    Parameters
    ----------
    estimate, low, high : float
        The figure and the ends of the interval.
    level : float
        Nominal coverage.
    label : str
        What the interval speaks about: ``given these models`` or ``of the procedure``.
    method : str
        How it was made.
    p : float
        Two-sided p for a value of 0 (useful for differences); NaN where it can not be had.
    n : int
        Groups (bootstrap) or folds over all re-splits (Nadeau-Bengio, sign-flip) that entered.
    """

    estimate: float
    low: float
    high: float
    level: float
    label: str
    method: str
    p: float
    n: int


def bootstrap_interval(
    units: pd.DataFrame,
    metric: Metric,
    classes: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over split groups within fold x class, given these models.

    Parameters
    ----------
    units : DataFrame
        Units of one model and one set, from :func:`bids_neurossm.evaluation.metrics.unit_predictions`.
    metric : callable
        ``metric(labels, scores) -> float``, computed per fold and averaged over folds.
    classes : sequence of str
        Class names; empty for a continuous target.
    level : float
        Nominal coverage.
    resamples, seed : int
        Number and seed of the resamples.

    Returns
    -------
    Interval
        Expanded percentile interval; see :func:`grouped_bootstrap`.
    """
    labels, scores = labels_and_scores(units, classes)

    def statistic(rows: NDArray[np.int64]) -> float:
        return metric(labels[rows], scores[rows])

    return grouped_bootstrap(units, statistic, bool(classes), level=level, resamples=resamples, seed=seed)


def grouped_bootstrap(
    units: pd.DataFrame,
    statistic: Callable[[NDArray[np.int64]], float],
    by_class: bool,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap a statistic of rows, taken per fold and averaged over folds.

    Groups are drawn with replacement within fold x class (a group with several classes is drawn among its like), all
    units of a group together. The percentiles are widened as for a t interval, since a percentile interval is too
    narrow by sqrt((n - 1) / n) and by the normal quantile (Hesterberg, 2015, The American Statistician 69:371,
    "expanded percentile"). Folds in which the statistic is NaN are left out of a mean.

    Parameters
    ----------
    units : DataFrame
        ``split``, ``fold``, ``group`` and ``label`` of every row.
    statistic : callable
        ``statistic(rows) -> float`` for row numbers of one fold.
    by_class : bool
        Whether ``label`` is a class.
    level, resamples, seed
        As in :func:`bootstrap_interval`.
    """
    from scipy.stats import norm, t

    cells = _cells(units, by_class)
    random = np.random.default_rng(seed)
    draws = np.full((resamples, len(cells)), np.nan)
    observed = [statistic(np.concatenate([rows for cell in fold for rows in cell])) for fold in cells]
    for number in range(resamples):
        for column, fold in enumerate(cells):
            draws[number, column] = statistic(np.concatenate([_draw(cell, random) for cell in fold]))
    means = _mean_defined(draws)
    means = means[np.isfinite(means)]
    sizes = np.array([len(cell) for fold in cells for cell in fold])
    freedom = int((sizes - 1).sum())
    estimate = float(_mean_defined(np.array([observed]))[0])
    method = f"bootstrap over groups within fold and class, {resamples} resamples"
    if freedom < 1 or not len(means):
        return Interval(estimate, np.nan, np.nan, level, GIVEN_MODELS, method, np.nan, int(sizes.sum()))
    stretch = np.sqrt(sizes.sum() / freedom)
    tail = float(norm.cdf(stretch * t.ppf((1 - level) / 2, freedom)))
    low, high = np.quantile(means, [tail, 1 - tail])
    side = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2.0 * (1 + float(side)) / (1 + len(means)))
    return Interval(estimate, float(low), float(high), level, GIVEN_MODELS, method, p, int(sizes.sum()))


def _cells(units: pd.DataFrame, by_class: bool) -> list[list[_Cell]]:
    """Row numbers by fold, by cell of like groups, by group; one array (groups, rows) where groups are of one size."""
    frame = units[["split", "fold", "group"]].reset_index(drop=True)
    frame["kind"] = units["label"].to_numpy(dtype=str) if by_class else ""
    folds: list[list[_Cell]] = []
    for _, fold in frame.groupby(["split", "fold"], sort=True):
        cells: dict[str, list[NDArray[np.int64]]] = {}
        for _, group in fold.groupby("group", sort=True):
            kind = ", ".join(sorted(set(group["kind"])))
            cells.setdefault(kind, []).append(group.index.to_numpy(dtype=np.int64))
        folds.append([np.stack(cell) if len({len(g) for g in cell}) == 1 else cell for cell in cells.values()])
    return folds


def _draw(cell: _Cell, random: np.random.Generator) -> NDArray[np.int64]:
    """Rows of as many groups as the cell has, drawn with replacement."""
    picked = random.integers(len(cell), size=len(cell))
    if isinstance(cell, np.ndarray):
        return cell[picked].ravel()
    return np.concatenate([cell[i] for i in picked])


def _mean_defined(values: Floats) -> Floats:
    """Mean over the columns of what is not NaN; NaN where nothing is."""
    defined = np.isfinite(values)
    total = np.where(defined, values, 0.0).sum(axis=1)
    count = defined.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def nadeau_bengio_interval(
    values: Floats, test_to_train: float, *, folds: int | None = None, level: float = 0.95
) -> Interval:
    """Interval and test for a mean over folds and re-splits, whose training sets overlap.

    t = mean / sqrt((1/J + n_test/n_train) s^2) (Nadeau & Bengio, 2003, Machine Learning 52:239, the corrected resampled
    t-test). The degrees of freedom are those of one split, K - 1: re-splits steady the estimate but add no people. With
    J - 1 the interval over ten re-splits held the truth in .82 to .93 of simulated cohorts, with K - 1 in .94 to .98
    (docs/evaluation.md).

    Parameters
    ----------
    values : array, shape (J,)
        One figure, or paired difference, per fold of every re-split; seeds were averaged before. NaN is left out.
    test_to_train : float
        Groups tested over groups trained on, for instance 1/4 with five folds.
    folds : int, optional
        Folds K of one split; J by default, for a single split.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval
        Without ends and p where fewer than two folds are defined, or where the folds are identical but not 0: folds
        that are all alike do not say how much they would vary, and an interval of no width would claim that they do.
    """
    from scipy.stats import t

    if test_to_train <= 0:
        raise UsageError(f"test_to_train is {test_to_train}; a positive ratio of test to training groups is expected.")
    defined = _defined(values)
    count = len(defined)
    method = f"Nadeau-Bengio over {count} folds"
    if count < 2:
        estimate = float(defined.mean()) if count else float("nan")
        return Interval(estimate, np.nan, np.nan, level, OF_PROCEDURE, method, np.nan, count)
    mean = float(defined.mean())
    error = float(np.sqrt((1 / count + test_to_train) * defined.var(ddof=1)))
    freedom = (count if folds is None else min(folds, count)) - 1
    if error <= 1e-12 * max(1.0, abs(mean)):
        ends, p = ((0.0, 0.0), 1.0) if mean == 0 else ((np.nan, np.nan), np.nan)
        return Interval(mean, *ends, level, OF_PROCEDURE, method, p, count)
    half = float(t.ppf((1 + level) / 2, freedom)) * error
    p = 2 * float(t.sf(abs(mean) / error, freedom))
    return Interval(mean, mean - half, mean + half, level, OF_PROCEDURE, method, p, count)


def sign_flip_interval(values: Floats, *, level: float = 0.95, flips: int = 10_000, seed: int = 0) -> Interval:
    """Sign-flip test of a mean over left-out sites, with a t interval over the sites.

    Under the null a site's difference is as likely positive as negative. All sign patterns are tried where there are
    no more than ``flips`` of them; else ``flips`` random ones, and p = (1 + k) / (1 + flips).

    Parameters
    ----------
    values : array, shape (J,)
        Paired difference of every left-out site; NaN is left out.
    level : float
        Nominal coverage of the interval.
    flips, seed : int
        Most sign patterns, and their seed.
    """
    from scipy.stats import t

    defined = _defined(values)
    count = len(defined)
    if count < 2:
        estimate = float(defined.mean()) if count else float("nan")
        return Interval(estimate, np.nan, np.nan, level, OF_PROCEDURE, f"sign-flip over {count} sites", np.nan, count)
    mean = float(defined.mean())
    exact = 2**count <= flips
    if exact:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    else:
        patterns = np.random.default_rng(seed).integers(0, 2, size=(flips, count))
    null = ((2 * patterns - 1) @ defined) / count
    extreme = int((np.abs(null) >= abs(mean) - 1e-12).sum())
    p = extreme / len(null) if exact else (1 + extreme) / (1 + len(null))
    half = float(t.ppf((1 + level) / 2, count - 1) * defined.std(ddof=1) / np.sqrt(count))
    method = f"sign-flip over {count} sites, {'all' if exact else flips} sign patterns"
    return Interval(mean, mean - half, mean + half, level, OF_PROCEDURE, method, p, count)


def _defined(values: NDArray[Any]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return array[np.isfinite(array)]
