"""Probes: what connectivity tells of motion and of the site (docs/methods.md, section 2)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.baselines.linear_solver import fit_linear
from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.controls.permutation import (
    AgainstNull,
    against_null,
    control_table,
    null_verdict,
    null_widening,
    permuted_scores,
)
from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.metrics import Floats, mean_over_folds, prediction_frame, unit_predictions


def probes(
    cohort: Cohort, splits: Splits, *, permutations: int = 1000, seed: int = 0, features: Floats | None = None
) -> pd.DataFrame:
    """Predict motion and site from the same connectivity on the same folds.

    What the features tell about motion or site, a model of the target can use; whether the classes differ in them is
    told by :func:`bids_neurossm.controls.confounds.confounds`. Scored per participant, against labels permuted within
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
    null, _ = permuted_scores(units, classes, name, ["split", "fold"], permutations, seed)
    return against_null(mean_over_folds(units, classes, name), null, name, null_widening(units))
