"""Reading the derivatives that a report is made of, and laying numbers out as text.

A file that was never written is None here, and the report says so. A file that is there and can not be read is an
error: a report that passed over it would hide a damaged output folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.errors import RunError
from bids_neurossm.files.escaping import escaped
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.tables import read_output


@dataclass(frozen=True)
class Table:
    """A table as the page shows it.

    Parameters
    ----------
    caption : str
        What the rows are, for the eye and for a screen reader.
    header : tuple of str
        Column headings.
    rows : tuple of tuple of str
        Cells, already formatted.
    numeric : tuple of bool
        Which columns are set flush right.
    left_out : int
        Rows that are on disk and not shown.
    raw : tuple of tuple of str
        Unrounded values of the cells, by which the browser sorts; empty for a table that is not sorted.
    filters : tuple of int
        Columns whose values the reader can choose from.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    left_out: int = 0
    raw: tuple[tuple[str, ...], ...] = ()
    filters: tuple[int, ...] = ()


def read_table(path: Path) -> pd.DataFrame | None:
    """Read a TSV with a header; ``n/a`` is missing.

    Parameters
    ----------
    path : Path
        A table of OUT_DIR.

    Returns
    -------
    DataFrame or None
        None where there is no such file.

    Raises
    ------
    RunError
        If the file is there and is not a table.
    """
    if not path.is_file():
        return None
    table = read_output(path, RunError)
    # Here, so that figures have them escaped as well as the page.
    for name in table.select_dtypes(exclude="number").columns:
        table[name] = table[name].map(_shown)
    return table.rename(columns=_shown)


def _shown(value: Any) -> Any:
    """Escape the texts of a value that a page shows; see `bids_neurossm.files.escaping`."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, dict):
        return {_shown(name): _shown(inner) for name, inner in value.items()}
    return [_shown(inner) for inner in value] if isinstance(value, list) else value


def gathered_tables(folder: Path, ending: str) -> pd.DataFrame | None:
    """Read every table whose name ends so (one per map without and with a label) as one; None where there is none."""
    paths = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    frames = [frame for frame in map(read_table, paths) if frame is not None]
    return pd.concat(frames, ignore_index=True) if frames else None


def is_true(column: pd.Series[Any]) -> pd.Series[Any]:
    """Read a column of truth values, written as words or as numbers."""
    return column.astype(str).str.lower().isin(["true", "1", "1.0", "yes"])


def read_matrix(path: Path) -> tuple[list[str], pd.DataFrame] | None:
    """Read a square matrix with named columns, whether or not a first column repeats the names.

    Returns
    -------
    names : list of str
        Region names, R of them.
    matrix : DataFrame, shape (R, R)
        Numbers.

    Raises
    ------
    RunError
        If the table is not square.
    """
    table = read_table(path)
    if table is None:
        return None
    if table.shape[1] == table.shape[0] + 1 and not pd.api.types.is_numeric_dtype(table.iloc[:, 0]):
        table = table.iloc[:, 1:]
    if table.shape[0] != table.shape[1]:
        raise RunError(
            f"{path} has {table.shape[0]} rows and {table.shape[1]} columns, a square matrix is expected; "
            "delete it and run again."
        )
    return [str(name) for name in table.columns], table.apply(pd.to_numeric, errors="coerce")


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object.

    Returns
    -------
    dict or None
        None where there is no such file.

    Raises
    ------
    RunError
        If the file is there and does not hold a JSON object.
    """
    if not path.is_file():
        return None
    content: dict[str, Any] = _shown(read_json_object(path, RunError))
    return content


def number(value: object, digits: int = 2, fixed: bool = False) -> str:
    """Lay out a number; what is missing or is no number becomes a dash or stays text.

    Parameters
    ----------
    value : object
        Anything a table or a sidecar holds.
    digits : int
        Decimals; a negative number asks for so many significant figures instead.
    fixed : bool
        Keep the decimals of whole numbers too, where numbers stand beside each other.

    Examples
    --------
    >>> number(0.12345), number(12), number(float("nan")), number(None), number("n/a"), number(0.00001, 3)
    ('0.12', '12', '–', '–', '–', '<0.001')
    >>> number(3e-7, -2)
    '3e−07'
    """
    if value is None or value == "n/a":
        return "–"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "–"
    if digits < 0:
        return f"{value:.{-digits}g}".replace("-", "−")
    if 0 < abs(value) < 0.5 * 10**-digits:
        return f"{'−' if value < 0 else ''}<{10**-digits:.{digits}f}".replace("−<", ">−")
    if value.is_integer() and abs(value) >= 1 and not fixed:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.{digits}f}".replace("-", "−")


def with_interval(value: object, low: object, high: object, digits: int = 3) -> str:
    """Lay out an estimate with its interval, for instance ``0.712 [0.650, 0.771]``."""
    text = number(value, digits, fixed=True)
    if number(low) == "–" or number(high) == "–":
        return text
    return f"{text} [{number(low, digits, fixed=True)}, {number(high, digits, fixed=True)}]"


def as_table(
    frame: pd.DataFrame,
    caption: str,
    columns: Mapping[str, str],
    digits: Mapping[str, int] | None = None,
    limit: int = 200,
    sortable: bool = False,
    filters: Sequence[str] = (),
) -> Table:
    """Lay out some columns of a data frame.

    Parameters
    ----------
    frame : DataFrame
        Rows.
    caption : str
        Caption of the table.
    columns : mapping of str to str
        Column name to heading; a column that the frame lacks is passed over.
    digits : mapping of str to int, optional
        Decimals per column, 3 elsewhere.
    limit : int
        Most rows that are shown, so that the page of a large cohort still opens on a phone.
    sortable : bool
        Whether the browser may sort and filter the rows.
    filters : sequence of str
        Columns (of the frame) whose values the reader can choose from.
    """
    digits = digits or {}
    present = [name for name in columns if name in frame.columns]
    shown = frame.head(limit)
    # Decimals stay in line where a column holds any; counts that missing cells made floats have none.
    fixed = {name for name in present if _has_decimals(frame[name])}
    rows = tuple(
        tuple(number(row[name], digits.get(name, 3), fixed=name in fixed) for name in present)
        for row in shown.to_dict(orient="records")
    )
    numeric = tuple(pd.api.types.is_numeric_dtype(frame[name]) for name in present)
    header = tuple(columns[name] for name in present)
    raw = tuple(tuple(_sort_key(row[name]) for name in present) for row in shown.to_dict(orient="records"))
    chosen = tuple(place for place, name in enumerate(present) if name in filters and shown[name].nunique() > 1)
    return Table(caption, header, rows, numeric, len(frame) - len(shown), raw if sortable else (), chosen)


def _has_decimals(column: pd.Series[Any]) -> bool:
    if not pd.api.types.is_float_dtype(column):
        return False
    values = column.dropna()
    return bool((values != values.round()).any())


def _sort_key(value: object) -> str:
    """Return what the browser compares: the unrounded number, or the text; empty where it is missing."""
    if value is None or value != value:
        return ""
    return f"{value:.9g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def pairs_table(caption: str, pairs: Iterable[tuple[str, object]], header: Sequence[str] = ("What", "Value")) -> Table:
    """Lay out names and values as a table of two columns."""
    rows = tuple((name, number(value)) for name, value in pairs)
    return Table(caption, tuple(header), rows, (False, False))
