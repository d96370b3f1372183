"""The participants of an import: what pheno.csv and a given table say of them, and which runs are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.facts import refuse_other_sex, table_of_facts, with_facts
from bids_neurossm.roi_arrays.matching import Matched, match_participants
from bids_neurossm.roi_arrays.pheno_csv import find_phenotypes, id_column, keep_release, with_phenotypes
from bids_neurossm.roi_arrays.readers import ArrayRun

if TYPE_CHECKING:
    import pandas as pd

    from bids_neurossm.roi_arrays.options import ImportOptions


def runs_with_facts(options: ImportOptions, runs: Sequence[ArrayRun], notes: list[str]) -> list[ArrayRun]:
    """Join the facts of a ``pheno.csv`` to the runs, and keep the release that is wanted.

    Parameters
    ----------
    options : ImportOptions
        What the user asked for.
    runs : sequence of ArrayRun
        As `find_arrays` lists them.
    notes : list of str
        Takes what the user should know.

    Raises
    ------
    LabelError, NoInputError, UsageError
        If the table is of other people, no run is left, or two studies use one identifier.
    """
    table = find_phenotypes(options.source, [options.out_dir], options.participants)
    if table is not None:
        others = options.participants not in (None, table)
        column = None if others else id_column(options.participants, options.id_column)
        told: list[str] = []
        runs = with_phenotypes(runs, table, told, column=column, exact=options.exact_ids, known_studies=others)
        notes += told if table != options.participants else []  # of that one they come from `people_of`
    kept = keep_release(runs, options.release, notes)
    _refuse_two_studies(kept)
    return kept


def people_of(
    options: ImportOptions, runs: Sequence[ArrayRun], notes: list[str]
) -> tuple[Matched, pd.DataFrame | None]:
    """Name the participant of every run, and make ``participants.tsv`` of the given table and the facts of the runs.

    Raises
    ------
    LabelError, UsageError
        If the table cannot be used, or says something else of a participant than the series.
    """
    path = options.participants
    matched = match_participants(runs, path, id_column(path, options.id_column), exact=options.exact_ids)
    notes += matched.notes
    labels = [each["sub"] for each in matched.entities]
    facts = table_of_facts(runs, labels, notes)
    if matched.table is None or path is None:
        return matched, facts
    rows = {str(row["participant_id"]): row for row in matched.table.to_dict("records")}
    for run, label in zip(runs, labels, strict=True):
        row = rows.get(f"sub-{label}", {})
        refuse_other_sex(run, {str(name): str(value) for name, value in row.items()}, path)
    return matched, with_facts(matched.table, facts)


def _refuse_two_studies(runs: Sequence[ArrayRun]) -> None:
    """Refuse an identifier that two studies use: they would become one person."""
    studies: dict[str, str] = {}
    for run in runs:
        study = run.published.study
        known = studies.setdefault(run.key, study) if study and not run.positional else study
        if known != study:
            raise UsageError(
                f"{run.key} is a participant of {known} and of {study} ({run.source}): import the files of each study "
                "into an OUT_DIR of its own."
            )
