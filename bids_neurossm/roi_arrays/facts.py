"""What the source of imported series says of participants, as a table with one row each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.errors import LabelError
from bids_neurossm.roi_arrays.layouts import plain_name
from bids_neurossm.roi_arrays.readers import ArrayRun

if TYPE_CHECKING:
    import pandas as pd

_SEX = {"f": "female", "female": "female", "m": "male", "male": "male"}

#: Codes of sex in records, as the public code of BolT has them; tables of others may use any.
_SEX_CODES = {"0": "female", "1": "male"}


#: Columns that have a meaning of their own in participants.tsv.
_KEYS = ("participant_id", "session_id")


def sex_of(facts: Mapping[str, str], codes: bool = False) -> str | None:
    """Read the sex that facts state in words, or in the codes of records as well; None where they state none."""
    known = {**_SEX, **(_SEX_CODES if codes else {})}
    named = (value for name, value in facts.items() if plain_name(name) in ("sex", "gender"))
    return next((known[value.lower()] for value in named if value.lower() in known), None)


def refuse_other_sex(run: ArrayRun, row: Mapping[str, str], where: Path) -> None:
    """Refuse a table that states another sex of a participant than the participant's own record.

    Raises
    ------
    LabelError
        It is most likely a table of other people.
    """
    stated, tabulated = sex_of(run.facts, codes=True), sex_of(row)
    if stated and tabulated and stated != tabulated:
        raise LabelError(
            f"{run.source} says that {run.key} is {stated}, and {where} says {tabulated}: one of the two is of other "
            "people."
        )


def table_of_facts(runs: Sequence[ArrayRun], labels: Sequence[str], notes: list[str]) -> pd.DataFrame | None:
    """Make a table of what the source says of its participants.

    Parameters
    ----------
    runs : sequence of ArrayRun
        With their facts.
    labels : sequence of str
        BIDS label of the participant of each run, without ``sub-``.
    notes : list of str
        Takes a line for every fact that differs between runs of one participant: it is left out.

    Returns
    -------
    DataFrame of str or None
        ``participant_id`` and a column for each fact; None where nothing is said.

    Raises
    ------
    LabelError
        If two runs of one participant state different sexes.
    """
    import pandas as pd

    if not any(run.facts for run in runs):
        return None
    people: dict[str, dict[str, str]] = {}
    differing: dict[str, list[str]] = defaultdict(list)
    for run, label in zip(runs, labels, strict=True):
        known = people.setdefault(label, {})
        mine, other = sex_of(run.facts, codes=True), sex_of(known, codes=True)
        if mine and other and mine != other:
            raise LabelError(
                f"{run.source}: runs of participant {run.key} are labelled female and male: two people have one "
                "identifier, or a label is wrong."
            )
        for name, value in run.facts.items():
            if name not in _KEYS and value != "n/a" and known.setdefault(name, value) != value:
                differing[name].append(f"sub-{label}: {known[name]} and {value}")
    for name, examples in differing.items():
        notes.append(
            f"{name} differs between runs of one participant ({examples[0]}), so it is left out of participants.tsv."
        )
    rows = [
        {"participant_id": f"sub-{label}", **{name: value for name, value in facts.items() if name not in differing}}
        for label, facts in people.items()
    ]
    return pd.DataFrame(rows, dtype=object).fillna("n/a")


def with_facts(table: pd.DataFrame, facts: pd.DataFrame | None) -> pd.DataFrame:
    """Add to a table of participants what the source says and the table does not: columns, and people with facts.

    Parameters
    ----------
    table : DataFrame of str
        The one that the user gave, with ``participant_id``; what it says counts.
    facts : DataFrame of str or None
        As `table_of_facts` makes it.
    """
    import pandas as pd

    if facts is None:
        return table
    new = [name for name in facts.columns if name not in table.columns]
    joined = table.merge(facts[["participant_id", *new]], on="participant_id", how="left")
    others = facts[~facts["participant_id"].isin(table["participant_id"])]
    if "session_id" not in table.columns:
        joined = pd.concat([joined, others], ignore_index=True)
    return joined.fillna("n/a")
