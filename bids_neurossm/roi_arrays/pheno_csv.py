"""Facts about participants in a ``pheno.csv`` next to the series, and the release of a study that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.errors import LabelError, NoInputError, UsageError
from bids_neurossm.files.tables import read_first_rows, read_table
from bids_neurossm.phenotype.cell_values import ALWAYS_MISSING
from bids_neurossm.phenotype.identifiers import bare, listed, pair_identifiers
from bids_neurossm.roi_arrays.facts import refuse_other_sex
from bids_neurossm.roi_arrays.matching import stated_entities
from bids_neurossm.roi_arrays.readers import ArrayRun

if TYPE_CHECKING:
    import pandas as pd

_NAME = "pheno.csv"

#: Where the published tree has the table, from the folder of the series.
_PUBLISHED = Path("HCP_1200") / "Preprocessed" / _NAME

#: Column of the HCP's own tables that names the participant, and the one that names the release.
_SUBJECT, _RELEASE = "Subject", "Release"


def find_phenotypes(source: Path, leave_out: Iterable[Path] = (), given: Path | None = None) -> Path | None:
    """Find the table that states the releases of the HCP, or facts about participants.

    Parameters
    ----------
    source : Path
        A folder, in which a ``pheno.csv`` may be anywhere; a file, which may have one next to it or where the
        published tree has it.
    leave_out : iterable of Path
        Folders that are not looked at.
    given : Path, optional
        A table that the user gave; it is taken before others if it is a ``pheno.csv`` or states releases.

    Raises
    ------
    UsageError
        If a folder has several.
    """
    if given is not None and (given.name == _NAME or _RELEASE in read_first_rows(given, LabelError)[0]):
        return given
    if source.is_file():
        places = [source.parent / _NAME, source.parent / _PUBLISHED]
        return next((path for path in places if path.is_file()), None)
    left_out = [each.resolve() for each in leave_out]
    found = [path for path in sorted(source.rglob(_NAME)) if not any(map(path.resolve().is_relative_to, left_out))]
    if len(found) > 1:
        raise UsageError(
            f"{found[0]} and {found[1]} are both tables of participants: give the right one as --participants."
        )
    return found[0] if found else None


def id_column(table: Path | None, wanted: str | None) -> str | None:
    """Name the column of identifiers: the one that the user names, or ``Subject`` in a table of the HCP.

    Other tables have a ``participant_id``: None.
    """
    if wanted is not None or table is None:
        return wanted
    return _SUBJECT if _is_of_the_hcp(read_first_rows(table, LabelError)[0]) else None


def _is_of_the_hcp(columns: Iterable[str]) -> bool:
    names = {name.strip() for name in columns}
    return {_SUBJECT, _RELEASE} <= names and "participant_id" not in names


def with_phenotypes(
    runs: Sequence[ArrayRun],
    path: Path,
    notes: list[str],
    *,
    column: str | None = None,
    exact: bool = False,
    known_studies: bool = False,
) -> list[ArrayRun]:
    """Add what a table says of participants to the facts of their runs; what a record itself says is kept.

    Parameters
    ----------
    runs : sequence of ArrayRun
        Of one study or several. A table of the HCP concerns the HCP's runs where there are any.
    path : Path
        The table.
    notes : list of str
        Takes a line on who is not in it.
    column : str, optional
        Column of the identifiers; by default ``participant_id``, or ``Subject`` of the HCP's tables.
    exact : bool
        Compare identifiers exactly.
    known_studies : bool
        Leave runs of unknown studies alone: the user gave another table for them.

    Raises
    ------
    LabelError
        If the table has no column of identifiers, names one twice, lists none of the participants, or states another
        sex than a record.
    """
    table = read_table(path, LabelError)
    column = column or ("participant_id" if "participant_id" in table.columns else _SUBJECT)
    if column not in table.columns:
        raise LabelError(
            f"{path} has the columns {listed(list(table.columns))}; participant_id or Subject is expected: give "
            "--id-column with the one that names the participant."
        )
    rows = _rows(table, column, path)
    is_hcp = _is_of_the_hcp(table.columns) and any(run.published.study == "HCP" for run in runs)
    people = [
        None
        if run.positional or (is_hcp and run.published.study != "HCP") or (known_studies and not run.published.study)
        else stated_entities(run)["sub"]
        for run in runs
    ]
    concerned = list(dict.fromkeys(name for name in people if name is not None))
    pairing = pair_identifiers(concerned, rows, path.name, exact=exact)
    if concerned and not pairing.partner:
        raise LabelError(
            f"{path} lists none of the participants of the series: it has {listed(list(rows))}, the series have "
            f"{listed(concerned)}; give the right table as --participants."
        )
    # Those of the table without series are no matter here: it lists the whole study.
    notes += replace(pairing, only_table=()).notes(path.name)
    partner = {key: rows[other] for key, other in pairing.partner.items()}
    return [
        run if name is None or name not in partner else _joined(run, partner[name], path)
        for run, name in zip(runs, people, strict=True)
    ]


def _rows(table: pd.DataFrame, column: str, path: Path) -> dict[str, dict[str, str]]:
    """Return the facts of each participant, without empty cells."""
    rows: dict[str, dict[str, str]] = {}
    names = [name for name in table.columns if name != column]
    for identifier, *cells in table[[column, *names]].itertuples(index=False, name=None):
        key = bare(str(identifier).strip())
        if key in ALWAYS_MISSING:
            continue  # spreadsheets leave totals below a table
        if key in rows:
            raise LabelError(f"{path} has {key} more than once in the column {column}; one row each is expected.")
        rows[key] = {name: text for name, cell in zip(names, cells, strict=True) if (text := str(cell).strip())}
    return rows


def _joined(run: ArrayRun, row: dict[str, str], path: Path) -> ArrayRun:
    refuse_other_sex(run, row, path)
    return replace(run, facts={**row, **run.facts})


def keep_release(runs: Sequence[ArrayRun], wanted: str | None, notes: list[str]) -> list[ArrayRun]:
    """Keep the release of a study that its published analysis takes (the HCP's task runs: Q1).

    Parameters
    ----------
    runs : sequence of ArrayRun
        With a fact ``Release`` where it is known.
    wanted : str or None
        Another release, or ``all``.
    notes : list of str
        Takes a line with how many runs and participants were kept and left out.

    Raises
    ------
    NoInputError
        If nothing is left.
    """
    concerned = [run for run in runs if run.published.release is not None]
    if not concerned or wanted == "all":
        return list(runs)
    release = wanted or str(concerned[0].published.release)
    if not any(_RELEASE in run.facts for run in concerned):
        notes.append(
            f"Nothing states the release of {_counted(concerned)}: all are kept; the published analysis takes "
            f"{release} alone. Its pheno.csv next to the series, or as --participants, states it."
        )
        return list(runs)
    kept = [run for run in concerned if run.facts.get(_RELEASE) == release]
    unknown = [run for run in concerned if _RELEASE not in run.facts]
    others = [run for run in concerned if _RELEASE in run.facts and run.facts[_RELEASE] != release]
    unknown_text = f", and {_counted(unknown)} whose release is not known" if unknown else ""
    notes.append(
        f"Release {release}: {_counted(kept)} kept; {_counted(others)} of other releases{unknown_text} left out "
        "(--release all keeps them)."
    )
    left_out = {id(run) for run in (*others, *unknown)}
    remaining = [run for run in runs if id(run) not in left_out]
    if not remaining:
        releases = listed(sorted({run.facts[_RELEASE] for run in others}))
        raise NoInputError(f"No run is of release {release}; the table has {releases}: give --release.")
    return remaining


def _counted(runs: Sequence[ArrayRun]) -> str:
    people = len({run.key for run in runs})
    return f"{len(runs)} task run{'s' * (len(runs) != 1)} of {people} participant{'s' * (people != 1)}"
