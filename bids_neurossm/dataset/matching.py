"""Which participant an imported run belongs to: tables of participants, matched by whatever column fits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.dataset.arrays import ArrayRun
from bids_neurossm.dataset.names import sanitised_labels, source_entities
from bids_neurossm.errors import LabelError, UsageError

if TYPE_CHECKING:
    import pandas as pd

#: Columns in which studies keep the mean framewise displacement, in mm.
_MOTION = ("mean_fd", "func_mean_fd", "mean_framewise_displacement", "MeanFramewiseDisplacement", "FD_mean")

_BIDS_NAME = re.compile(r"sub-[0-9A-Za-z]+(_[a-z]+-[0-9A-Za-z+]+)*(_[0-9A-Za-z]+)?")


@dataclass(frozen=True)
class Matched:
    """Runs with the participants they belong to.

    Parameters
    ----------
    entities : list of dict
        BIDS entities of each run: ``sub`` and those that the source states.
    motion : list of float
        Mean framewise displacement of each run in mm; NaN where the table does not say it.
    table : DataFrame or None
        The table of participants as it is written, all cells text.
    unmatched : list of str
        Keys that the table does not have.
    notes : list of str
        How they were matched.
    """

    entities: list[dict[str, str]]
    motion: list[float]
    table: pd.DataFrame | None
    unmatched: list[str]
    notes: list[str]


def stated_entities(run: ArrayRun) -> dict[str, str]:
    """Read BIDS entities from a key that is a BIDS name; any other key is the participant.

    Examples
    --------
    >>> stated_entities(ArrayRun("sub-01_task-rest_bold", Path("x"), (2, 2), lambda: None))
    {'sub': '01', 'task': 'rest'}
    """
    if _BIDS_NAME.fullmatch(run.key):
        # A bare ``sub-01`` has no suffix, so every pair counts, the last one too.
        pairs = dict(pair.split("-", 1) for pair in run.key.split("_") if "-" in pair)
        return {**source_entities(pairs), **run.entities}
    return {"sub": run.key, **run.entities}


def match_participants(runs: Sequence[ArrayRun], path: Path | None) -> Matched:
    """Give every run its participant, and make the table of participants that goes with the series.

    Parameters
    ----------
    runs : sequence of ArrayRun
        As `find_arrays` lists them.
    path : Path or None
        Table of participants, separated by tabs or commas. The column is taken whose values equal the most keys,
        ``participant_id`` before others. Without a table, what the source itself says of participants is used.

    Returns
    -------
    Matched
        Runs that the table does not have keep their key as their label.

    Raises
    ------
    LabelError
        If the table can not be read, or matches nothing and names nobody.
    UsageError
        If two identifiers become the same label.
    """
    stated = [stated_entities(run) for run in runs]
    keys = [entities["sub"] for entities in stated]
    table = read_table(path) if path is not None else _table_of_facts(runs, keys)
    notes: list[str] = []
    people: Mapping[str, int] = {}
    if table is not None and path is not None:
        column, people = _best_column(table, keys)
        if not people and all(run.positional for run in runs) and len(table) == len(runs):
            people = {key: index for index, key in enumerate(keys)}
            notes.append(f"The runs carry no identifiers: they were taken in the order of the rows of {path}.")
        elif people:
            notes.append(
                f"{len(set(keys) & set(people))} participants were matched by the column {column!r} of {path}."
            )
        table = _with_identifiers(table, column, path)
    names = [
        str(table["participant_id"].iloc[people[key]]) if table is not None and key in people else key for key in keys
    ]
    listed = [] if table is None else [str(name) for name in table["participant_id"]]
    labels = sanitised_labels(dict.fromkeys([*listed, *names]), "participant")
    motion = [_motion(table, people.get(key)) for key in keys]
    if table is not None:
        table["participant_id"] = [f"sub-{labels[name]}" for name in listed]
        _refuse_twice(table, path)
    unmatched = [key for key in dict.fromkeys(keys) if key not in people] if path is not None else []
    entities = [{**each, "sub": labels[name]} for each, name in zip(stated, names, strict=True)]
    return Matched(entities, motion, table, unmatched, notes)


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of participants as text; stray spaces are taken off.

    Raises
    ------
    LabelError
        If it can not be read.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as stream:
            separator = "\t" if "\t" in stream.readline() or path.suffix == ".tsv" else ","
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} is not a readable table ({error}); tab-separated text is expected.") from error
    table.columns = [str(name).strip() for name in table.columns]
    for name in table.columns:
        table[name] = table[name].str.strip().replace("", "n/a")
    return table


def _table_of_facts(runs: Sequence[ArrayRun], keys: Sequence[str]) -> pd.DataFrame | None:
    """Make a table of what the source says of its participants, as far as it is the same in all their runs."""
    import pandas as pd

    if not any(run.facts for run in runs):
        return None
    people: dict[str, dict[str, str]] = {}
    unsteady = set()
    for run, key in zip(runs, keys, strict=True):
        known = people.setdefault(key, {})
        unsteady |= {name for name, value in run.facts.items() if known.setdefault(name, value) != value}
    rows = [
        {"participant_id": key, **{name: value for name, value in facts.items() if name not in unsteady}}
        for key, facts in people.items()
    ]
    return pd.DataFrame(rows).fillna("n/a")


def _bare(name: str) -> str:
    return name.removeprefix("sub-")


def _best_column(table: pd.DataFrame, keys: Sequence[str]) -> tuple[str, dict[str, int]]:
    """Find the column that holds the most keys, and the row of each."""
    wanted = {_bare(key): key for key in keys}
    best = "participant_id"
    people: dict[str, int] = {}
    for column in sorted(table.columns, key=lambda name: name != "participant_id"):
        rows: dict[str, int] = {}
        for index, value in enumerate(table[column]):
            key = wanted.get(_bare(str(value)))
            if key is not None:
                rows.setdefault(key, index)
        if len(rows) > len(people):
            best, people = column, rows
    return best, people


def _with_identifiers(table: pd.DataFrame, column: str, path: Path) -> pd.DataFrame:
    """Put ``participant_id`` first, made from the column that matched where the table has none."""
    if "participant_id" not in table.columns:
        if column not in table.columns:
            raise LabelError(
                f"{path} has no participant_id, and none of its columns ({', '.join(table.columns)}) holds the "
                "identifiers of the series."
            )
        table.insert(0, "participant_id", table[column])
    table["participant_id"] = table["participant_id"].map(_bare)
    return table[["participant_id", *(name for name in table.columns if name != "participant_id")]].copy()


def _refuse_twice(table: pd.DataFrame, path: Path | None) -> None:
    keys = ["participant_id", *(["session_id"] if "session_id" in table.columns else [])]
    twice = table[table.duplicated(keys)]
    if len(twice):
        raise LabelError(
            f"{path} has {' '.join(map(str, twice.iloc[0][keys]))} more than once; one row each is expected."
        )


def _motion(table: pd.DataFrame | None, row: int | None) -> float:
    if table is None or row is None:
        return math.nan
    name = next((each for each in _MOTION if each in table.columns), None)
    try:
        return float(table[name].iloc[row]) if name else math.nan
    except ValueError:
        return math.nan


def merged(known: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Add participants to a table that is there; where both have one, the new row counts.

    Raises
    ------
    UsageError
        If one of the tables has sessions and the other has not.
    """
    import pandas as pd

    if ("session_id" in known.columns) != ("session_id" in new.columns):
        raise UsageError(
            "The participants.tsv that is there and the new table must both have a session_id, or neither."
        )
    keys = ["participant_id", *(["session_id"] if "session_id" in new.columns else [])]
    again = pd.MultiIndex.from_frame(known[keys]).isin(pd.MultiIndex.from_frame(new[keys]))
    return pd.concat([known[~again], new], ignore_index=True).fillna("n/a")
