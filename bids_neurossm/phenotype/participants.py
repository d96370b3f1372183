"""Tables with one row per participant (and session), and how runs find their rows in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_neurossm.errors import LabelError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.safe_reading import is_listed
from bids_neurossm.files.tables import read_table, separator_hint
from bids_neurossm.phenotype.cell_values import ALWAYS_MISSING, without_missing
from bids_neurossm.phenotype.identifiers import Pairing, bare, pair_identifiers

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ParticipantTable:
    """A table of participants as text.

    Parameters
    ----------
    path : Path
        Where it was read from; of tables for each participant, their pattern.
    rows : DataFrame of str
        ``participant_id`` without ``sub-``, ``session_id`` without ``ses-`` where there is one, and the other columns
        without surrounding spaces.
    levels : mapping of str to collection of str
        Levels that the sidecar declares for a column.
    notes : tuple of str
        What was noticed while reading.
    """

    path: Path
    rows: pd.DataFrame
    levels: Mapping[str, Collection[str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return [str(name) for name in self.rows.columns]

    @property
    def has_sessions(self) -> bool:
        """Whether any row is bound to a session."""
        return "session_id" in self.rows.columns and bool((self.rows["session_id"] != "").any())

    def column(self, name: str, missing_values: Sequence[str] | None = None) -> tuple[pd.Series[Any], list[str]]:
        """Return a column with None where it is missing, and notes on its cells."""
        values, notes = without_missing(self.rows[name], self.levels.get(name, ()), missing_values)
        return values, [f"{self.path.name}, column {name}: {note}." for note in notes]


def read_participants(path: Path, id_column: str | None = None) -> ParticipantTable:
    """Read a table of participants.

    Parameters
    ----------
    path : Path
        TSV or CSV, see `bids_neurossm.files.tables.read_table`; ``Levels`` come from the ``.json`` of the same name.
    id_column : str, optional
        Column with the identifiers; ``participant_id`` by default.

    Returns
    -------
    ParticipantTable

    Raises
    ------
    LabelError
        If it cannot be read, lacks the column, or lists a participant (and session) twice.
    """
    table = read_table(path, LabelError)
    column = id_column or "participant_id"
    if column not in table.columns:
        found = ", ".join(table.columns)
        raise LabelError(
            f"{path} has the columns {found[:500]}{' ...' * (len(found) > 500)}; a column {column} is expected"
            f"{'' if id_column else ' (--id-column names another one)'}.{separator_hint(list(table.columns))}"
        )
    for name in table.columns:
        table[name] = table[name].str.strip()
    identifiers = table[column].where(~table[column].isin(ALWAYS_MISSING), "")
    # Spreadsheets leave rows of tabs behind, and people leave totals below the table.
    nameless = int(((identifiers == "") & (table != "").any(axis=1)).sum())
    notes = (f"{path.name}: {nameless} rows without a {column} were ignored.",) if nameless else ()
    table["participant_id"] = identifiers.map(bare)
    table = table[identifiers != ""].reset_index(drop=True)
    keys = ["participant_id"]
    if "session_id" in table.columns:
        sessions = table["session_id"].where(~table["session_id"].isin(ALWAYS_MISSING), "")
        table["session_id"] = sessions.map(lambda label: bare(label, "ses-"))
        keys.append("session_id")
    twice = table[table.duplicated(keys)]
    if len(twice):
        named = " ".join(filter(None, map(str, twice.iloc[0][keys])))
        raise LabelError(f"{path} has {named} more than once; one row each is expected.")
    return ParticipantTable(path, table, read_levels(path.with_suffix(".json")), notes)


def read_levels(sidecar: Path) -> dict[str, frozenset[str]]:
    """Read the ``Levels`` of the columns of a table from its sidecar; empty where there is none.

    Raises
    ------
    LabelError
        If the sidecar is there but cannot be read.
    """
    if not is_listed(sidecar):
        return {}
    content = read_json_object(sidecar, LabelError)
    return {
        name: frozenset(map(str, facts["Levels"]))
        for name, facts in content.items()
        if isinstance(facts, Mapping) and isinstance(facts.get("Levels"), (Mapping, list))
    }


def read_sessions(dataset: Path) -> ParticipantTable | None:
    """Read the ``sub-*_sessions.tsv`` of a dataset as one table; None where there are none.

    Raises
    ------
    LabelError
        If one cannot be read or has no ``session_id``.
    """
    import pandas as pd

    paths = sorted(dataset.glob("sub-*/sub-*_sessions.tsv"))
    if not paths:
        return None
    levels = read_levels(dataset / "sessions.json")
    parts = []
    for path in paths:
        table = read_table(path, LabelError)
        if "session_id" not in table.columns:
            raise LabelError(f"{path} has the columns {', '.join(table.columns)}; session_id is expected.")
        table.insert(0, "participant_id", path.name.removesuffix("_sessions.tsv").removeprefix("sub-"))
        for name, found in read_levels(path.with_suffix(".json")).items():
            levels[name] = levels.get(name, frozenset()) | found
        parts.append(table)
    rows = pd.concat(parts, ignore_index=True).fillna("")
    for name in rows.columns:
        rows[name] = rows[name].str.strip()
    rows["session_id"] = rows["session_id"].map(lambda label: bare(label, "ses-"))
    twice = rows[rows.duplicated(["participant_id", "session_id"])]
    if len(twice):
        name, session = twice.iloc[0][["participant_id", "session_id"]]
        raise LabelError(f"sub-{name}_sessions.tsv in {dataset} has ses-{session} more than once; one row is expected.")
    return ParticipantTable(dataset / "sub-*" / "sub-*_sessions.tsv", rows, levels)


@dataclass(frozen=True)
class Joined:
    """Runs and their rows in a table.

    Parameters
    ----------
    runs : DataFrame
        With ``participant_id`` and ``session_id`` (empty where a run has no session).
    table : ParticipantTable
    rows : list of list of int
        Rows of the table for each run: one, or none; several where the table has sessions and the run has not.
    people, sessions : Pairing
        How identifiers were paired.
    """

    runs: pd.DataFrame
    table: ParticipantTable
    rows: list[list[int]]
    people: Pairing
    sessions: Pairing

    @property
    def notes(self) -> list[str]:
        """What was paired under another spelling, and what has no partner."""
        where = self.table.path.name
        sessions = Pairing(dict(self.sessions.partner))  # sessions without a partner show in the runs left out
        return [*self.table.notes, *self.people.notes(where), *sessions.notes(where, "session")]

    def why_not_listed(self, index: int) -> str | None:
        """Say why a run has no row; None where it has one."""
        if self.rows[index]:
            return None
        participant, session = self.runs["participant_id"].iloc[index], self.runs["session_id"].iloc[index]
        if participant in self.people.partner:
            return f"{self.table.path.name} lists sub-{participant}, but not ses-{session}"
        return f"{self.table.path.name} does not list sub-{participant}"

    def values(
        self, name: str, missing_values: Sequence[str] | None = None, *, named: bool = True
    ) -> tuple[pd.Series[Any] | None, list[str]]:
        """Give every run its value of a column.

        Parameters
        ----------
        name : str
            A column of the table.
        missing_values : sequence of str, optional
            See `bids_neurossm.phenotype.cell_values.without_missing`.
        named : bool
            Whether the user asked for the column; if not, a column that cannot be used is set aside.

        Returns
        -------
        values : Series or None
            In the order of the runs, None where missing; None as a whole where the column was set aside.
        notes : list of str

        Raises
        ------
        LabelError
            If a run without a session has several values of a column that the user asked for.
        """
        import pandas as pd

        cells, notes = self.table.column(name, missing_values)
        found: list[str | None] = []
        for participant, rows in zip(self.runs["participant_id"], self.rows, strict=True):
            distinct = [str(cell) for cell in dict.fromkeys(cells.iloc[rows]) if cell is not None]
            if len(distinct) > 1:
                several = (
                    f"{self.table.path} gives sub-{participant} several values of {name} in different sessions "
                    f"({', '.join(distinct[:3])}), and its series have no session"
                )
                if named:
                    raise LabelError(f"{several}; keep one row for each participant.")
                return None, [f"{several}: {name} is not used."]
            found.append(distinct[0] if distinct else None)
        return pd.Series(found, index=self.runs.index, dtype=object), notes


def join(runs: pd.DataFrame, table: ParticipantTable, *, exact: bool = False, others: Iterable[str] = ()) -> Joined:
    """Find the rows of the runs in a table: by participant, and by session where both sides have sessions.

    Parameters
    ----------
    runs : DataFrame
        Columns ``participant_id`` and ``session_id``.
    table : ParticipantTable
    exact : bool
        Whether identifiers must match exactly.
    others : iterable of str
        Participants of the dataset that were not asked for.

    Raises
    ------
    LabelError
        If identifiers are ambiguous, or none of the runs is in the table.
    """
    where = table.path.name
    listed = table.rows["participant_id"]
    people = pair_identifiers(runs["participant_id"], listed, where, exact=exact, others=others)
    sessions = Pairing({})
    if table.has_sessions:
        labels = [label for label in runs["session_id"] if label]
        offered = [label for label in table.rows["session_id"] if label]
        sessions = pair_identifiers(labels, offered, where, exact=exact, prefix="ses-")
    by_person: dict[str, list[int]] = {}
    for row, participant in enumerate(table.rows["participant_id"]):
        by_person.setdefault(participant, []).append(row)
    bound = list(table.rows["session_id"]) if table.has_sessions else [""] * len(table.rows)
    rows = []
    for participant, session in zip(runs["participant_id"], runs["session_id"], strict=True):
        mine = by_person.get(people.partner.get(participant, ""), [])
        if session and table.has_sessions:
            wanted = sessions.partner.get(session)
            # A row without a session holds for all sessions of the participant.
            mine = [row for row in mine if bound[row] == wanted] or [row for row in mine if not bound[row]]
        rows.append(mine)
    if not any(rows):
        raise LabelError(
            f"{table.path} lists none of the participants{' and sessions' if people.partner else ''} of the series: "
            f"they are of {_some(runs)}; the table lists {_some(table.rows)}. Give the table of these participants "
            "with --participants-file, or spell them alike."
        )
    return Joined(runs, table, rows, people, sessions)


def _some(rows: pd.DataFrame) -> str:
    """Name up to three participants (and sessions), and say how many more there are."""
    sessions: Iterable[str] = rows["session_id"] if "session_id" in rows.columns else [""] * len(rows)
    names = [
        f"sub-{participant}" + (f" ses-{session}" if session else "")
        for participant, session in dict.fromkeys(zip(rows["participant_id"], sessions, strict=True))
    ]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3]) or 'nobody'}{more}"
