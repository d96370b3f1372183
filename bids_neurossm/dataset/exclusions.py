"""``--exclude``: a table of runs that a laboratory leaves out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.dataset.names import ENTITY_ORDER, entity_name, same_label
from bids_neurossm.errors import UsageError
from bids_neurossm.files.tables import read_table

_ANY = ("", "n/a")


@dataclass(frozen=True)
class ExclusionRow:
    """One row: the entities that a run must have, and why it is left out.

    Parameters
    ----------
    number : int
        Row of the table, 1 for the first one below the names.
    entities : mapping
        Labels without prefix; entities that the row leaves open are not in it.
    reason : str
        Empty where the table does not say it.
    """

    number: int
    entities: Mapping[str, str]
    reason: str

    @property
    def told(self) -> str:
        """The row in words."""
        return "_".join(f"{name}-{label}" for name, label in self.entities.items())

    def matches(self, entities: Mapping[str, str]) -> bool:
        """Tell whether a run has all entities of the row."""
        return all(same_label(name, entities.get(name), label) for name, label in self.entities.items())


@dataclass(frozen=True)
class ExclusionTable:
    """The rows of a table.

    Parameters
    ----------
    path : Path
        Where it was read.
    rows : tuple of ExclusionRow
        In its order.
    """

    path: Path
    rows: tuple[ExclusionRow, ...]

    def match(self, entities: Mapping[str, str]) -> ExclusionRow | None:
        """Find the first row that names a run."""
        return next((row for row in self.rows if row.matches(entities)), None)

    def unmatched(self, runs: Iterable[Mapping[str, str]]) -> list[ExclusionRow]:
        """List the rows that name none of the runs of a dataset, given by their entities."""
        runs = list(runs)
        return [row for row in self.rows if not any(row.matches(entities) for entities in runs)]


def read_exclusions(path: Path | None, known: Collection[str] = ()) -> ExclusionTable | None:
    """Read the table of ``--exclude``; None where none was given.

    Parameters
    ----------
    path : Path or None
        Columns are entities (``sub``, ``ses``, ``task``, ``run`` ..., or ``participant_id``, ``session_id`` ...) and,
        if wanted, ``reason``. An empty cell or ``n/a`` leaves an entity open.
    known : collection of str
        Further entities that the runs have.

    Raises
    ------
    UsageError
        If it cannot be read, has a column that is no entity, or a row that names nothing.
    """
    if path is None:
        return None
    if not path.exists() and not path.is_symlink():
        raise UsageError(f"--exclude {path}: there is no such file.")
    table = read_table(path, UsageError)
    names = {str(column): entity_name(str(column).strip()) for column in table.columns}
    unknown = [column for column, name in names.items() if name != "reason" and name not in (*ENTITY_ORDER, *known)]
    if unknown or set(names.values()) <= {"reason"}:
        told = f"the column {unknown[0]!r}" if unknown else "no column that names runs"
        raise UsageError(
            f"--exclude {path} has {told}; entities are expected (sub, ses, task, run ..., or participant_id, "
            "session_id ...) and, if wanted, reason."
        )
    twice = [column for column, name in names.items() if list(names.values()).count(name) > 1]
    if twice:
        raise UsageError(f"--exclude {path} names one entity in the columns {' and '.join(twice)}; keep one of them.")
    rows = []
    for number, record in enumerate(table.to_dict(orient="records"), start=1):
        cells = {names[str(column)]: str(cell).strip() for column, cell in record.items()}
        reason = cells.pop("reason", "")
        stated = {name: cell.removeprefix(f"{name}-") for name, cell in cells.items() if cell not in _ANY}
        if not stated:
            raise UsageError(f"--exclude {path}: row {number} names no run; give at least one entity in each row.")
        rows.append(ExclusionRow(number, stated, "" if reason in _ANY else reason))
    return ExclusionTable(path, tuple(rows))


def unmatched_sentences(
    table: ExclusionTable, runs: Sequence[Mapping[str, str]], unseen: Collection[str] = ()
) -> list[str]:
    """Warn of rows that match no run.

    Parameters
    ----------
    table : ExclusionTable
        What was given.
    runs : sequence of mapping
        Entities of all runs that were looked at.
    unseen : collection of str
        Participants of the dataset that were not looked at: rows that name them are not judged.

    Returns
    -------
    list of str
        One sentence per row.
    """
    return [
        f"--exclude {table.path}: row {row.number} ({row.told}) matches no run."
        for row in table.unmatched(runs)
        if row.entities.get("sub") not in unseen
    ]
