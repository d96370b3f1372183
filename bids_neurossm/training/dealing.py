"""What belongs together and how it is dealt: the participants of a cohort, their groups, and balanced folds.

The steps under :mod:`bids_neurossm.training.splits`, which holds the rules.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bids_neurossm.config import TargetType
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


def named(names: Sequence[str]) -> str:
    """List a handful of names and say how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
