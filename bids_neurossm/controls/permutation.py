"""Could it be chance? Labels permuted against the predictions that there are (docs/methods.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.comparison import SIGNIFICANCE, ratio_of_test_to_train
from bids_neurossm.evaluation.metric_names import lower_is_better
from bids_neurossm.evaluation.metrics import (
    METRICS,
    Floats,
    defined_mean,
    labels_and_scores,
    mean_over_folds,
    primary_metric,
    rows_of_folds,
)

COLUMNS = ("control", "metric", "observed", "null_mean", "null_q95", "p", "n", "verdict")


class AgainstNull(NamedTuple):
    """A figure beside the same figure where chance alone is at work.

    Attributes
    ----------
    observed : float
        The figure.
    mean, q95 : float
        Mean of the null, and its better end.
    p : float
        One-sided, (1 + k) / (1 + n); NaN where the figure or all of the null is not defined.
    n : int
        Values of the null that are defined; all that were drawn, where p is not.
    """

    observed: float
    mean: float
    q95: float
    p: float
    n: int


def against_null(observed: float, null: Floats, metric: str, widening: float = 1.0) -> AgainstNull:
    """Set a figure against its null.

    Parameters
    ----------
    observed : float
        The figure.
    null : array, shape (N,)
        Its values under chance; those that are not defined are left out.
    metric : str
        Name; says which end is the better one.
    widening : float
        Factor on the spread of the null about its mean.
    """
    defined = null[np.isfinite(null)]
    if not np.isfinite(observed) or not len(defined):
        return AgainstNull(observed, np.nan, np.nan, np.nan, len(null))
    if widening > 1:
        defined = defined.mean() + widening * (defined - defined.mean())
    sign = -1.0 if lower_is_better(metric) else 1.0
    # Rounding must not turn an equal value into a smaller one.
    reached = int((sign * defined >= sign * observed - 1e-12).sum())
    edge = float(sign * np.quantile(sign * defined, 0.95))
    return AgainstNull(observed, float(defined.mean()), edge, (1 + reached) / (1 + len(defined)), len(defined))


def label_permutation(
    units: pd.DataFrame,
    classes: Sequence[str],
    level: Literal["participant", "run"],
    metric: str | None = None,
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Permute labels against predictions that stay as they are (conditional on the trained models).

    On a holdout the test is exact. Out-of-fold predictions depend on the labels of the other folds, so that the plain
    null is too narrow there; its spread is widened by the factor sqrt(1 + J n_test / n_train) that Nadeau and Bengio
    (2003, Machine Learning 52:239) give for J folds whose training sets overlap (1.5 with five).

    Labels move between participants of one fold, and of one site where there are sites; the labels of a target that
    belongs to the run move between the runs of one participant.

    Parameters
    ----------
    units : DataFrame
        Held-out units of one model and one set, from :func:`bids_neurossm.evaluation.metrics.unit_predictions`.
    classes : sequence of str
        Class names; empty for a continuous target.
    level : {"participant", "run"}
        What the target belongs to.
    metric : str, optional
        By default AUC (balanced accuracy for a target of the run), or r.
    permutations, seed : int
        Number N of permutations and their seed; p = (1 + k) / (1 + N).

    Returns
    -------
    DataFrame
        One row: ``control``, ``metric``, ``observed``, ``null_mean``, ``null_q95`` (the better end of the null),
        ``p`` (one-sided), ``n`` (permutations), ``verdict``.

    Raises
    ------
    UsageError
        If the table holds several models or sets.
    """
    if len(units[["model", "set"]].drop_duplicates()) != 1:
        raise UsageError("Labels are permuted for one model and one set at a time.")
    name = metric or primary_metric(classes, level)
    within = ["split", "fold", "participant_id"] if level == "run" else ["split", "fold", "site"]
    widening = null_widening(units)
    null, free = permuted_scores(units, classes, name, within, permutations, seed)
    result = against_null(mean_over_folds(units, classes, name), null, name, widening)
    place = "participants" if level == "run" else ("sites" if (units["site"] != "").any() else "folds")
    verdict = null_verdict(
        result, "the labels are predicted better than chance", "nothing learned: chance does as well"
    )
    if not free:
        verdict = f"can not be tested: all {place} hold one label each, so that no label can be permuted within them"
    widened = f", null widened {widening:.2f}-fold" if widening > 1 else ""
    return control_table([(f"labels permuted within {place}, given these models{widened}", name, result, verdict)])


def null_widening(units: pd.DataFrame) -> float:
    """Factor on the spread of the null; 1 for a holdout, whose labels nobody was trained on."""
    folds = len(units[["split", "fold"]].drop_duplicates())
    if units["set"].iloc[0] == "holdout" or folds < 2:
        return 1.0
    return float(np.sqrt(1 + folds * ratio_of_test_to_train(units)))


def permuted_scores(
    units: pd.DataFrame, classes: Sequence[str], metric: str, within: list[str], permutations: int, seed: int
) -> tuple[Floats, int]:
    """Mean over folds with labels permuted within cells, shape (N,), and how many cells have labels to permute."""
    labels, scores = labels_and_scores(units, classes)
    folds = rows_of_folds(units)
    cells = units.reset_index(drop=True).groupby(within, sort=True).indices.values()
    free = [np.asarray(rows) for rows in cells if len(np.unique(labels[rows])) > 1]
    random = np.random.default_rng(seed)
    null = np.empty(permutations)
    for number in range(permutations):
        permuted = permuted_within(labels, free, random)
        null[number] = defined_mean(np.array([METRICS[metric](permuted[rows], scores[rows]) for rows in folds]))
    return null, len(free)


def permuted_within(
    labels: NDArray[Any], cells: Sequence[NDArray[np.int64]], random: np.random.Generator
) -> NDArray[Any]:
    """Return labels (n,) that are permuted within each cell (rows of it), and stay as they are elsewhere."""
    permuted = labels.copy()
    for rows in cells:
        permuted[rows] = labels[random.permutation(rows)]
    return permuted


def null_verdict(result: AgainstNull, yes: str, no: str) -> str:
    """Say which of two sentences a null bears out, with p and the number of permutations behind it."""
    if not np.isfinite(result.p):
        return "can not be tested: the metric is not defined in any fold"
    return f"{yes if result.p <= SIGNIFICANCE else no} (p = {result.p:.3g}, {result.n} permutations)"


def control_table(rows: Sequence[tuple[str, str, AgainstNull, str]]) -> pd.DataFrame:
    """Lay out rows of ``controls.tsv``: name of the control, metric, its figures, verdict."""
    return pd.DataFrame([(name, metric, *found, words) for name, metric, found, words in rows], columns=list(COLUMNS))
