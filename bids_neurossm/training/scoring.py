"""Tables of metrics: fold by fold, within sites, given covariates, and their means over folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.training.metrics import (
    CLASS_METRICS,
    KEYS,
    VALUE_METRICS,
    Floats,
    binary_auc,
    class_indices,
    correlation,
    labels_and_scores,
    one_vs_rest,
    score_columns,
)


def score(units: pd.DataFrame, classes: Sequence[str], covariates: Sequence[str] = ()) -> pd.DataFrame:
    """Every metric of every model in every fold.

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.training.metrics.unit_predictions`.
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


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of every metric over the folds (and re-splits) where it is defined.

    Parameters
    ----------
    scores : DataFrame
        From :func:`score`.

    Returns
    -------
    DataFrame
        ``model``, ``set``, ``metric``, ``mean``, ``sd`` (over folds), ``n_folds`` (that entered) and ``n_undefined``.
    """
    by = scores.groupby(["model", "set", "metric"], sort=False)["value"]
    table = by.agg(mean="mean", sd="std", n_folds="count", size="size").reset_index()
    table["n_undefined"] = table.pop("size") - table["n_folds"]
    return table


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
