"""Labels and covariates for the runs of a group analysis, and a reason for every run that has none."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.config import Evaluation, RunConfig, TargetType
from bids_neurossm.dataset.names import plain_label
from bids_neurossm.dataset.series import SeriesFile
from bids_neurossm.errors import LabelError
from bids_neurossm.interfaces.cohort import series_facts
from bids_neurossm.phenotype.cell_values import as_classes
from bids_neurossm.phenotype.identifiers import listed
from bids_neurossm.phenotype.labels import (
    Target,
    find_table,
    label_datasets,
    lookalikes,
    parse_target,
    read_covariate,
    read_target,
)
from bids_neurossm.phenotype.participants import (
    Joined,
    ParticipantTable,
    join,
    read_participants,
    read_sessions,
)

#: Columns of the cohort that a column of a table must not replace.
_OWN = frozenset(
    {"run", "participant_id", "session_id", "task_id", "run_id", "path", "segments", "label", "group", "start"}
)

#: Those of them that cannot be meant by --leave-out; a participant or a session can.
_NEVER_LEFT_OUT = frozenset({"label", "group", "path", "start"})

#: Columns that are used wherever a table has them, under any of these names (in any case), the first one first.
_OFFERED = {"age": ("age",), "sex": ("sex", "gender"), "site": ("site", "site_id", "scanner")}


@dataclass(frozen=True)
class LabelledRuns:
    """Runs with their labels.

    Parameters
    ----------
    runs : DataFrame
        What `run_facts` gives, and ``label``, ``site``, ``group`` and covariates (numbers, or text).
    target_type : {"class", "continuous"}
    source : str
        Where the labels are from.
    covariates : tuple of str
        Columns for the covariate baseline.
    listed : list of dict
        Rows of exclusions.tsv: runs that were left out, and identifiers that were paired under another spelling.
    notes : list of str
        How identifiers and cells were read, where that was not plain.
    """

    runs: pd.DataFrame
    target_type: TargetType
    source: str
    covariates: tuple[str, ...]
    listed: list[dict[str, str]]
    notes: list[str]


def run_facts(file: SeriesFile) -> dict[str, Any]:
    """Return what a cohort keeps of a run besides its label, with the path of its series and their hash."""
    return {
        "run": file.run,
        "participant_id": file.entities["sub"],
        "session_id": file.entities.get("ses", ""),
        "task_id": file.entities.get("task", ""),
        "run_id": file.entities.get("run", ""),
        "path": str(file.path),
        "sha256": file.sha256 or "",
        **series_facts(file),
    }


def label_runs(config: RunConfig, target: Target, files: Sequence[SeriesFile], source: Path) -> LabelledRuns:
    """Give runs their labels and covariates.

    Parameters
    ----------
    config : RunConfig
        What is asked for.
    target : Target
        Its target.
    files : sequence of SeriesFile
        The runs.
    source : Path
        Their dataset.

    Raises
    ------
    LabelError
        If the labels cannot be found or used, or no run is left.
    """
    evaluation = config.evaluation
    runs = pd.DataFrame([run_facts(file) for file in files])
    _refuse_own_names(evaluation)
    exclusions = [file.sidecar.get("Exclusion") for file in files]
    everyone = [path.name.removeprefix("sub-") for path in sorted(source.glob("sub-*")) if path.is_dir()]
    columns = _Columns(config, target, runs, everyone)
    if target.kind == "entity":
        stated = [file.entities.get(target.column) for file in files]
        labels = pd.Series([each and plain_label(target.column, each) for each in stated], dtype=object)
        labels_from = "file names"
    else:
        labels = columns.named(target.column)
        labels_from = str(columns.joined_with(target.column).table.path)
    people = runs["participant_id"]
    labels, target_type, notes = read_target(labels, evaluation.target_type, target, people)
    notes += _several_labels(runs, labels, target, target_type)
    covariates = columns.covariates(people)
    site = columns.offered("site")
    runs = runs.assign(label=labels, site="" if site is None else site.fillna(""))
    for name, values in covariates.items():
        if name not in runs or runs[name].isna().all():  # what was measured, such as mean_fd, is kept
            runs[name] = values
    # --leave-out site is meant whatever the lab calls the column.
    groups = {
        name: runs["site"] if site is not None and name == "site" else columns.grouping(name)
        for name in _groups(evaluation)
    }
    if evaluation.leave_out is not None and evaluation.leave_out not in runs:
        runs[evaluation.leave_out] = groups[evaluation.leave_out].fillna("")
    group = groups[evaluation.group_by].fillna("") if evaluation.group_by else pd.Series("", index=runs.index)
    runs["group"] = group.where(group != "", people)
    used = tuple(name for name in (*covariates, *(["site"] if site is not None else [])) if name != target.column)
    reasons = [
        _reason(exclusion, label, columns, index, target)
        for index, (exclusion, label) in enumerate(zip(exclusions, labels, strict=True))
    ]
    keep = [reason is None for reason in reasons]
    left_out = [
        {"run": str(row.run), "participant_id": str(row.participant_id), "reason": reason[0], "detail": reason[1]}
        for row, reason in zip(runs.itertuples(), reasons, strict=True)
        if reason is not None
    ]
    if not any(keep):
        told = "; ".join(sorted({row["reason"] for row in left_out}))
        raise LabelError(f"None of the {len(runs)} runs can be used for --target {target.text}: {told}.")
    return LabelledRuns(
        _with_whole_numbers(runs[keep].reset_index(drop=True), covariates),
        target_type,
        labels_from,
        used,
        left_out + columns.respelled(),
        [*columns.notes(), *notes],
    )


def _refuse_own_names(evaluation: Evaluation) -> None:
    refused = [("--covariates", name) for name in evaluation.covariates if name in _OWN]
    refused += [("--leave-out", name) for name in (evaluation.leave_out,) if name in _NEVER_LEFT_OUT]
    for option, name in refused:
        raise LabelError(f"{option} {name}: a column of that name is kept for every run; rename it in the table.")


def _several_labels(runs: pd.DataFrame, labels: pd.Series[Any], target: Target, target_type: TargetType) -> list[str]:
    """Refuse classes that change between the sessions of a participant, who is scored as one; average numbers."""
    if target.level == "run":
        return []
    several = labels.groupby(runs["participant_id"]).nunique()
    names = [str(name) for name in several[several > 1].index]
    if not names:
        return []
    what = f"--target {target.text} changes between sessions of {len(names)} participants, {listed(names)}"
    if target_type == "class":
        raise LabelError(f"{what}, and a participant is scored as one; choose a session with --session-id.")
    return [f"{what}: their values are averaged, as their predictions are."]


def _groups(evaluation: Evaluation) -> list[str]:
    return list(dict.fromkeys(filter(None, (evaluation.group_by, evaluation.leave_out))))


def _reason(exclusion: Any, label: Any, columns: _Columns, index: int, target: Target) -> tuple[str, str] | None:
    """Say why a run is left out: by the participant level, or because it has no label; None if it is not."""
    if isinstance(exclusion, Mapping):
        return str(exclusion.get("Reason", "excluded")), str(exclusion.get("Detail", ""))
    if not pd.isna(label):
        return None
    if target.kind == "entity":
        return "no label", f"the name of the series has no {target.column}"
    joined = columns.joined_with(target.column)
    unlisted = joined.why_not_listed(index)
    if unlisted is not None:
        return "not in the table", unlisted
    return "no label", f"{target.column} is missing in {joined.table.path.name}"


@dataclass
class _Columns:
    """Columns of the tables that describe the participants, joined with the runs."""

    config: RunConfig
    target: Target
    runs: pd.DataFrame
    everyone: Sequence[str]
    _joined: list[Joined] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        evaluation = self.config.evaluation
        wanted = [*evaluation.covariates, *_groups(evaluation)]
        if self.target.kind != "entity":
            wanted.insert(0, self.target.column)
        if not wanted:
            return
        told = self.target if self.target.kind != "entity" else parse_target(wanted[0])
        for table in self._tables(told, [name for name in wanted if name != "site"]):
            try:
                self._joined.append(join(self.runs, table, exact=evaluation.exact_ids, others=self.everyone))
            except LabelError as error:
                if not self._joined or told.kind != "phenotype":
                    raise
                self._notes.append(f"{table.path.name} is not used: {error}")

    def _tables(self, told: Target, wanted: Sequence[str]) -> list[ParticipantTable]:
        """Read the table of participants, and those of sessions where it lacks a column."""
        evaluation = self.config.evaluation
        datasets = label_datasets(self.config.bids_dir, self.config.selection.derivatives)
        tables, absent = [], None
        # What goes with a score in phenotype/ (age, sex, site) is usually in participants.tsv.
        asked = [told] if told.kind != "phenotype" else [told, Target("participants.tsv", "participants", "")]
        for each in asked:
            try:
                path = find_table(each, evaluation.participants_file, datasets)
            except LabelError as error:
                absent = absent or error
                if each is told and told.kind == "phenotype":
                    break
            else:
                tables.append(read_participants(path, evaluation.id_column))
        lacking = [name for name in wanted if not any(name in table.columns for table in tables)]
        alone = told.kind == "phenotype" or evaluation.participants_file is not None
        if lacking and not alone:
            tables += [table for dataset in datasets if (table := read_sessions(dataset)) is not None][:1]
        if not tables:
            raise absent or LabelError("There is no table of participants.")
        for name in lacking:
            if not any(name in table.columns for table in tables):
                raise _no_column(name, tables)
        return tables

    def joined_with(self, name: str) -> Joined:
        """Return the runs joined with the table that has a column."""
        found = next((each for each in self._joined if name in each.table.columns), None)
        if found is None:
            raise _no_column(name, [each.table for each in self._joined])
        return found

    def named(self, name: str) -> pd.Series[Any]:
        """Return a column that the user asked for as text."""
        values, notes = self.joined_with(name).values(name, self.config.evaluation.missing_values)
        self._notes += notes
        assert values is not None
        return values

    def grouping(self, name: str) -> pd.Series[Any]:
        """Return a column whose values stay together or are left out, read by the rule for classes."""
        return self._as_groups(self.named(name), name)

    def _as_groups(self, values: pd.Series[Any], name: str) -> pd.Series[Any]:
        groups = as_classes(values)
        self._notes += [f"Column {name}: {note.replace('two classes', 'two groups')}." for note in lookalikes(groups)]
        return groups

    def offered(self, name: str) -> pd.Series[Any] | None:
        """Return age, sex or site as text, under whatever name a table has it; None where it has none."""
        spellings = _OFFERED[name]
        if self.target.column.casefold() in spellings:
            return None  # the target itself
        asked = [each for each in self.config.evaluation.covariates if each.casefold() in spellings]
        there = [
            (each, joined)
            for joined in self._joined
            for spelling in spellings
            for each in sorted(joined.table.columns, key=lambda column: column != spelling)
            if each.casefold() == spelling
        ]
        there.sort(key=lambda pair: pair[0] not in asked)
        if not there:
            return None
        column, joined = there[0]
        values, notes = joined.values(column, self.config.evaluation.missing_values, named=column in asked)
        others = sorted({each for each, _ in there} - {column})
        if others or column != name:
            besides = f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'} not used" if others else ""
            notes.append(f"The column {column} is taken as {name}{besides}.")
        self._notes += notes
        return values if values is None or name != "site" else self._as_groups(values, column)

    def covariates(self, people: pd.Series[str]) -> dict[str, pd.Series[Any]]:
        """Read age and sex, and the columns that the user named."""
        evaluation, target = self.config.evaluation, self.target
        found: dict[str, pd.Series[Any]] = {}
        known = {spelling: name for name, spellings in _OFFERED.items() for spelling in spellings}
        if target.kind != "entity" or evaluation.covariates:
            for name in ("age", "sex"):
                asked = any(known.get(each.casefold()) == name for each in evaluation.covariates)
                if target.kind == "entity" and not asked:
                    continue
                values = self.offered(name)
                if values is not None and values.notna().any():
                    self._add(found, name, values, people, named=asked)
        for column in evaluation.covariates:
            if column.casefold() not in known and column != target.column:
                self._add(found, column, self.named(column), people, named=True)
        return found

    def _add(
        self, found: dict[str, pd.Series[Any]], name: str, values: pd.Series[Any], people: pd.Series[str], named: bool
    ) -> None:
        covariate, notes = read_covariate(values, name, people, named=named)
        self._notes += notes
        if covariate is not None:
            found[name] = covariate

    def notes(self) -> list[str]:
        """Return what was noticed while pairing identifiers and reading cells."""
        return list(dict.fromkeys([*(note for joined in self._joined for note in joined.notes), *self._notes]))

    def respelled(self) -> list[dict[str, str]]:
        """Return rows of exclusions.tsv for identifiers that were paired under another spelling."""
        return [
            {
                "run": "n/a",
                "participant_id": mine,
                "excluded": "no",
                "reason": "identifier spelled differently",
                "detail": f"{joined.table.path.name} lists it as {theirs}",
            }
            for joined in self._joined
            for mine, theirs in joined.people.respelled
        ]


def _no_column(name: str, tables: Sequence[ParticipantTable]) -> LabelError:
    has = "; ".join(f"{table.path} has {', '.join(table.columns)}" for table in tables[1:])
    first = tables[0]
    return LabelError(f"{first.path} has no column {name!r}; it has {', '.join(first.columns)}{'; ' * bool(has)}{has}.")


def _with_whole_numbers(runs: pd.DataFrame, covariates: Collection[str]) -> pd.DataFrame:
    """Make integers of covariates that are whole numbers and complete: 51 and 51.0 are one cohort, as 0.1.0 has it."""
    table = runs.copy()
    for name in covariates:
        values = table[name]
        if pd.api.types.is_float_dtype(values) and (values == values.round()).all() and values.abs().lt(2**53).all():
            table[name] = values.astype("int64")
    return table


def plain_rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into rows of plain values, which Nipype can hash; numbers stay numbers."""
    table = runs.copy()
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            table[name] = table[name].fillna("")
    return [{str(key): value for key, value in row.items()} for row in table.to_dict(orient="records")]
