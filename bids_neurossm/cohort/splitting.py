"""Making splits: holdout, folds and repeats, grouped by participant, balanced over labels and sites.

The rules are those of docs/methods.md, section 2. All runs of a participant, and of everything that shares its group
(a family, a site), fall on one side of every split. The result depends on the seed and on who is in the cohort, never
on the order of the rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from bids_neurossm.cohort.leave_out import folds_of_values
from bids_neurossm.cohort.split_table import Splits, check_left_out, named, read_splits
from bids_neurossm.config import Evaluation, TargetType
from bids_neurossm.errors import LabelError

#: A smaller holdout says too little about a class (docs/methods.md, section 2).
GROUPS_PER_CLASS = 20
#: A continuous target counts as two classes, its lower and its upper half.
GROUPS_CONTINUOUS = 2 * GROUPS_PER_CLASS
DEFAULT_HOLDOUT = 0.2


def participant_table(
    runs: pd.DataFrame,
    classes: Sequence[str],
    target_type: TargetType,
    group_by: str | None,
    folds: int,
    stratify_site: bool,
    notes: list[str],
) -> pd.DataFrame:
    """One row per participant, sorted: ``participant_id``, ``group``, ``label``, ``stratum``, ``site``."""
    if group_by is not None and group_by not in runs:
        raise LabelError(f"--group-by {group_by}: the runs have no such column; they have {', '.join(runs.columns)}.")
    participants = runs["participant_id"].astype(str)
    _require_labels(runs, participants, classes, target_type)
    by = runs["label"].groupby(participants.to_numpy(), sort=True)
    people = pd.DataFrame(index=sorted(set(participants)))
    if target_type == "class":
        people["label"] = by.agg(lambda labels: ", ".join(sorted(set(labels.astype(str)))))
        people["stratum"] = people["label"]
    else:
        people["label"] = by.mean().astype(float)
        bins = int(np.clip(len(people) // (2 * folds), 1, 5))
        ranks = people["label"].rank(method="average")
        people["stratum"] = np.minimum((ranks - 1) * bins // max(len(people), 1), bins - 1).astype(int).astype(str)
    column = group_by or ("group" if "group" in runs else "participant_id")
    people["group"] = _groups(participants, runs[column], notes)
    site = runs["site"].astype("string").fillna("") if stratify_site and "site" in runs else None
    people["site"] = "" if site is None else site.groupby(participants.to_numpy()).min()
    return people.rename_axis("participant_id").reset_index()


def _require_labels(
    runs: pd.DataFrame, participants: pd.Series[str], classes: Sequence[str], target_type: TargetType
) -> None:
    if runs.empty:
        raise LabelError("There is no run to split.")
    if target_type == "continuous":
        values = pd.to_numeric(runs["label"], errors="coerce").to_numpy(dtype=float)
        bad = ~np.isfinite(values)
        if bad.any():
            raise LabelError(f"{named(sorted(set(participants[bad])))} have no finite value of the target.")
        if np.ptp(values) == 0:
            raise LabelError(f"Every run has the target value {values[0]:g}: there is nothing to predict.")
        return
    unknown = ~runs["label"].isin(list(classes)).to_numpy()
    if unknown.any():
        row = runs[unknown].iloc[0]
        raise LabelError(
            f"{row['participant_id']} has the label {row['label']!r}, none of the classes {', '.join(classes)}."
        )
    if runs["label"].nunique() < 2:
        raise LabelError(f"All {len(runs)} runs have the label {runs['label'].iloc[0]!r}: two classes are needed.")


def _groups(participants: pd.Series[str], groups: pd.Series[str], notes: list[str]) -> pd.Series[str]:
    """Name of the group of every participant; groups that share a participant become one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    texts = groups.astype("string").fillna("").to_numpy(dtype=str)
    of_run = np.where(texts == "", participants.to_numpy(dtype=str), texts)
    people, names = sorted(set(participants)), sorted(set(of_run.tolist()))
    rows = np.searchsorted(people, participants.to_numpy(dtype=str))
    columns = np.searchsorted(names, of_run) + len(people)
    size = len(people) + len(names)
    tied = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size)), directed=False)[1]
    name_of: dict[int, str] = {}
    for component, name in zip(tied[len(people) :], names, strict=True):
        if int(component) in name_of:
            notes.append(f"Group {name} shares a participant with {name_of[int(component)]}: they are kept together.")
        name_of.setdefault(int(component), name)
    return pd.Series([name_of[int(component)] for component in tied[: len(people)]], index=people)


def memberships(
    runs: pd.DataFrame, people: pd.DataFrame, classes: Sequence[str], target_type: TargetType
) -> pd.DataFrame:
    """Every pair of a group and a label that occurs in it; a continuous target is one label."""
    group = people.set_index("participant_id")["group"].reindex(runs["participant_id"].astype(str)).to_numpy()
    label = runs["label"].to_numpy(dtype=str) if target_type == "class" else np.full(len(runs), "the target")
    pairs = pd.DataFrame({"group": group, "label": label}).drop_duplicates()
    order = list(classes) if target_type == "class" else ["the target"]
    return pairs.assign(label=pd.Categorical(pairs["label"], categories=order))


def groups_per_label(membership: pd.DataFrame) -> pd.Series[int]:
    """Count the groups in which each label occurs, labels without one included."""
    counts: pd.Series[int] = membership["label"].value_counts(sort=False)
    return counts


def set_aside(
    people: pd.DataFrame,
    membership: pd.DataFrame,
    share: float | None,
    target_type: TargetType,
    random: np.random.Generator,
    notes: list[str],
) -> set[str]:
    """Choose the groups of a holdout: every 1/share-th of the groups ordered by label, site and chance."""
    if share == 0:
        notes.append("No holdout was asked for; out-of-fold predictions take its place.")
        return set()
    groups = people.groupby("group", sort=True).agg(
        stratum=("stratum", lambda values: ", ".join(sorted(set(values)))), site=("site", "min")
    )
    order = groups.assign(draw=random.random(len(groups))).sort_values(["stratum", "site", "draw"]).index
    wanted = DEFAULT_HOLDOUT if share is None else share
    steps = np.floor(np.arange(len(order) + 1) * wanted + random.random())
    aside = {str(group) for group in order[np.diff(steps) > 0]}
    least = GROUPS_PER_CLASS if target_type == "class" else GROUPS_CONTINUOUS
    counts = groups_per_label(membership[membership["group"].isin(aside)])
    rarest = f"{int(counts.min())} groups of {counts.idxmin()}"
    if share is None and counts.min() < least:
        notes.append(
            f"No holdout: one fifth of the groups would hold only {rarest}, and {least} are needed; "
            "out-of-fold predictions take its place."
        )
        return set()
    if counts.min() < least:
        notes.append(f"The holdout that was asked for holds only {rarest}; below {least} its figures are unsteady.")
    return aside


def deal_folds(people: pd.DataFrame, folds: int, seed: int) -> pd.Series[int]:
    """Fold (1 to K) of every participant, indexed like ``people``."""
    random = np.random.default_rng([seed, 1])
    if people["group"].is_unique:
        # Dealt like cards, label by label and within it site by site: both are balanced to within one participant.
        order = people.assign(draw=random.random(len(people))).sort_values(["stratum", "site", "draw"]).index
        names = random.permutation(folds) + 1
        return pd.Series(names[np.arange(len(order)) % folds], index=order).reindex(people.index)
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(random.integers(2**31)))
    dealt = pd.Series(0, index=people.index)
    with warnings.catch_warnings():
        # A joint label may have fewer members than folds; classes proper are counted by the caller.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        strata, groups = people["stratum"].to_numpy(), people["group"].to_numpy()
        for number, (_, test) in enumerate(splitter.split(strata, strata, groups), start=1):
            dealt.iloc[test] = number
    return dealt


def make_splits(
    runs: pd.DataFrame,
    classes: Sequence[str],
    target_type: TargetType,
    folds: int,
    holdout: float | None,
    group_by: str | None,
    seed: int,
    stratify_site: bool = True,
) -> Splits:
    """Set a holdout aside and deal the rest into folds.

    Parameters
    ----------
    runs : DataFrame
        One row per run with ``participant_id``, ``label`` and, where known, ``group`` and ``site``.
    classes : sequence of str
        Names of the classes; ignored for a continuous target.
    target_type : {"class", "continuous"}
        A continuous target is balanced over its quantiles.
    folds : int
        Number of folds K, at least 2.
    holdout : float or None
        Share of the groups set aside (0 for none). None sets one fifth aside where that leaves at least 20 groups of
        every class in the holdout (40 groups for a continuous target), else nothing; the reason is in ``notes``.
    group_by : str or None
        Column of ``runs`` whose values stay together; None takes the column ``group``, else the participant.
    seed : int
        Seed of everything random.
    stratify_site : bool
        Balance label x site instead of label alone, where ``site`` has values.

    Returns
    -------
    Splits
        The splits. Where every group is one participant, the size of a label (and of a label in a site) differs by at
        most one between folds.

    Raises
    ------
    LabelError
        If a label is missing or unknown, there is a single class, or a class has fewer groups than there are folds.
    """
    notes: list[str] = []
    people = participant_table(runs, classes, target_type, group_by, folds, stratify_site, notes)
    membership = memberships(runs, people, classes, target_type)
    _require_groups(membership, folds, "in the cohort")
    aside = set_aside(people, membership, holdout, target_type, np.random.default_rng([seed, 0]), notes)
    developing = people[~people["group"].isin(aside)]
    _require_groups(membership[membership["group"].isin(developing["group"])], folds, "outside the holdout", classes)
    table = people[["participant_id", "group", "label"]].copy()
    table["set"] = np.where(people["group"].isin(aside), "holdout", "development")
    table["fold"] = deal_folds(developing, folds, seed).reindex(people.index, fill_value=0).astype(np.int64)
    _require_trainable(table, membership)
    return Splits(table.reset_index(drop=True), tuple(notes))


def resplit(
    splits: Splits,
    runs: pd.DataFrame,
    classes: Sequence[str],
    target_type: TargetType,
    seed: int,
    stratify_site: bool = True,
) -> Splits:
    """Deal the development set anew, for repeated cross-validation; the holdout and the groups stay as they are.

    Parameters are those of :func:`make_splits`.
    """
    groups = splits.table.set_index("participant_id")["group"]
    known = runs[runs["participant_id"].astype(str).isin(groups.index)]
    known = known.assign(group=groups.reindex(known["participant_id"].astype(str)).to_numpy())
    people = participant_table(known, classes, target_type, "group", splits.folds, stratify_site, [])
    table = splits.table.copy()
    developing = people[people["participant_id"].isin(table.loc[table["set"] == "development", "participant_id"])]
    dealt = pd.Series(deal_folds(developing, splits.folds, seed).to_numpy(), index=developing["participant_id"])
    table["fold"] = dealt.reindex(table["participant_id"], fill_value=0).to_numpy(dtype=np.int64)
    _require_trainable(table, memberships(known, people, classes, target_type))
    return replace(splits, table=table)


def with_resplits(
    splits: Splits,
    runs: pd.DataFrame,
    classes: Sequence[str],
    target_type: TargetType,
    repeats: int,
    seed: int,
) -> Splits:
    """Add re-splits until there are `repeats` of them, for repeated cross-validation.

    Parameters are those of :func:`make_splits`. The re-splits that are there stay as they are; the one with number r
    depends on the seed and on r alone, so that a longer series of them begins like a shorter one.
    """
    table = splits.table.copy()
    for number in range(splits.repeats + 1, repeats + 1):
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        table[f"fold_{number}"] = resplit(splits.repeat(1), runs, classes, target_type, own).table["fold"].to_numpy()
    return replace(splits, table=table)


def _require_groups(membership: pd.DataFrame, folds: int, where: str, classes: Sequence[str] | None = None) -> None:
    counts = groups_per_label(membership)
    if counts.min() < folds:
        listed = ", ".join(f"{label}: {count}" for label, count in counts.items())
        raise LabelError(
            f"{folds} folds need {folds} independent groups of every class {where}; found {listed}. "
            "Use fewer --folds, a smaller --holdout, or leave the class out."
        )


def _require_trainable(table: pd.DataFrame, membership: pd.DataFrame) -> None:
    """Every fold tests somebody, and trains on every class."""
    fold_of = table.drop_duplicates("group").set_index("group")["fold"]
    fold = fold_of.reindex(membership["group"]).to_numpy()
    for number in range(1, int(table["fold"].max()) + 1):
        if not (table["fold"] == number).any():
            raise LabelError(f"Fold {number} is empty: the groups are too few or too unequal; use fewer --folds.")
        counts = groups_per_label(membership[(fold != number) & (fold != 0)])
        if counts.min() == 0:
            raise LabelError(f"Without fold {number} nobody of class {counts.idxmin()} is left to train on.")


def wanted_splits(
    evaluation: Evaluation, runs: pd.DataFrame, classes: Sequence[str], target_type: TargetType, seed: int
) -> Splits:
    """Make the splits that the settings ask for, or read those that were given.

    Parameters
    ----------
    evaluation : Evaluation
        ``splits``, ``leave_out``, ``folds``, ``holdout``, ``repeats``.
    runs : DataFrame
        Table of the runs.
    classes : sequence of str
        Class names; empty for a continuous target.
    target_type : {"class", "continuous"}
        How the label is meant.
    seed : int
        Of the command.

    Raises
    ------
    LabelError
        If the runs can not be split so, or the file does not fit.
    """
    if evaluation.splits is not None:
        splits = read_splits(evaluation.splits)
        splits.fold_of_runs(runs)
        if evaluation.leave_out is not None:
            check_left_out(splits, runs, evaluation.leave_out)
            return splits
    elif evaluation.leave_out is not None:
        return leave_out_splits(runs, classes, target_type, evaluation.leave_out)
    else:
        splits = make_splits(runs, classes, target_type, evaluation.folds, evaluation.holdout, "group", seed)
    return with_resplits(splits, runs, classes, target_type, evaluation.repeats, seed)


def leave_out_splits(runs: pd.DataFrame, classes: Sequence[str], target_type: TargetType, column: str) -> Splits:
    """Make one fold of every value of a column, for instance leave-site-out; nothing is held out besides.

    Values with too few participants are pooled, see :func:`bids_neurossm.cohort.leave_out.folds_of_values`.

    Raises
    ------
    LabelError
        If the column is absent, has a single value or a missing one, fewer than two values can be judged, or a class
        lives in one value only.
    """
    if column not in runs:
        raise LabelError(f"--leave-out {column}: the runs have no such column; they have {', '.join(runs.columns)}.")
    values = runs[column].astype("string").fillna("")
    if (values == "").any():
        bare = sorted(set(runs.loc[values == "", "participant_id"].astype(str)))
        raise LabelError(f"--leave-out {column}: {named(bare)} have no value of {column}.")
    if values.nunique() < 2:
        raise LabelError(f"--leave-out {column}: every run has the value {values.iloc[0]}; two values are needed.")
    notes: list[str] = []
    people = participant_table(runs, classes, target_type, column, 2, False, notes)
    table = people[["participant_id", "group", "label"]].copy()
    table["set"] = "development"
    if people["group"].nunique() < 2:
        raise LabelError(f"--leave-out {column}: participants tie all values of {column} into one group.")
    value = people.set_index("participant_id")["group"]
    folds, pooled = folds_of_values(runs, value, list(classes), target_type, column)
    table["fold"] = folds.reindex(people["group"]).to_numpy(dtype=np.int64)
    notes += pooled
    _require_trainable(table, memberships(runs, people, classes, target_type))
    return Splits(table.reset_index(drop=True), tuple(notes))
