"""The table of metrics with its intervals, and the table by left-out value (docs/methods.md, section 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.evaluation.calibration import calibrated
from bids_neurossm.evaluation.comparison import FoldsAre, over_folds
from bids_neurossm.evaluation.intervals import bootstrap_interval
from bids_neurossm.evaluation.metrics import (
    CLASS_METRICS,
    KEYS,
    METRICS,
    SMALLEST_CALIBRATION_SAMPLE,
    VALUE_METRICS,
    Floats,
    binary_auc,
    class_indices,
    correlation,
    expected_calibration_error,
    labels_and_scores,
    one_vs_rest,
    score_columns,
)

#: Metrics of probabilities: given for the calibrated ones too, under these names.
CALIBRATED = {
    name: f"{name}_calibrated" for name in ("log_loss", "brier", "calibration_slope", "calibration_intercept")
}
_ECE = "expected_calibration_error"
#: Each of their bootstraps would be an iterative fit, and small cells make it diverge.
_WITHOUT_BOOTSTRAP = ("calibration_slope", "calibration_intercept")
COLUMNS = (
    "model", "set", "split", "fold", "metric", "value", "ci_low", "ci_high", "interval", "given_low", "given_high", "n",
    "n_folds", "n_undefined",
)  # fmt: skip


def metric_table(
    units: pd.DataFrame,
    temperatures: pd.DataFrame,
    classes: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    folds_are: FoldsAre = "random",
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Every metric of every model, fold by fold and over all folds, with what is known of its precision.

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.evaluation.metrics.unit_predictions`, raw logits.
    temperatures : DataFrame
        From :func:`bids_neurossm.evaluation.calibration.temperatures`.
    classes : sequence of str
        Class names; empty for a continuous target.
    covariates : sequence of str
        For the partial correlation of a continuous target.
    folds_are : {"random", "sites"}
        Left-out sites differ more than random folds, and share no training data in the same way.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        One row per model, set and metric over all folds (``split`` and ``fold`` are ``all``), and one per fold.
        ``ci_low`` and ``ci_high`` are those of the procedure where there are folds (Nadeau-Bengio, or over sites), and
        of the bootstrap given these models on a holdout; ``interval`` says which. ``given_low`` and ``given_high`` are
        always those given these models (of the first split): they leave training anew out, and cover less than they
        seem to. The expected calibration error is taken over all folds together, where there are 200 units.
    """
    scores = score(units, classes, covariates)
    scores = scores[scores["metric"] != _ECE]
    tempered = calibrated(units, temperatures, classes)
    if classes:
        again = score(tempered, classes)
        again = again[again["metric"].isin(CALIBRATED)]
        scores = pd.concat([scores, again.assign(metric=again["metric"].map(CALIBRATED))], ignore_index=True)
    rows: list[dict[str, Any]] = []
    for (model, set_name), mine in units.groupby(["model", "set"], sort=True):
        here = scores[(scores["model"] == model) & (scores["set"] == set_name)]
        for metric, part in here.groupby("metric", sort=False):
            rows += _rows(str(metric), part, mine, classes, folds_are, resamples, seed)
        if classes:
            chosen = (tempered["model"] == model) & (tempered["set"] == set_name)
            rows += _calibration_errors({"": mine, "_calibrated": tempered[chosen]}, classes)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    metric: str,
    part: pd.DataFrame,
    mine: pd.DataFrame,
    classes: Sequence[str],
    folds_are: FoldsAre,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """One metric of one model and set: over all folds, then fold by fold."""
    model, set_name = part["model"].iloc[0], part["set"].iloc[0]
    defined = part["value"].dropna()
    common = {"model": model, "set": set_name, "metric": metric}
    summary: dict[str, Any] = {
        **common,
        "split": "all",
        "fold": "all",
        "value": defined.mean() if len(defined) else np.nan,
        "n": mine["unit"].nunique(),
        "n_folds": len(defined),
        "n_undefined": len(part) - len(defined),
    }
    given = None
    if metric in METRICS and metric not in _WITHOUT_BOOTSTRAP and len(defined):
        first = mine[mine["split"] == 1]
        given = bootstrap_interval(first, METRICS[metric], classes, resamples=resamples, seed=seed)
        summary |= {"given_low": given.low, "given_high": given.high}
    found = over_folds(part["value"].to_numpy(), mine, folds_are, seed) if len(part) > 1 else given
    if found is not None:
        summary |= {"ci_low": found.low, "ci_high": found.high, "interval": f"{found.label}: {found.method}"}
    if len(part) == 1:
        return [summary]
    single = [
        {**common, "split": str(row.split), "fold": str(row.fold), "value": row.value, "n": row.n_units}
        for row in part.itertuples()
    ]
    return [summary, *single]


def _calibration_errors(tables: Mapping[str, pd.DataFrame], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Take the expected calibration error over all folds of a split together; left out below 200 units."""
    rows = []
    for suffix, table in tables.items():
        values = []
        for _, part in table.groupby("split"):
            if len(part) >= SMALLEST_CALIBRATION_SAMPLE:
                values.append(expected_calibration_error(*labels_and_scores(part, classes)))
        if values:
            first = table.iloc[0]
            rows.append(
                {
                    "model": first["model"], "set": first["set"], "split": "all", "fold": "all",
                    "metric": f"{_ECE}{suffix}", "value": float(np.mean(values)), "n": table["unit"].nunique(),
                    "n_folds": len(values), "n_undefined": 0,
                }
            )  # fmt: skip
    return rows


def table_by_value(
    units: pd.DataFrame, splits: pd.DataFrame, column: str, classes: Sequence[str], n_training: Mapping[int, int]
) -> pd.DataFrame:
    """How every model did on every left-out value (site).

    Parameters
    ----------
    units : DataFrame
        Out-of-fold units of all models.
    splits : DataFrame
        Table of the splits; ``group`` holds the value.
    column : str
        What was left out, for instance ``site``.
    classes : sequence of str
        Class names; empty for a continuous target.
    n_training : mapping of int to int
        Groups that each fold was trained on.

    Returns
    -------
    DataFrame
        ``fold``, the column (pooled values joined by a comma), ``model``, ``n``, one ``n_<class>`` per class,
        ``n_training``, and the metrics.
    """
    names = splits.groupby("fold")["group"].agg(lambda values: ", ".join(sorted(set(values))))
    wanted = ["auc", "balanced_accuracy", "log_loss"] if classes else ["mae", "r"]
    rows = []
    for (fold, model), part in units[units["set"] == "development"].groupby(["fold", "model"], sort=True):
        labels, scores = labels_and_scores(part, classes)
        row: dict[str, Any] = {"fold": fold, column: names.loc[int(str(fold))], "model": model, "n": len(part)}
        row |= {f"n_{name}": int((part["label"] == name).sum()) for name in classes}
        row["n_training"] = n_training.get(int(str(fold)), 0)
        rows.append(row | {name: METRICS[name](labels, scores) for name in wanted})
    return pd.DataFrame(rows)


def score(units: pd.DataFrame, classes: Sequence[str], covariates: Sequence[str] = ()) -> pd.DataFrame:
    """Every metric of every model in every fold.

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.evaluation.metrics.unit_predictions`.
    classes : sequence of str
        Class names; empty for a continuous target.
    covariates : sequence of str
        Columns of ``units`` for the partial correlation of a continuous target.

    Returns
    -------
    DataFrame
        ``model``, ``set``, ``split``, ``fold``, ``metric``, ``value`` (NaN where undefined), ``n_units``.
        ``auc_within_site``, ``r_within_site`` and ``partial_r`` are there besides the metrics of the target.
    """
    metrics = CLASS_METRICS if classes else VALUE_METRICS
    rows = []
    for key, fold in units.groupby(list(KEYS), sort=True):
        labels, scores = labels_and_scores(fold, classes)
        values = {name: metric(labels, scores) for name, metric in metrics.items()}
        if classes:
            values["auc_within_site"] = auc_within_site(fold, classes)
        else:
            values["r_within_site"] = r_within_site(fold)
            values["partial_r"] = partial_r(labels, scores[:, 0], fold[list(covariates)]) if covariates else np.nan
        rows += [(*key, name, value, len(fold)) for name, value in values.items()]
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "value", "n_units"])


def auc_within_site(units: pd.DataFrame, classes: Sequence[str]) -> float:
    """AUC over pairs from one site only, so that a site's share of patients can not earn anything.

    The sites' AUC are weighted by their number of pairs; macro one-vs-rest. NaN where no site has two classes.
    """
    labels = class_indices(units["label"], classes)
    logits = units[score_columns(classes)].to_numpy(dtype=np.float64)
    if len(classes) == 2:
        return _site_auc(units["site"], labels == 1, logits[:, 1] - logits[:, 0])
    against = one_vs_rest(logits)
    return float(np.mean([_site_auc(units["site"], labels == c, against[:, c]) for c in range(len(classes))]))


def _site_auc(site: pd.Series[str], positive: NDArray[np.bool_], value: Floats) -> float:
    total, pairs = 0.0, 0
    for rows in site.groupby(site.to_numpy()).indices.values():
        here = int(positive[rows].sum())
        count = here * (len(rows) - here)
        if count:
            total += count * binary_auc(positive[rows], value[rows])
            pairs += count
    return total / pairs if pairs else float("nan")


def r_within_site(units: pd.DataFrame) -> float:
    """Pearson correlation of truth and prediction, each about the mean of its site; sites of one unit are left out."""
    many = units[units.groupby("site")["unit"].transform("size") > 1]
    if many.empty:
        return float("nan")
    truth = many["label"].astype(float) - many.groupby("site")["label"].transform("mean").astype(float)
    guess = many["prediction"] - many.groupby("site")["prediction"].transform("mean")
    return correlation(np.asarray(truth, dtype=np.float64), np.asarray(guess, dtype=np.float64))


def partial_r(values: Floats, predicted: Floats, covariates: pd.DataFrame) -> float:
    """Pearson correlation of truth and prediction after both were regressed on covariates.

    Parameters
    ----------
    values, predicted : array, shape (n,)
        Truth and prediction of one fold.
    covariates : DataFrame
        n rows; words are coded as one column per value, a missing number takes the median.

    Returns
    -------
    float
        NaN where the covariates leave fewer than three degrees of freedom or nothing to correlate.
    """
    numbers = covariates.select_dtypes("number")
    words = covariates.drop(columns=numbers.columns).astype(str)
    blocks = [np.ones((len(covariates), 1)), numbers.fillna(numbers.median()).fillna(0.0).to_numpy(dtype=np.float64)]
    if words.shape[1]:
        blocks.append(pd.get_dummies(words, dtype=float).to_numpy())
    design = np.hstack(blocks)
    if len(values) - np.linalg.matrix_rank(design) < 3:
        return float("nan")
    both = np.column_stack([values, predicted])
    left = both - design @ np.linalg.lstsq(design, both, rcond=None)[0]
    # What a covariate explains whole leaves rounding noise, which must not be correlated.
    if (left.std(axis=0) <= 1e-9 * np.maximum(both.std(axis=0), 1e-300)).any():
        return float("nan")
    return correlation(left[:, 0], left[:, 1])
