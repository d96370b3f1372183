"""What training anew on altered data says of time, of chance, and of the number of participants.

See `bids_neurossm.cohort.surrogates` for the alterations, and docs/methods.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.cohort.surrogates import PHASE_RANDOMISATION, TIME_SHUFFLE
from bids_neurossm.controls.permutation import COLUMNS, against_null, control_table
from bids_neurossm.evaluation.comparison import SIGNIFICANCE, FoldsAre, compare, over_folds
from bids_neurossm.evaluation.intervals import Interval, nadeau_bengio_interval
from bids_neurossm.evaluation.metric_names import lower_is_better, metric_words
from bids_neurossm.evaluation.metrics import Floats, values_by_fold

#: What each alteration takes away, as the subject of a sentence and as what is left out.
_TAKEN = {
    TIME_SHUFFLE: ("the order of the volumes in time", "volumes in random order"),
    PHASE_RANDOMISATION: (
        "dynamics beyond lagged covariance (what phase randomisation destroys)",
        "randomised phases",
    ),
}
_LABELS = {
    TIME_SHUFFLE: "time shuffled in training and test, retrained",
    PHASE_RANDOMISATION: "phases randomised in training and test, retrained",
}


def altered_series_table(
    units: pd.DataFrame, altered: Mapping[str, pd.DataFrame], model: str, classes: Sequence[str], folds_are: FoldsAre
) -> pd.DataFrame:
    """Set the model against itself, trained and tested on altered series, on the same folds.

    Parameters
    ----------
    units : DataFrame
        Out-of-fold units of the model.
    altered : mapping of str to DataFrame
        The same units as predicted by each retrained variant.
    model : str
        Its name.
    classes : sequence of str
        Class names; empty for a continuous target.
    folds_are : {"random", "sites"}
        As in :func:`bids_neurossm.evaluation.comparison.compare`.

    Returns
    -------
    DataFrame
        Rows of ``compare`` with the variant as ``baseline``.
    """
    own = units[(units["model"] == model) & (units["set"] == "development")]
    frames = [own, *(part.assign(model=variant) for variant, part in altered.items())]
    return compare(pd.concat(frames, ignore_index=True), model, classes, folds_are=folds_are)


def altered_series_controls(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rows of ``controls.tsv`` from :func:`altered_series_table`: what follows for time and for dynamics."""
    rows = []
    shown: list[dict[Any, Any]] = table[table["metric"] == metric].to_dict(orient="records")
    for row in shown:
        subject, condition = _TAKEN[row["baseline"]]
        better = row["difference"] < 0 if lower_is_better(metric) else row["difference"] > 0
        figures = (
            f"{metric_words(metric)} {row['model_value']:.3f}, and {row['baseline_value']:.3f} with {condition}; "
            f"difference {row['difference']:+.3f}, 95 % interval {row['low']:+.3f} to {row['high']:+.3f}, "
            f"p = {row['p']:.3g}"
        )
        if not np.isfinite(row["p"]):
            verdict = f"can not be tested ({figures})"
        elif row["p"] < SIGNIFICANCE and better:
            verdict = f"the model uses {subject} ({figures})"
        elif row["p"] < SIGNIFICANCE:
            verdict = f"the model does better without {subject} ({figures})"
        else:
            verdict = f"the model is not shown to use {subject} ({figures})"
        values = (row["model_value"], row["baseline_value"], np.nan, row["p"], row["n_folds"])
        rows.append((_LABELS[row["baseline"]], metric, *values, verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def retrained_null_control(observed: float, null: Sequence[float], metric: str, where: str) -> pd.DataFrame:
    """Row of ``controls.tsv``: the model against itself, trained anew on permuted labels N times.

    Parameters
    ----------
    observed : float
        Figure of the model with the true labels, with as many seeds and splits as the null has.
    null : sequence of float
        One figure per set of permuted labels.
    metric : str
        Name.
    where : str
        Where labels were permuted.
    """
    found = against_null(observed, np.asarray(null, dtype=np.float64), metric)
    least = 1 / (1 + found.n)
    if not np.isfinite(found.p):
        verdict = "can not be tested: not defined in any fold"
    elif found.p <= SIGNIFICANCE:
        verdict = f"the labels are predicted better than chance (p = {found.p:.3g}, {found.n} retrained nulls)"
    elif least > SIGNIFICANCE:
        verdict = (
            f"too few nulls to tell: with {found.n} of them p can not fall below {least:.2g}; it is {found.p:.3g} "
            "(--retrained-nulls 19 is the least for .05, 99 are better)"
        )
    else:
        verdict = f"nothing learned: chance does as well (p = {found.p:.3g}, {found.n} retrained nulls)"
    label = f"labels permuted {where}, model retrained (N = {len(null)})"
    return control_table([(label, metric, found, verdict)])


def learning_curve_table(
    parts: Mapping[int, pd.DataFrame],
    n_training: Mapping[tuple[str, int], float],
    model: str,
    classes: Sequence[str],
    metric: str,
    folds_are: FoldsAre,
) -> tuple[pd.DataFrame, str]:
    """Figures of every model against the share of the training set that it had, tested on the same folds.

    Parameters
    ----------
    parts : mapping of int to DataFrame
        Percent of the training groups to the units of all models; 100 is the analysis itself, one seed.
    n_training : mapping
        (model, percent) to the mean number of groups trained on.
    model : str
        The model that is judged.
    classes : sequence of str
        Class names; empty for a continuous target.
    metric : str
        What the curve shows.
    folds_are : {"random", "sites"}
        For the interval.

    Returns
    -------
    table : DataFrame
        ``model``, ``percent``, ``n_training``, ``metric``, ``value``, ``ci_low``, ``ci_high``, ``interval``,
        ``n_folds``.
    sentence : str
        Whether more participants are shown to help.
    """
    rows = []
    values: dict[tuple[str, int], Floats] = {}
    sizes: dict[str, pd.DataFrame] = {}
    for percent in sorted(parts):
        for name, part in parts[percent].groupby("model", sort=True):
            key = (str(name), percent)
            values[key] = values_by_fold(part, classes, metric)
            sizes[str(name)] = part
            found = _curve_interval(values[key], part, n_training[key], folds_are)
            rows.append(
                (name, percent, n_training[key], metric, found.estimate, found.low, found.high,
                 f"{found.label}: {found.method}", found.n)
            )  # fmt: skip
    columns = ["model", "percent", "n_training", "metric", "value", "ci_low", "ci_high", "interval", "n_folds"]
    table = pd.DataFrame(rows, columns=columns)
    middle = min((percent for percent in parts if percent != 100), key=lambda percent: abs(percent - 50))
    gain = over_folds(values[(model, 100)] - values[(model, middle)], sizes[model], folds_are)
    smaller = -1.0 if lower_is_better(metric) else 1.0
    helps = gain.p < SIGNIFICANCE and smaller * gain.estimate > 0
    evidence = f"95 % interval {gain.low:+.3f} to {gain.high:+.3f}, p = {gain.p:.3g}"
    sentence = (
        f"Learning curve: from {middle} % of the training groups ({n_training[(model, middle)]:.0f}) to all "
        f"({n_training[(model, 100)]:.0f}) the {metric_words(metric)} of {model} changed by {gain.estimate:+.3f} "
        f"({evidence if np.isfinite(gain.p) else 'no test, as all folds are alike'}): more participants are "
        f"{'shown' if helps else 'not shown'} to help."
    )
    return table, sentence


def _curve_interval(values: Floats, units: pd.DataFrame, n_training: float, folds_are: FoldsAre) -> Interval:
    if folds_are == "sites":
        return over_folds(values, units, folds_are)
    tested = units.groupby(["split", "fold"])["group"].nunique().mean()
    return nadeau_bengio_interval(values, float(tested) / n_training)
