"""Labels and covariates of participants: where they are looked for, and how a column is read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote_to_bytes, urlparse

from bids_neurossm.config import TargetType
from bids_neurossm.dataset.description import read_description
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.files.safe_reading import is_listed
from bids_neurossm.phenotype.cell_values import (
    DISTINCT,
    MOSTLY,
    NumberColumn,
    as_classes,
    has_decimal_commas,
    out_of_range,
    read_ages,
    read_numbers,
)
from bids_neurossm.phenotype.identifiers import listed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Parameters
    ----------
    text : str
        As the user gave it.
    kind : {"participants", "phenotype", "entity"}
        Where it is read from.
    column : str
        Column or entity.
    file : str or None
        File under ``phenotype/``.
    """

    text: str
    kind: Literal["participants", "phenotype", "entity"]
    column: str
    file: str | None = None

    @property
    def level(self) -> Literal["participant", "run"]:
        """Whether a participant or a run has a label, and is scored."""
        return "run" if self.kind == "entity" else "participant"


def parse_target(text: str) -> Target:
    """Understand ``COLUMN``, ``phenotype/FILE:COLUMN`` and ``entity:NAME``.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if text.startswith("entity:"):
        return Target(text, "entity", text.removeprefix("entity:"))
    match = re.fullmatch(r"phenotype/([^:]+):(.+)", text)
    if match:
        name = match[1] if match[1].endswith(".tsv") else f"{match[1]}.tsv"
        if Path(name).name != name:
            raise UsageError(f"--target {text}: a file directly under phenotype/ is expected.")
        return Target(text, "phenotype", match[2], name)
    if "/" in text or ":" in text or not text:
        raise UsageError(f"--target {text!r}: COLUMN, phenotype/FILE:COLUMN or entity:NAME is expected.")
    return Target(text, "participants", text)


def label_datasets(bids_dir: Path, derivatives: Mapping[str, Path]) -> list[Path]:
    """List the datasets whose tables may hold labels, in the order in which they are searched.

    fMRIPrep derivatives carry no participants.tsv, so the datasets they came from are searched too.
    """
    datasets = [bids_dir, *([derivatives["raw"]] if "raw" in derivatives else []), *derivatives.values()]
    return list(dict.fromkeys([*datasets, *(source for dataset in datasets for source in source_datasets(dataset))]))


def find_table(target: Target, participants_file: Path | None, datasets: Sequence[Path]) -> Path:
    """Find the table that holds a target.

    Parameters
    ----------
    target : Target
    participants_file : Path or None
        Stands alone where it is given, except for a phenotype file.
    datasets : sequence of Path
        From `label_datasets`.

    Raises
    ------
    LabelError
        If there is none; the message lists the places tried.
    """
    name = f"phenotype/{target.file}" if target.kind == "phenotype" else "participants.tsv"
    alone = participants_file is not None and target.kind != "phenotype"
    candidates = [participants_file] if participants_file is not None and alone else [each / name for each in datasets]
    for candidate in candidates:
        if is_listed(candidate):
            return candidate
    searched = [] if alone else datasets
    unknown = [f"{name} of {dataset}" for dataset in searched for name in sources_without_place(dataset)]
    elsewhere = f" The place of {', '.join(unknown)} is not recorded: give it as -d NAME=PATH." if unknown else ""
    raise LabelError(
        f"The labels for --target {target.text} were found in none of {', '.join(map(str, candidates))}; give "
        f"--participants-file TSV, or -d raw=PATH.{elsewhere}"
    )


def source_datasets(dataset: Path) -> list[Path]:
    """Local folders that a derivatives dataset names as its sources."""
    found = []
    description = read_description(dataset)
    links = description.get("DatasetLinks")
    urls = [source.get("URL") for source in description.get("SourceDatasets") or [] if isinstance(source, dict)]
    urls += list(links.values()) if isinstance(links, dict) else []
    for url in urls:
        if isinstance(url, str):
            parsed = urlparse(url)
            if parsed.scheme in ("", "file") and parsed.path:
                folder = Path(os.fsdecode(unquote_to_bytes(parsed.path)))
                found.append(folder if folder.is_absolute() else dataset / folder)
    return found


def sources_without_place(dataset: Path) -> list[str]:
    """Names of source datasets whose place a dataset does not record."""
    sources = read_description(dataset).get("SourceDatasets") or []
    return [
        str(each["Name"])
        for each in sources
        if isinstance(each, dict) and "Name" in each and not {"URL", "DOI"} & set(each)
    ]


def odd_cells(odd: pd.Series[str], people: pd.Series[str]) -> str:
    """Name cells by their participants, for messages: ``sub-07 '89+', sub-09 'x'``."""
    cells = dict.fromkeys(f"sub-{name} {cell!r}" for name, cell in zip(people[odd.index], odd, strict=True))
    return listed(list(cells))


def read_target(
    values: pd.Series[Any], wanted: str, target: Target, people: pd.Series[str]
) -> tuple[pd.Series[Any], TargetType, list[str]]:
    """Decide whether a column holds classes or numbers, and read it so.

    Parameters
    ----------
    values : Series of str
        None where missing.
    wanted : {"auto", "class", "continuous"}
        As the user gave it. ``auto`` takes numbers for classes where there are two of them, or a few whole ones that
        each come often: a diagnosis coded 1 and 2 is a class.
    target : Target
        Where they come from.
    people : Series of str
        Participant of each value, for messages.

    Returns
    -------
    values : Series
        Text for classes, float for numbers.
    target_type : {"class", "continuous"}
    notes : list of str
        Cells that were read in another way than they are written, and classes that differ in case alone.

    Raises
    ------
    LabelError
        If numbers are wanted and a cell is none or is not finite, or if a column of numbers has odd cells.
    """
    huge = out_of_range(values)
    if wanted != "class" and len(huge):
        raise LabelError(f"--target {target.text}: {odd_cells(huge, people)} {_are(huge)} no finite number of any use.")
    aged = target.column.casefold() == "age" and wanted != "class"
    column, read = read_ages(values) if aged else (read_numbers(values), [])
    notes = [f"--target {target.text}: {note}." for note in read]
    if wanted == "continuous" or (wanted == "auto" and column.numeric):
        if len(column.odd):
            raise LabelError(
                f"--target {target.text}: {odd_cells(column.odd, people)} {_are(column.odd)} no number; correct it in "
                "the table, or write n/a where nothing is known."
            )
        if wanted == "continuous" or not _are_few(column.numbers):
            return column.numbers, "continuous", notes
    elif wanted == "auto":
        _refuse_mostly_numeric(column, values, f"--target {target.text}", people)
        _refuse_free_text(values, f"--target {target.text}", people)
    classes = as_classes(values)
    told = [*_read_as_text(column, people), *lookalikes(classes)] if wanted == "auto" else lookalikes(classes)
    return classes, "class", [f"--target {target.text}: {note}." for note in told]


def _read_as_text(column: NumberColumn, people: pd.Series[str]) -> list[str]:
    """Say that a column of few numbers is text, and by which cells."""
    known = int(column.numbers.notna().sum())
    if not len(column.odd) or known < MOSTLY * (known + len(column.odd)):
        return []
    return [f"read as text, since {odd_cells(column.odd, people)} {_are(column.odd)} no number"]


def _refuse_free_text(values: pd.Series[Any], what: str, people: pd.Series[str]) -> None:
    """Refuse text in which nearly every participant has a class of their own."""
    units = people[values.notna()].nunique()
    distinct = values.nunique()
    if distinct > max(2 * DISTINCT, units / 2):
        raise LabelError(
            f"{what}: {units} participants have {distinct} different texts ({odd_cells(values.dropna(), people)}), so "
            "they are no classes; write numbers as plain numbers, or give --target-type class."
        )


def _are(cells: pd.Series[str]) -> str:
    return "is" if cells.nunique() == 1 else "are"


def _are_few(numbers: pd.Series[float]) -> bool:
    """Tell whether numbers look like codes of classes: two, or up to six whole ones that each come often."""
    counts = numbers.value_counts()
    whole = bool(len(counts)) and bool((counts.index == counts.index.astype(int)).all())
    return len(counts) <= 2 or (whole and len(counts) <= 6 and int(counts.min()) >= max(5, 0.05 * len(numbers)))


def _refuse_mostly_numeric(column: NumberColumn, values: pd.Series[Any], what: str, people: pd.Series[str]) -> None:
    """Refuse a column of numbers in which a few cells are something else; one of them must not make it text."""
    if has_decimal_commas(values):
        raise LabelError(
            f"{what}: {odd_cells(column.odd[column.odd.str.contains(',')], people)} have a decimal comma; write them "
            "with a point."
        )
    if column.mostly(people):
        known = int(column.numbers.notna().sum())
        raise LabelError(
            f"{what}: {known} of {known + len(column.odd)} cells are numbers, but not {odd_cells(column.odd, people)}; "
            "correct it in the table, write n/a where nothing is known, or name what means missing with "
            "--missing-values."
        )


def lookalikes(classes: pd.Series[Any]) -> list[str]:
    """Report classes whose names look alike (case, spaces, how accents are encoded); they are two classes."""
    counts = {str(name): int(number) for name, number in classes.dropna().value_counts().items()}
    found: dict[str, list[str]] = {}
    for name in sorted(counts):
        alike = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        found.setdefault(alike, []).append(f"{name!r} ({counts[name]})")
    return [f"{' and '.join(names)} look alike and are two classes" for names in found.values() if names[1:]]


def read_covariate(
    values: pd.Series[Any], name: str, people: pd.Series[str], *, named: bool
) -> tuple[pd.Series[Any] | None, list[str]]:
    """Read a covariate as numbers or as words.

    Parameters
    ----------
    values : Series of str
        None where missing.
    name : str
        The column.
    people : Series of str
        Participant of each value, for messages.
    named : bool
        Whether the user named the column; if not, one that cannot be used is set aside with a warning.

    Returns
    -------
    values : Series or None
        Float, or text; None where the column was set aside.
    notes : list of str

    Raises
    ------
    LabelError
        If a column that the user named is numeric but for a few cells.
    """
    aged = name.casefold() == "age"
    column, read = read_ages(values) if aged else (read_numbers(values), [])
    notes = [f"Column {name}: {note}." for note in read]
    if named and not values.notna().any():
        notes.append(f"Column {name} has no value for any participant of this analysis.")
    if column.numeric:
        return column.numbers, notes
    unclear = (
        len(out_of_range(values)) > 0
        or column.mostly(people)
        or (not aged and has_decimal_commas(values))
        or (aged and bool(column.numbers.notna().any()))
    )
    if not unclear or not len(column.odd):
        return values, [*notes, *(f"Column {name}: {note}." for note in _read_as_text(column, people))]
    if named:
        _refuse_mostly_numeric(column, values, f"--covariates {name}", people)
        raise LabelError(f"--covariates {name}: {odd_cells(column.odd, people)} {_are(column.odd)} no usable number.")
    return None, [f"Column {name} is not used: {odd_cells(column.odd, people)} {_are(column.odd)} no number."]
