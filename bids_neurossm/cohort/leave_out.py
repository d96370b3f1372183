"""Which values of a column are left out on their own: a site of four people can not be judged, and is pooled."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.cohort.split_table import named
from bids_neurossm.config import TargetType
from bids_neurossm.errors import LabelError

#: Fewer participants of a value, or of a class in it, are too few to judge a model on (docs/methods.md, section 2).
PARTICIPANTS_PER_VALUE = 10
PARTICIPANTS_PER_CLASS = 5
#: Below so many left-out values no sign-flip test can reach p = .05 (2 / 2^5 = .0625).
VALUES_FOR_A_TEST = 6


def folds_of_values(
    runs: pd.DataFrame, value: pd.Series[str], classes: list[str], target_type: TargetType, column: str
) -> tuple[pd.Series[int], list[str]]:
    """Give every value of a column its fold.

    A value with at least 10 participants, and with 5 of every class, is a fold of its own. The others are pooled into
    one fold; where even the pool is smaller than that, it is added to the smallest value that stands alone.

    Parameters
    ----------
    runs : DataFrame
        ``participant_id`` and ``label``.
    value : Series of str
        What is left out together, for every participant (by its identifier).
    classes : list of str
        Class names; empty for a continuous target.
    target_type : {"class", "continuous"}
        A continuous target needs the participants only.
    column : str
        Its name, for messages.

    Returns
    -------
    folds : Series of int
        1 to K, by value.
    notes : list of str
        What was pooled, and whether the folds are enough for a test.

    Raises
    ------
    LabelError
        If fewer than two folds come out.
    """
    counts = _counts(runs, value, classes, target_type)
    alone = _enough(counts, target_type)
    large, small = counts[alone], counts[~alone]
    folds = pd.Series(range(1, len(large) + 1), index=large.index, dtype="int64")
    notes: list[str] = []
    rule = f"fewer than {PARTICIPANTS_PER_VALUE} participants"
    rule += f" or {PARTICIPANTS_PER_CLASS} of a class" if target_type == "class" else ""
    if len(small):
        pool = small.sum(axis=0).to_frame("pool").T
        host = None if _enough(pool, target_type).iloc[0] or large.empty else large["all"].idxmin()
        number = len(large) + 1 if host is None else int(folds.loc[str(host)])
        folds = pd.concat([folds, pd.Series(number, index=small.index, dtype="int64")])
        listed = named([f"{name} ({int(count)})" for name, count in small["all"].items()])
        where = "together as one fold" if host is None else f"together with {host}, the smallest of the others"
        have = "has" if len(small) == 1 else "have"
        notes.append(f"--leave-out {column}: {listed} {have} {rule}, and {have} been left out {where}.")
    number_of_folds = int(folds.max())
    if number_of_folds < 2:
        raise LabelError(
            f"--leave-out {column} needs two values that can be judged; of the {len(counts)} values "
            f"{len(large)} can, the others have {rule}. Use --group-by {column} instead."
        )
    if number_of_folds < VALUES_FOR_A_TEST:
        notes.append(
            f"--leave-out {column} gives {number_of_folds} folds; a sign-flip test needs {VALUES_FOR_A_TEST} for "
            "p < .05, so that no difference can be shown."
        )
    return folds, notes


def _counts(runs: pd.DataFrame, value: pd.Series[str], classes: list[str], target_type: TargetType) -> pd.DataFrame:
    """Participants of every value: ``all``, and one column per class."""
    people = runs[["participant_id", "label"]].astype({"participant_id": str}).drop_duplicates()
    people["value"] = value.reindex(people["participant_id"]).to_numpy()
    counts = people.groupby("value")["participant_id"].nunique().to_frame("all")
    if target_type == "class":
        by_class = pd.crosstab(people["value"], people["label"].astype(str)).reindex(columns=classes, fill_value=0)
        counts = counts.join(by_class)
    return counts.sort_index()


def _enough(counts: pd.DataFrame, target_type: TargetType) -> pd.Series[bool]:
    enough = counts["all"] >= PARTICIPANTS_PER_VALUE
    if target_type == "class":
        enough &= (counts.drop(columns="all") >= PARTICIPANTS_PER_CLASS).all(axis=1)
    return enough
