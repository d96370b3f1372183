"""Probabilities that mean what they say: one temperature per model, fitted on logits of people it did not learn from.

Guo et al., 2017, ICML, "On calibration of modern neural networks", section 4.2. Attributions use the raw logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bids_neurossm.evaluation.metrics import (
    KEYS,
    development_of_others,
    fit_temperature,
    labels_and_scores,
    log_loss,
    score_columns,
)

#: A gain in log loss below this is rounding.
_SMALLEST_GAIN = 1e-9


def temperatures(units: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Temperature of every model in every fold.

    For a fold it is fitted on the out-of-fold logits of the other folds of the same split, for the holdout on those
    of the whole development set: never on the units that it is applied to. (The models of the other folds learned
    from this fold's units, so that within the cross-validation one number per fold is not wholly independent of them.
    On a holdout it is.)

    Parameters
    ----------
    units : DataFrame
        From :func:`bids_neurossm.evaluation.metrics.unit_predictions`.
    classes : sequence of str
        Class names; a continuous target has no temperature.

    Returns
    -------
    DataFrame
        ``model``, ``set``, ``split``, ``fold``, ``temperature`` (1 where there is nothing to fit it on).
    """
    rows = []
    for (model, set_name, split, fold), _ in units.groupby(list(KEYS), sort=True):
        others = development_of_others(units, model, set_name, split, fold)
        rows.append((model, set_name, split, fold, _temperature(others, classes)))
    return pd.DataFrame(rows, columns=[*KEYS, "temperature"])


def _temperature(units: pd.DataFrame, classes: Sequence[str]) -> float:
    if units.empty or not classes:
        return 1.0
    labels, logits = labels_and_scores(units, classes)
    found = fit_temperature(labels, logits)
    # Logits that are all alike are served by any temperature.
    return found if log_loss(labels, logits) - log_loss(labels, logits / found) > _SMALLEST_GAIN else 1.0


def calibrated(units: pd.DataFrame, found: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Divide the logits by their temperature.

    Parameters
    ----------
    units : DataFrame
        Raw logits.
    found : DataFrame
        From :func:`temperatures`.
    classes : sequence of str
        Class names.

    Returns
    -------
    DataFrame
        `units` in the same order, with ``temperature`` as a further column.
    """
    table = units.merge(found, on=list(KEYS), how="left", validate="many_to_one")
    names = score_columns(classes) if classes else []
    if names:
        table[names] = table[names].to_numpy(dtype=np.float64) / table[["temperature"]].to_numpy(dtype=np.float64)
    return table
