"""Labels and covariates of participants: where they are looked for, and how a column is read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlparse

from bids_neurossm.dataset.description import read_description
from bids_neurossm.errors import LabelError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TargetType = Literal["class", "continuous"]

#: Spellings of a missing value in the tables of labs.
_MISSING = ("n/a", "N/A", "NA", "na", "NaN", "nan", "", "-9999", "-9999.0")


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


def find_table(target: Target, participants_file: Path | None, bids_dir: Path, derivatives: Mapping[str, Path]) -> Path:
    """Find the table that holds a target.

    fMRIPrep derivatives carry no participants.tsv, so the datasets they came from are searched too.

    Raises
    ------
    LabelError
        If there is none; the message lists the places tried.
    """
    name = f"phenotype/{target.file}" if target.kind == "phenotype" else "participants.tsv"
    if participants_file is not None and target.kind != "phenotype":
        candidates = [participants_file]
    else:
        datasets = [bids_dir, *([derivatives["raw"]] if "raw" in derivatives else []), *derivatives.values()]
        sources = [source for dataset in datasets for source in source_datasets(dataset)]
        candidates = list(dict.fromkeys(folder / name for folder in [*datasets, *sources]))
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise LabelError(
        f"The labels for --target {target.text} were found in none of {', '.join(map(str, candidates))}; give "
        "--participants-file TSV, or -d raw=PATH."
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
                folder = Path(unquote(parsed.path))
                found.append(folder if folder.is_absolute() else dataset / folder)
    return found


def read_participants(path: Path) -> pd.DataFrame:
    """Read a table of participants as text.

    Returns
    -------
    DataFrame
        ``participant_id`` without ``sub-``, ``session_id`` without ``ses-`` where there is one; stray spaces are
        taken off; what is missing is NaN.

    Raises
    ------
    LabelError
        If it can not be read, has no participant_id, or names a participant (and session) twice.
    """
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # Rows longer than the first line: pandas would shift or drop cells, and only warn.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (OSError, ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise LabelError(f"{path} is not a readable table ({error}); tab-separated text is expected.") from error
    table.columns = [str(name).strip() for name in table.columns]
    if "participant_id" not in table.columns:
        found = ", ".join(table.columns)
        raise LabelError(
            f"{path} has the columns {found[:500]}{' ...' * (len(found) > 500)}; a tab-separated column participant_id "
            "is expected."
        )
    for name in table.columns:
        values = table[name].str.strip()
        table[name] = values.where(~values.isin(_MISSING), None)
    table = table.dropna(how="all").reset_index(drop=True)  # spreadsheets leave rows of tabs behind
    table["participant_id"] = table["participant_id"].str.removeprefix("sub-")
    keys = ["participant_id"]
    if "session_id" in table.columns:
        table["session_id"] = table["session_id"].str.removeprefix("ses-")
        keys.append("session_id")
    twice = table[table.duplicated(keys)]
    if len(twice):
        raise LabelError(
            f"{path} has {' '.join(map(str, twice.iloc[0][keys]))} more than once; one row each is expected."
        )
    return table


def join(runs: pd.DataFrame, table: pd.DataFrame, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """Give every run the values of its participant, and of its session where the table has sessions.

    Parameters
    ----------
    runs : DataFrame
        Columns ``participant_id`` and ``session_id``.
    table : DataFrame
        From `read_participants`.
    columns : sequence of str
        What is wanted from it.
    path : Path
        For messages.

    Returns
    -------
    DataFrame
        `runs` with the columns, in the same order.

    Raises
    ------
    LabelError
        If a column is not there (the message lists those that are), or none of the participants is in the table.
    """
    for name in columns:
        if name not in table.columns:
            raise LabelError(f"{path} has no column {name!r}; it has {', '.join(table.columns)}.")
    keys = ["participant_id"]
    if "session_id" in table.columns and table["session_id"].notna().any() and (runs["session_id"] != "").any():
        keys.append("session_id")
    wanted = [*keys, *(name for name in dict.fromkeys(columns) if name not in keys)]
    unique = table[wanted].drop_duplicates(keys) if len(keys) == 2 else _one_per_participant(table[wanted], path)
    _require_common(runs, unique, keys, path)
    return runs.merge(unique, on=keys, how="left", validate="many_to_one")


def _require_common(runs: pd.DataFrame, table: pd.DataFrame, keys: list[str], path: Path) -> None:
    """Refuse a table of other people: every label would be missing, and nobody would see why."""
    if not runs[keys].merge(table[keys], on=keys).empty:
        return
    what = "participants" if len(keys) == 1 else "participants and sessions"
    raise LabelError(
        f"{path} holds none of the {what} of the series: the series are of {_some(runs, keys)}; the table lists "
        f"{_some(table, keys)}. Give the table of these participants with --participants-file, or spell them alike."
    )


def _some(table: pd.DataFrame, keys: list[str]) -> str:
    """Name up to three participants (and sessions), and say how many more there are."""
    rows = table[keys].dropna().drop_duplicates()
    labels = [
        " ".join(f"{prefix}-{label}" for prefix, label in zip(("sub", "ses"), row, strict=False))
        for row in rows.head(3).itertuples(index=False)
    ]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"{', '.join(labels) or 'nobody'}{more}"


def _one_per_participant(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    distinct = table.drop_duplicates()
    twice = distinct[distinct.duplicated("participant_id")]
    if len(twice):
        name = twice.iloc[0]["participant_id"]
        raise LabelError(
            f"{path} gives sub-{name} different values in different sessions, but the series have no session; keep one "
            "row for each participant."
        )
    return distinct


def read_target(values: pd.Series[str], wanted: str, text: str) -> tuple[pd.Series[Any], TargetType]:
    """Decide whether a column holds classes or numbers, and read it so.

    Parameters
    ----------
    values : Series of str
        NaN where missing.
    wanted : {"auto", "class", "continuous"}
        As the user gave it. ``auto`` takes numbers for classes where there are two of them, or a few whole ones that
        each come often: a diagnosis coded 1 and 2 is a class.
    text : str
        The target, for messages.

    Returns
    -------
    values : Series
        Text for classes, float for numbers.
    target_type : {"class", "continuous"}

    Raises
    ------
    LabelError
        If numbers are wanted and a value is none, or is not finite.
    """
    import pandas as pd

    numbers = pd.to_numeric(values, errors="coerce")
    numeric = bool(numbers.notna().sum() == values.notna().sum())
    if numeric and wanted != "class" and numbers.isin([float("inf"), float("-inf")]).any():
        raise LabelError(f"--target {text}: a value is infinite; finite numbers or n/a are expected.")
    if wanted == "continuous":
        if not numeric:
            bad = values[numbers.isna() & values.notna()].iloc[0]
            raise LabelError(f"--target {text}: {bad!r} is not a number, so the column can not be continuous.")
        return numbers.astype(float), "continuous"
    if wanted == "auto" and numeric:
        counts = numbers.value_counts()
        whole = bool((counts.index == counts.index.astype(int)).all()) if len(counts) else False
        few = len(counts) <= 2 or (whole and len(counts) <= 6 and int(counts.min()) >= max(5, 0.05 * len(numbers)))
        if not few:
            return numbers.astype(float), "continuous"
    if numeric:
        # 1.0 and 1 are one class.
        return numbers.map(lambda value: f"{value:g}", na_action="ignore"), "class"
    return values, "class"
