"""Which participant an imported run belongs to, by one column of a table of participants."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.dataset.names import sanitised_labels, source_entities
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.files.tables import read_table
from bids_neurossm.phenotype.identifiers import bare, pair_identifiers
from bids_neurossm.phenotype.identifiers import listed as some
from bids_neurossm.roi_arrays.readers import ArrayRun

if TYPE_CHECKING:
    import pandas as pd

#: Columns in which studies keep the mean framewise displacement, in mm.
_MOTION = ("mean_fd", "func_mean_fd", "mean_framewise_displacement", "MeanFramewiseDisplacement", "FD_mean")

_BIDS_NAME = re.compile(r"sub-[0-9A-Za-z]+(_[a-z]+-[0-9A-Za-z+]+)*(_(bold|timeseries|ts|tc|roi))?")


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
    return {"sub": bare(run.key), **run.entities}


def match_participants(
    runs: Sequence[ArrayRun], path: Path | None, id_column: str | None = None, *, exact: bool = False
) -> Matched:
    """Give every run its participant, and make the table of participants that goes with the series.

    Parameters
    ----------
    runs : sequence of ArrayRun
        As `find_arrays` lists them.
    path : Path or None
        Table of participants, see `bids_neurossm.files.tables.read_table`. What the source says of participants is
        added by `bids_neurossm.roi_arrays.facts`.
    id_column : str, optional
        Column that holds the keys of the runs; ``participant_id`` by default. A run is called by the ``participant_id``
        of its row where the table has that column, else by its identifier.
    exact : bool
        Whether keys must match exactly, see `bids_neurossm.phenotype.identifiers.pair_identifiers`.

    Returns
    -------
    Matched
        Runs that the table does not have keep their key as their label.

    Raises
    ------
    LabelError
        If the table cannot be read, lacks the column, lists a participant twice, or the identifiers are ambiguous.
    UsageError
        If two identifiers become the same label.
    """
    stated = [stated_entities(run) for run in runs]
    keys = [entities["sub"] for entities in stated]
    table = None if path is None else read_table(path, LabelError)
    notes: list[str] = []
    people: Mapping[str, int] = {}
    if table is not None and path is not None:
        table = table.apply(lambda column: column.str.strip().replace("", "n/a"))
        table, told = _with_names(table, id_column or "participant_id", path)
        notes += told
        people, told = _rows_of(table, keys, path, id_column, exact, all(run.positional for run in runs))
        notes += told
        table = _with_identifiers(table, id_column, path)
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


def _rows_of(
    table: pd.DataFrame, keys: Sequence[str], path: Path, id_column: str | None, exact: bool, positional: bool
) -> tuple[dict[str, int], list[str]]:
    """Find the row of every key in the one column that holds the identifiers; no other column is ever tried."""
    if positional and id_column is None and len(table) == len(keys):
        note = f"The runs carry no identifiers: they were taken in the order of the rows of {path}."
        return {key: index for index, key in enumerate(keys)}, [note]
    column = id_column or "participant_id"
    if column not in table.columns:
        raise LabelError(
            f"{path} has the columns {', '.join(table.columns)}; a column {column} is expected"
            f"{'' if id_column else ', or name another one with --id-column'}.{_hint(table, keys)}"
        )
    identifiers = [str(value) for value in table[column] if value != "n/a"]
    pairing = pair_identifiers(keys, identifiers, path.name, exact=exact)
    _refuse_two_names(table, column, set(pairing.partner.values()), path)
    rows: dict[str, int] = {}
    for index, value in enumerate(table[column]):
        rows.setdefault(str(value), index)
    if not pairing.partner:
        raise LabelError(
            f"The column {column} of {path} holds none of the identifiers of the series: they are {some(keys)}; the "
            f"table lists {some(identifiers)}.{_hint(table, keys)}"
        )
    notes = [f"{len(pairing.partner)} participants were matched by the column {column} of {path}."]
    return {key: rows[theirs] for key, theirs in pairing.partner.items()}, [*notes, *pairing.notes(path.name)]


def _with_names(table: pd.DataFrame, column: str, path: Path) -> tuple[pd.DataFrame, list[str]]:
    """Leave out rows without an identifier: spreadsheets leave totals below a table."""
    if column not in table.columns:
        return table, []
    nameless = table[column] == "n/a"
    told = [f"{path.name}: {int(nameless.sum())} rows without a {column} were ignored."] if nameless.any() else []
    return table[~nameless].reset_index(drop=True), told


def _refuse_two_names(table: pd.DataFrame, column: str, used: Collection[str], path: Path) -> None:
    """Refuse an identifier of series that two rows give to different participants."""
    if "participant_id" not in table.columns or column == "participant_id":
        return
    rows = table[table[column].isin(used)]
    names = rows.groupby(column)["participant_id"].unique()
    twice = names[names.map(len) > 1]
    if len(twice):
        raise LabelError(
            f"{path}: {column} {twice.index[0]} is of {' and of '.join(map(str, twice.iloc[0][:2]))}; one participant "
            "is expected."
        )


def _hint(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """Name a column that holds the identifiers; whether it is meant is for the user to say."""
    wanted = {bare(key) for key in keys}
    found = [str(name) for name in table.columns if wanted <= {bare(str(value)) for value in table[name]}]
    return f" (All of them are in the column {found[0]}: --id-column {found[0]}.)" if found else ""


def _with_identifiers(table: pd.DataFrame, id_column: str | None, path: Path) -> pd.DataFrame:
    """Put ``participant_id`` first, made from the column of identifiers where the table declares none."""
    if "participant_id" not in table.columns:
        if id_column is None:
            raise LabelError(f"{path} has no column participant_id; name the identifiers with --id-column.")
        table.insert(0, "participant_id", table[id_column])
    table["participant_id"] = table["participant_id"].map(bare)
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
    """Add participants to a table that is there.

    Of a participant who is in both, the new table's columns count, and the columns that it lacks are kept.

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
    kept = [name for name in known.columns if name not in new.columns]
    renewed = new.merge(known[[*keys, *kept]], on=keys, how="left")
    columns = [*known.columns, *(name for name in new.columns if name not in known.columns)]
    return pd.concat([known[~again], renewed], ignore_index=True)[columns].fillna("n/a")
