"""Can the label be read off something that is no brain activity? Site, motion, length, age, sex.

What goes with the label may stand in for it. Here the label is set against each fact of the cohort alone; whether the
features carry the fact too is what the probes of :mod:`bids_neurossm.controls.probes` ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.controls.permutation import against_null, control_table, null_verdict, permuted_within
from bids_neurossm.evaluation.metrics import Floats

#: Numbers that are set against the label, and what they are called in a sentence.
NUMBERS = {
    "mean_fd": "motion (mean_fd)",
    "n_volumes": "length of the run (n_volumes)",
    "repetition_time": "repetition time",
    "age": "age",
}


def confounds(cohort: Cohort, splits: Splits, *, permutations: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Set the label against site, sex, motion, length, repetition time and age, over the development set.

    Participants are the unit (their mean over runs), and labels are permuted over them. Where participants have several
    labels (a target of the run), the run is the unit: its difference from the participant's mean counts, and labels are
    permuted within participants.

    Parameters
    ----------
    cohort : Cohort
        The cohort; a fact is looked at where it is known and varies.
    splits : Splits
        Say who is held out.
    permutations, seed : int
        Number of permutations and seed.

    Returns
    -------
    DataFrame
        Rows of ``controls.tsv``, ``confound: class and site`` ...: Cramer's V for site and sex, the correlation ratio
        (root of the share of the variance that lies between classes) for numbers; for a continuous target the
        correlation ratio of the target over sites, and the absolute correlation. Empty where nothing varies.
    """
    developing, _ = splits.holdout_indices(cohort.runs)
    runs = cohort.runs.iloc[developing]
    continuous = cohort.target_type != "class"
    several = bool((runs.groupby("participant_id")["label"].nunique() > 1).any())
    tables = []
    for name in ("site", "sex"):
        if name in runs:
            known = runs[runs[name].notna() & ~runs[name].astype(str).isin(["", "n/a"])]
            if known[name].nunique() > 1:
                tables.append(_category(known, name, continuous, permutations, seed))
    for name in NUMBERS:
        if name in runs and pd.api.types.is_numeric_dtype(runs[name]):
            known = runs[np.isfinite(runs[name].to_numpy(dtype=np.float64))]
            if known[name].nunique() > 1 and not _is_label(known, name):
                tables.append(_number(known, name, continuous, several, permutations, seed))
    return pd.concat(tables, ignore_index=True) if tables else control_table([])


def _is_label(runs: pd.DataFrame, name: str) -> bool:
    """Whether a column is the label itself."""
    return bool((runs[name].astype(str) == runs["label"].astype(str)).all())


def _category(runs: pd.DataFrame, name: str, continuous: bool, permutations: int, seed: int) -> pd.DataFrame:
    """Label against site or sex, over participants."""
    people = runs[["participant_id", "label", name]].drop_duplicates()
    if _is_label(people, name):
        return control_table([])
    place, label = pd.factorize(people[name], sort=True)[0], people["label"]
    of = {"site": "sites", "sex": "the sexes"}[name]
    random = np.random.default_rng(seed)
    if continuous:
        values = label.to_numpy(dtype=np.float64)
        observed = correlation_ratio(place, values)
        null = np.array([correlation_ratio(place, random.permutation(values)) for _ in range(permutations)])
        result = against_null(observed, null, "correlation_ratio")
        yes, no = f"warning: the target differs between {of}", f"the target differs between {of} no more than by chance"
        verdict = null_verdict(result, yes, no)
        return control_table([(f"confound: target and {name}", "correlation_ratio", result, verdict)])
    codes = pd.factorize(label, sort=True)[0]
    observed = cramers_v(place, codes)
    null = np.array([cramers_v(place, random.permutation(codes)) for _ in range(permutations)])
    result = against_null(observed, null, "cramers_v")
    words = f"warning: classes are spread unevenly over {of}", f"classes are spread over {of} as by chance"
    verdict = null_verdict(result, *words)
    if (people.groupby(name)["label"].nunique() == 1).all():
        verdict = (
            f"warning: class and {name} are perfectly confounded (every {name} holds one class): "
            f"a difference between classes can not be told from one between {of}"
        )
    return control_table([(f"confound: class and {name}", "cramers_v", result, verdict)])


def _number(
    runs: pd.DataFrame, name: str, continuous: bool, several: bool, permutations: int, seed: int
) -> pd.DataFrame:
    """Label against a number: over participants, or over runs within participants where these have several labels."""
    runs = runs.assign(value=runs[name].astype(np.float64))
    if several:
        runs = runs.assign(value=runs["value"] - runs.groupby("participant_id")["value"].transform("mean"))
        cells = [np.asarray(rows) for rows in runs.reset_index(drop=True).groupby("participant_id").indices.values()]
    else:
        runs = runs.groupby("participant_id", as_index=False).agg(value=("value", "mean"), label=("label", "first"))
        cells = [np.arange(len(runs))]
    values = runs["value"].to_numpy()
    labels: NDArray[Any] = np.asarray(runs["label"] if continuous else pd.factorize(runs["label"], sort=True)[0])
    measure: Callable[[NDArray[Any], Floats], float] = _absolute_r if continuous else correlation_ratio
    metric = "r" if continuous else "correlation_ratio"
    random = np.random.default_rng(seed)
    null = np.array([measure(permuted_within(labels, cells, random), values) for _ in range(permutations)])
    result = against_null(measure(labels, values), null, metric)
    who, what = ("target", "the target goes with") if continuous else ("class", "classes differ in")
    none = "the target does not go with" if continuous else "classes do not differ in"
    words = f"warning: {what} the {NUMBERS[name]}", f"{none} the {NUMBERS[name]} beyond chance"
    return control_table([(f"confound: {who} and {name}", metric, result, null_verdict(result, *words))])


def correlation_ratio(codes: NDArray[np.int64], values: Floats) -> float:
    """Root of the share of the variance of values (n,) that lies between groups (n,); 0 where nothing varies."""
    centred = values - values.mean()
    total = float(centred @ centred)
    # A spread of rounding errors is none.
    if total <= 1e-18 * max(float(values @ values), 1e-300):
        return 0.0
    counts = np.bincount(codes)
    sums = np.bincount(codes, weights=centred)
    return float(np.sqrt((sums[counts > 0] ** 2 / counts[counts > 0]).sum() / total))


def cramers_v(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Cramer's V of two codes, each (n,), from 0 to 1."""
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    smaller = min(table.shape) - 1
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / (table.sum() * smaller))) if smaller else 0.0


def _absolute_r(labels: Floats, values: Floats) -> float:
    spread = float(np.std(labels) * np.std(values))
    return abs(float(np.mean((labels - labels.mean()) * (values - values.mean())))) / spread if spread > 0 else 0.0
