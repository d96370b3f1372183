"""What a cell of a table of participants means: missing, a number, an age, a class.

A column's type never turns on one cell: a column of numbers with a few odd cells is neither taken for text nor are the
odd cells dropped without a word.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

#: What BIDS itself calls missing; no sidecar and no option changes it.
ALWAYS_MISSING = ("", "n/a")
#: Words that are missing values in exports of R, Python and databases, but may be names of classes.
MISSING_WORDS = ("NA", "None", "NULL", "null")
#: Other spellings of a missing value: not a number, -9999, errors of spreadsheets (#N/A, #VALUE!, #NV ...).
_MISSING = re.compile(
    r"N/A|na|[+-]?nan|-9999(?:[.,]0*)?|#(?:\S*[!?]|[^\W\d]{1,3}/[^\W\d]{1,3}|N/A N/A|NA|NV|GETTING_DATA|#*)"
    r"|1\.#QNAN|-1\.#IND|<NA>|-1\.79769\d*e\+?308",
    re.IGNORECASE,
)
#: What often stands for a missing value; kept as it is, with a warning.
_SUSPECT = re.compile(
    r"[-–—]+|\.|\?|unknown|unk|missing|not available|n\.a\.?|\(null\)|\\N|NaT|[+-]?999+(?:\.0*)?|-99?(?:\.0*)?",
    re.IGNORECASE,
)

_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")
_AGE = re.compile(r"[>≥]?=?\s*([0-9]+(?:[.,][0-9]+)?)\s*\+?|([0-9]{3})Y", re.IGNORECASE)

#: A column is mostly numeric with at least this share of numbers, and more than this many different ones.
MOSTLY = 0.8
DISTINCT = 10
#: No quantity is larger; a cell that is holds a code for a missing value, or is damaged.
LARGEST = 1e100


def without_missing(
    values: pd.Series[str], levels: Collection[str] = (), given: Sequence[str] | None = None
) -> tuple[pd.Series[Any], list[str]]:
    """Replace what stands for a missing value.

    Parameters
    ----------
    values : Series of str
        Cells of one column.
    levels : collection of str
        Values that the table's sidecar declares as levels of the column: they are values, whatever they look like.
    given : sequence of str, optional
        ``--missing-values``: takes the place of all spellings but the empty cell and ``n/a``.

    Returns
    -------
    values : Series
        Without surrounding spaces, None where missing.
    notes : list of str
        Words that were read as missing, and values that may have been meant so; without the name of the column.
    """
    cells = values.str.strip()
    distinct = {str(cell): int(number) for cell, number in cells.value_counts().items()}
    notes, missing = [], set(ALWAYS_MISSING)
    for cell, number in distinct.items():
        if cell in missing or cell in levels:
            continue
        if given is not None:
            if any(_same(cell, each) for each in given):
                missing.add(cell)
            elif cell in MISSING_WORDS or _MISSING.fullmatch(cell) or _SUSPECT.fullmatch(cell):
                notes.append(f"{_cells(number)} `{cell}` kept as a value")
        elif cell in MISSING_WORDS:
            missing.add(cell)
            notes.append(f"{_cells(number)} `{cell}` read as missing")
        elif _MISSING.fullmatch(cell):
            missing.add(cell)
        elif _SUSPECT.fullmatch(cell):
            notes.append(f"{_cells(number)} `{cell}` kept as a value (if it means missing: --missing-values '{cell}')")
    return cells.astype(object).where(~cells.isin(missing), None), notes


def _same(cell: str, given: str) -> bool:
    """Compare two cells: numbers as numbers, since statistics programs write 999 as 999.00."""
    if _NUMBER.fullmatch(cell) and _NUMBER.fullmatch(given):
        return float(cell) == float(given)
    return cell == given


def _cells(number: int) -> str:
    return f"{number} cell{'s' if number != 1 else ''}"


@dataclass(frozen=True)
class NumberColumn:
    """A column read as numbers.

    Parameters
    ----------
    numbers : Series of float
        NaN where a cell is missing or odd.
    odd : Series of str
        Cells that are neither missing nor a number, by row.
    """

    numbers: pd.Series[float]
    odd: pd.Series[str]

    @property
    def numeric(self) -> bool:
        """Whether every cell that is there is a number."""
        return not len(self.odd) and bool(self.numbers.notna().any())

    def mostly(self, people: pd.Series[str]) -> bool:
        """Tell whether it is a column of numbers with a few odd cells; a cell counts once for each participant."""
        known = int((~people[self.numbers.notna()].duplicated()).sum())
        odd = int((~people[self.odd.index].duplicated()).sum())
        return odd > 0 and known >= MOSTLY * (known + odd) and int(self.numbers.nunique()) > DISTINCT


def read_numbers(values: pd.Series[Any]) -> NumberColumn:
    """Read cells as decimal numbers; None is missing, and a number beyond `LARGEST` is odd."""
    import pandas as pd

    numbers = [float(cell) if isinstance(cell, str) and _NUMBER.fullmatch(cell) else float("nan") for cell in values]
    numbers = [number if abs(number) <= LARGEST else float("nan") for number in numbers]
    column = pd.Series(numbers, index=values.index, dtype=float)
    return NumberColumn(column, values[column.isna() & values.notna()])


def out_of_range(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return the cells that are numbers, but infinite or beyond `LARGEST`."""
    return values[
        [isinstance(cell, str) and bool(_NUMBER.fullmatch(cell)) and abs(float(cell)) > LARGEST for cell in values]
    ]


def read_ages(values: pd.Series[Any]) -> tuple[NumberColumn, list[str]]:
    """Read cells as ages in years: also ``89+`` (as 89), ``045Y`` and a decimal comma.

    Returns
    -------
    column : NumberColumn
    notes : list of str
        How many cells were read in one of these ways, with examples; without the name of the column.
    """
    import pandas as pd

    column = read_numbers(values)
    matches = [_AGE.fullmatch(cell) for cell in column.odd]
    years = [float((match[1] or match[2]).replace(",", ".")) for match in matches if match]
    if not years:
        return column, []
    read = column.odd[[match is not None for match in matches]]
    examples = list(dict.fromkeys(f"`{cell}` as {age:g}" for cell, age in zip(read, years, strict=True)))
    more = " ..." if len(examples) > 3 else ""
    note = f"{_cells(len(read))} read as ages in years, {', '.join(examples[:3])}{more}"
    numbers = column.numbers.fillna(pd.Series(years, index=read.index, dtype=float))
    return NumberColumn(numbers, column.odd.drop(read.index)), [note]


def has_decimal_commas(values: pd.Series[Any]) -> bool:
    """Tell whether a column is mostly numbers with a decimal comma, alone or mixed with plain numbers."""
    known = [cell for cell in values if isinstance(cell, str)]
    commas = {cell for cell in known if _DECIMAL_COMMA.fullmatch(cell)}
    numbers = [cell for cell in known if cell in commas or _NUMBER.fullmatch(cell)]
    return bool(commas) and len(set(numbers)) > DISTINCT and len(numbers) >= MOSTLY * len(known)


def as_classes(values: pd.Series[Any]) -> pd.Series[Any]:
    """Make one class of labels that are the same number.

    Two labels are one class only if every label of the column is a number, both are equal as decimals and neither has a
    leading zero. The class is called by its shortest spelling. Any other label is itself.
    """
    labels = list(values.dropna().unique())
    if not labels or not all(_NUMBER.fullmatch(cell) and "n" not in cell.lower() for cell in labels):
        return values
    names: dict[Any, str] = {}
    for label in sorted(labels, key=lambda cell: (len(cell), cell)):
        names.setdefault(_class_key(label), label)
    return values.map({label: names[_class_key(label)] for label in labels}, na_action="ignore")


def _class_key(label: str) -> Any:
    return label if re.match(r"[+-]?0[0-9]", label) else Decimal(label)
