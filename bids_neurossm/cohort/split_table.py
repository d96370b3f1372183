"""Who is trained on and who is tested: the table of splits, its file, and what is refused of one (a leak)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.errors import LabelError
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.tables import read_table
from bids_neurossm.files.write import write_tsv

COLUMNS = ("participant_id", "group", "label", "set", "fold")


@dataclass(frozen=True)
class Splits:
    """Where every participant stands.

    Parameters
    ----------
    table : DataFrame
        One row per participant, sorted by ``participant_id``: ``participant_id``, ``group``, ``label`` (the labels of
        a participant with several are joined by a comma), ``set`` (``development`` or ``holdout``) and ``fold``
        (1 to K; 0 in the holdout). Re-splits of repeated cross-validation are further columns ``fold_2`` ...
    notes : tuple of str
        Sentences for the report: why there is no holdout, what was merged.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def folds(self) -> int:
        """Number of folds K."""
        return int(self.table["fold"].max())

    @property
    def repeats(self) -> int:
        """Number of re-splits, the first included."""
        return 1 + sum(str(name).startswith("fold_") for name in self.table.columns)

    def repeat(self, number: int) -> Splits:
        """Return one re-split (1 is the first) as splits of their own.

        Raises
        ------
        LabelError
            If there is no such re-split.
        """
        if not 1 <= number <= self.repeats:
            raise LabelError(f"Re-split {number} does not exist: the splits have {self.repeats}.")
        table = self.table[list(COLUMNS)]
        return replace(self, table=table if number == 1 else table.assign(fold=self.table[f"fold_{number}"]))

    def digest(self, number: int, final: bool = False) -> str:
        """Hash who stands where in one re-split; for the final model only who is held out.

        A re-split that is added later leaves the hashes of the others, and so what was made from them, alone.
        """
        table = self.repeat(number).table
        sides = table["set"] if final else table["fold"].astype(str)
        return hash_content(sorted(zip(table["participant_id"], sides, strict=True)))

    def fold_indices(self, runs: pd.DataFrame, fold: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ``runs`` to train on and to test on in one fold; the holdout is in neither.

        Nobody is tested in a fold that all have left.

        Raises
        ------
        LabelError
            If a participant of ``runs`` has no place in the splits.
        """
        of_run = self.fold_of_runs(runs)
        return np.flatnonzero((of_run != fold) & (of_run != 0)), np.flatnonzero(of_run == fold)

    def holdout_indices(self, runs: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ``runs`` in the development set and in the holdout."""
        of_run = self.fold_of_runs(runs)
        return np.flatnonzero(of_run != 0), np.flatnonzero(of_run == 0)

    def fold_of_runs(self, runs: pd.DataFrame) -> NDArray[np.int64]:
        """Fold of every row of ``runs``, 0 for the holdout; raises LabelError for an unknown participant."""
        of_participant = self.table.set_index("participant_id")["fold"]
        participants = runs["participant_id"].astype(str)
        missing = sorted(set(participants) - set(of_participant.index))
        if missing:
            raise LabelError(f"The splits have no row for {named(missing)}; make the splits anew for this cohort.")
        return of_participant.reindex(participants).to_numpy(dtype=np.int64)


def write_splits(splits: Splits, path: Path) -> None:
    """Write ``splits.tsv``; the fold of the holdout is written ``n/a``."""
    table = splits.table.copy()
    for name in _fold_columns(table):
        table[name] = [str(fold) if fold else "n/a" for fold in table[name]]
    write_tsv(path, table)


def _fold_columns(table: pd.DataFrame) -> list[str]:
    """``fold`` and the columns of the re-splits, in order."""
    more = [str(name) for name in table.columns if str(name).startswith("fold_")]
    return ["fold", *(f"fold_{number}" for number in range(2, len(more) + 2))]


def read_splits(path: Path) -> Splits:
    """Read ``splits.tsv``.

    Raises
    ------
    LabelError
        If the file can not be read, lacks a column, or holds a set or fold that does not exist.
    """
    table = read_table(path, LabelError)
    absent = [column for column in COLUMNS if column not in table]
    if absent:
        raise LabelError(f"{path} has no column {', '.join(absent)}; a table of splits has {', '.join(COLUMNS)}.")
    folds = _fold_columns(table)
    absent = [column for column in folds if column not in table]
    if absent:
        raise LabelError(f"{path}: re-splits are numbered fold_2, fold_3 ... without a gap; {absent[0]} is missing.")
    table = table[[*COLUMNS, *folds[1:]]]
    strange = sorted(set(table["set"]) - {"development", "holdout"})
    if strange:
        raise LabelError(f"{path}: set {strange[0]!r} is neither development nor holdout.")
    held = table["set"] == "holdout"
    table = table.assign(**{name: _numbered(table, name, held, path) for name in folds})
    if table[folds].max().nunique() > 1:
        raise LabelError(f"{path}: the re-splits have {sorted(set(table[folds].max()))} folds; one number is expected.")
    return Splits(table.sort_values("participant_id", ignore_index=True))


def _numbered(table: pd.DataFrame, name: str, held: pd.Series[bool], path: Path) -> pd.Series[int]:
    """Read a column of folds as numbers, 0 for the holdout."""
    wrong = table[~held & ~table[name].str.fullmatch(r"[1-9][0-9]*")]
    if len(wrong):
        row = wrong.iloc[0]
        raise LabelError(f"{path}: fold {row[name]!r} of {row['participant_id']} is not a whole number from 1.")
    numbers = table[name].where(~held, "0").astype(np.int64)
    if set(numbers[~held]) != set(range(1, int(numbers.max()) + 1)) or numbers.max() < 2:
        raise LabelError(f"{path}: folds {sorted(set(numbers[~held]))} were found, 1 to K with K at least 2 expected.")
    return numbers


def check_splits(splits: Splits, runs: pd.DataFrame, series_hashes: Mapping[str, str]) -> None:
    """Refuse splits that leak.

    Parameters
    ----------
    splits : Splits
        Splits, read or made.
    runs : DataFrame
        Runs with ``run``, ``participant_id`` and, where known, ``group``.
    series_hashes : mapping of str to str
        Content hash of the series of each run, by the name in ``run``.

    Raises
    ------
    LabelError
        If a participant or a group stands on two sides, a participant of ``runs`` is absent from the splits, or the
        same series is there under two names; the message names them.
    """
    for number in range(1, splits.repeats + 1):
        _require_whole(splits.repeat(number), runs)
    seen: dict[str, str] = {}
    owner = dict(zip(runs["run"], runs["participant_id"].astype(str), strict=True))
    for run in sorted(owner):
        digest = series_hashes[run]
        if digest in seen:
            raise LabelError(
                f"{seen[digest]} ({owner[seen[digest]]}) and {run} ({owner[run]}) hold the same series: "
                "the same data under two names would leak from training to test; exclude one of them."
            )
        seen[digest] = run


def check_left_out(splits: Splits, runs: pd.DataFrame, column: str) -> None:
    """Refuse splits that were given for ``--leave-out`` and tear a value of its column apart.

    Raises
    ------
    LabelError
        If a value of the column stands in several folds, or in the holdout.
    """
    if column not in runs:
        raise LabelError(f"--leave-out {column}: the runs have no such column; they have {', '.join(runs.columns)}.")
    of_run = pd.Series(splits.fold_of_runs(runs))
    torn = of_run.groupby(runs[column].astype(str).to_numpy()).agg(lambda folds: folds.nunique() > 1 or 0 in set(folds))
    names = sorted(str(name) for name in torn[torn].index)
    if names:
        raise LabelError(f"--leave-out {column}: the splits that were given do not leave {named(names)} out whole.")


def _require_whole(splits: Splits, runs: pd.DataFrame) -> None:
    """Refuse a split that tears a participant or a group apart."""
    table = splits.table
    sides = table["set"] + " " + table["fold"].astype(str)
    for column in ("participant_id", "group"):
        torn = sides.groupby(table[column]).nunique()
        names = sorted(str(name) for name in torn[torn > 1].index)
        if names:
            raise LabelError(f"The splits put {column} {named(names)} on two sides: what was learned would leak.")
    of_run = splits.fold_of_runs(runs)
    if "group" in runs:
        torn = pd.Series(of_run).groupby(runs["group"].astype(str).to_numpy()).nunique()
        names = sorted(str(name) for name in torn[torn > 1].index)
        if names:
            raise LabelError(f"The splits tear the group {named(names)} of the cohort apart.")


def named(names: Sequence[str]) -> str:
    """List a handful of names and say how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
