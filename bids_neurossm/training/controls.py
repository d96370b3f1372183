"""Could it be chance, motion or site? Permuted labels, and probes on the features (docs/methods.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.cohort.splits import Splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.comparison import SIGNIFICANCE, ratio_of_test_to_train
from bids_neurossm.evaluation.metric_names import lower_is_better
from bids_neurossm.evaluation.metrics import (
    METRICS,
    Floats,
    defined_mean,
    labels_and_scores,
    mean_over_folds,
    prediction_frame,
    primary_metric,
    rows_of_folds,
    unit_predictions,
)
from bids_neurossm.training.connectivity import pearson_features
from bids_neurossm.training.linear import fit_linear

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
    widening = _widening(units)
    null, free = _permuted(units, classes, name, within, permutations, seed)
    result = against_null(mean_over_folds(units, classes, name), null, name, widening)
    place = "participants" if level == "run" else ("sites" if (units["site"] != "").any() else "folds")
    verdict = null_verdict(
        result, "the labels are predicted better than chance", "nothing learned: chance does as well"
    )
    if not free:
        verdict = f"can not be tested: all {place} hold one label each, so that no label can be permuted within them"
    widened = f", null widened {widening:.2f}-fold" if widening > 1 else ""
    return control_table([(f"labels permuted within {place}, given these models{widened}", name, result, verdict)])


def _widening(units: pd.DataFrame) -> float:
    """Factor on the spread of the null; 1 for a holdout, whose labels nobody was trained on."""
    folds = len(units[["split", "fold"]].drop_duplicates())
    if units["set"].iloc[0] == "holdout" or folds < 2:
        return 1.0
    return float(np.sqrt(1 + folds * ratio_of_test_to_train(units)))


def _permuted(
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


def probes(
    cohort: Cohort, splits: Splits, *, permutations: int = 1000, seed: int = 0, features: Floats | None = None
) -> pd.DataFrame:
    """Predict motion and site from the same connectivity on the same folds.

    What the features tell about motion or site, a model of the target can use; whether the classes differ in them is
    told by :func:`bids_neurossm.training.confounding.confounds`. Scored per participant, against labels permuted within
    the fold, with the widened null of :func:`label_permutation`.

    Parameters
    ----------
    cohort : Cohort
        The cohort; ``mean_fd`` and ``site`` are probed where they are known and vary.
    splits : Splits
        The development folds of the model.
    permutations, seed : int
        Number of permutations and seed.
    features : array, shape (n_runs, p), optional
        Features of every run; by default Pearson connectivity.

    Returns
    -------
    DataFrame
        Rows like those of :func:`label_permutation`: ``probe: mean_fd`` (r), ``probe: site`` (accuracy).
    """
    runs = cohort.runs
    rows = []
    developing, _ = splits.holdout_indices(runs)
    known = developing[np.isfinite(runs["mean_fd"].to_numpy(dtype=np.float64)[developing])]
    sited = developing[(runs["site"].to_numpy(dtype=str) != "")[developing]]
    motion = runs["mean_fd"].iloc[known].nunique() > 1
    sites = runs["site"].iloc[sited].nunique() > 1
    if features is None and (motion or sites):
        features = np.asarray(pearson_features(cohort, np.arange(len(runs))))
    if motion and features is not None:
        by_participant = runs["mean_fd"].groupby(runs["participant_id"].to_numpy()).transform("mean")
        units = _probe(runs.assign(label=by_participant), features, splits, known, [], seed)
        result = _permuted_units(units, [], "r", permutations, seed)
        words = "warning: the features carry motion", "motion is not predicted from the features"
        rows.append(("probe: mean_fd", "r", result, null_verdict(result, *words)))
    if sites and features is not None:
        first = runs["site"].groupby(runs["participant_id"].to_numpy()).transform("min").astype(str)
        names = sorted(set(first.iloc[sited]))
        units = _probe(runs.assign(label=first), features, splits, sited, names, seed)
        result = _permuted_units(units, names, "accuracy", permutations, seed)
        words = "warning: the features carry the site", "the site is not predicted from the features"
        rows.append(("probe: site", "accuracy", result, null_verdict(result, *words)))
    return control_table(rows)


def _probe(
    runs: pd.DataFrame, features: Floats, splits: Splits, rows: NDArray[np.int64], names: list[str], seed: int
) -> pd.DataFrame:
    """Out-of-fold predictions of another target from given features, averaged per participant."""
    label = runs["label"].to_numpy()
    place = {name: number for number, name in enumerate(names)}
    target = np.array([place[value] for value in label[rows]]) if names else label[rows].astype(np.float64)
    frames = []
    for fold in range(1, splits.folds + 1):
        train, test = splits.fold_indices(runs, fold)
        learn, judge = np.isin(rows, train), np.isin(rows, test)
        # A site may be in the tested fold alone: it can not be learned, and counts as an error.
        present = sorted(set(target[learn].tolist())) if names else []
        coded = np.searchsorted(present, target[learn]) if names else target[learn]
        if not judge.any() or not learn.any() or (names and len(present) < 2):
            continue
        model = fit_linear(
            features[rows[learn]], coded, runs.iloc[rows[learn]].reset_index(drop=True), len(present), seed
        )
        scores = model.predict(features[rows[judge]])
        if names:
            whole = np.full((len(scores), len(names)), scores.min() - 30.0)
            whole[:, present] = scores
            scores = whole
        tested = runs.iloc[rows[judge]]
        frames.append(
            prediction_frame(tested, scores, names, model="probe", set_name="development", fold=fold, seed=seed)
        )
    if not frames:
        raise UsageError("No fold has runs both to train and to test a probe on.")
    return unit_predictions(pd.concat(frames, ignore_index=True), "participant")


def _permuted_units(units: pd.DataFrame, classes: list[str], name: str, permutations: int, seed: int) -> AgainstNull:
    null, _ = _permuted(units, classes, name, ["split", "fold"], permutations, seed)
    return against_null(mean_over_folds(units, classes, name), null, name, _widening(units))


def null_verdict(result: AgainstNull, yes: str, no: str) -> str:
    """Say which of two sentences a null bears out, with p and the number of permutations behind it."""
    if not np.isfinite(result.p):
        return "can not be tested: the metric is not defined in any fold"
    return f"{yes if result.p < SIGNIFICANCE else no} (p = {result.p:.3g}, {result.n} permutations)"


def control_table(rows: Sequence[tuple[str, str, AgainstNull, str]]) -> pd.DataFrame:
    """Lay out rows of ``controls.tsv``: name of the control, metric, its figures, verdict."""
    return pd.DataFrame([(name, metric, *found, words) for name, metric, found, words in rows], columns=list(COLUMNS))
