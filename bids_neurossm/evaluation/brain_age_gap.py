"""Gaps between predicted and true age, and what is left of them when their trend with age is taken off.

A model that is unsure predicts towards the mean age of its training participants, so that young people come out too old
and old people too young: the gap (predicted less true age) goes with age itself, and whoever correlates it with
anything that changes with age finds age. The trend is a line, fitted on people whom the correction is not applied to
(Beheshti et al., 2019, NeuroImage: Clinical 24:102063; de Lange & Cole, 2020, NeuroImage: Clinical 26:102229).

A corrected gap is made with the true age. It is no prediction: no metric and no comparison uses it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_neurossm.evaluation.metrics import KEYS, correlation, development_of_others, labels_and_scores

#: Fewer people than this make no line.
FEWEST = 10
GAP_COLUMNS = ("model", "set", "split", "fold", "participant_id", "unit", "age", "predicted", "gap", "gap_corrected")
TREND_COLUMNS = ("model", "set", "n", "mae", "years_per_year", "r_gap_age", "r_gap_age_corrected")


def age_gaps(units: pd.DataFrame) -> pd.DataFrame:
    """Gap of every unit, as it is and corrected.

    The line of a fold is fitted on the out-of-fold predictions of the other folds of the same split, that of the
    holdout on those of the whole development set.

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.evaluation.metrics.unit_predictions`; the label is age in years.

    Returns
    -------
    DataFrame
        :data:`GAP_COLUMNS`; ``gap_corrected`` is NaN where fewer than 10 people of other folds are there to fit a line
        on, or all are of one age.
    """
    age, predicted = labels_and_scores(units, ())
    table = units.assign(age=age, predicted=predicted[:, 0], gap=predicted[:, 0] - age, gap_corrected=np.nan)
    for (model, set_name, split, fold), part in table.groupby(list(KEYS), sort=True):
        others = development_of_others(table, model, set_name, split, fold)
        if len(others) >= FEWEST and np.ptp(others["age"].to_numpy()) > 0:
            slope, intercept = np.polyfit(others["age"], others["gap"], 1)
            table.loc[part.index, "gap_corrected"] = part["gap"] - (intercept + slope * part["age"])
    return table[list(GAP_COLUMNS)]


def age_trend(gaps: pd.DataFrame) -> pd.DataFrame:
    """How far the gaps of each model go with age, before and after the correction.

    Parameters
    ----------
    gaps : DataFrame
        From :func:`age_gaps`.

    Returns
    -------
    DataFrame
        :data:`TREND_COLUMNS`: ``years_per_year`` is the slope of the uncorrected gap on age (0: no bias, -1: everybody
        is given the same age), ``mae`` the mean uncorrected gap without its sign.
    """
    rows = []
    for (model, set_name), part in gaps[gaps["split"] == 1].groupby(["model", "set"], sort=True):
        age, gap = part["age"].to_numpy(dtype=np.float64), part["gap"].to_numpy(dtype=np.float64)
        known = part["gap_corrected"].notna().to_numpy()
        slope = float(np.polyfit(age, gap, 1)[0]) if len(part) > 1 and np.ptp(age) > 0 else float("nan")
        corrected = part["gap_corrected"].to_numpy(dtype=np.float64)
        rows.append(
            (model, set_name, len(part), float(np.abs(gap).mean()), slope, correlation(age, gap),
             correlation(age[known], corrected[known]))
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(TREND_COLUMNS))
