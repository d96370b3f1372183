"""The one reader of delimited text: tables of participants, confounds, regional series, labels and settings.

Tab-separated text follows BIDS: one line is one row, and only a cell that both begins and ends with a double quote on
its line is unquoted (it may hold tabs). Any other quote is a character, so that a stray one cannot swallow rows and
move labels. Comma- and semicolon-separated text goes through the CSV parser of Python's standard library.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, missing_content, read_content

if TYPE_CHECKING:
    import pandas as pd

#: Spellings of a missing number, for columns of numbers.
MISSING_NUMBERS = ("", "n/a", "N/A", "na", "NA", "nan", "NaN", "NAN", "-nan", "-NaN", "null", "NULL", "None", "<NA>")

#: Columns of this program's own tables that are text, whatever they hold: a class may be called 1, and a run 01.
TEXT_COLUMNS = frozenset(
    (
        *("participant_id", "group", "set", "fold", "model", "unit", "baseline", "metric", "interval", "method"),
        *("sentence", "run", "excluded", "reason", "detail", "control", "verdict", "name", "network", "pathway"),
        *("stream", "check", "class", "row_class", "column_class", "dominant_pathway", "label", "predicted", "site"),
        *("split", "configuration", "target", "analysis"),
    )
)

#: How files begin that are no text, and what they are.
_SIGNATURES = (
    (b"PK\x03\x04", "a spreadsheet (or zip archive)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"$FL", "an SPSS file"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
)
#: More columns than any table of participants or regions has.
MAX_COLUMNS = 100_000
#: Most characters of a line that are looked at for names alone.
MAX_ROW_CHARACTERS = 64 * 1024**2

_AS_UTF8 = "save it as UTF-8 text, tab-separated (.tsv) or comma-separated (.csv)"


@dataclass(frozen=True)
class DelimitedText:
    """Rows of a table whose shape has been checked.

    Parameters
    ----------
    path : Path
        The file.
    error : type
        Raised where it cannot be used.
    first : list of str
        Cells of the first row, N of them; usually the names of the columns.
    rows : list of list of str
        The other rows, N cells each, exactly as written.
    """

    path: Path
    error: type[NeuroSSMError]
    first: list[str]
    rows: list[list[str]]

    def text(self) -> pd.DataFrame:
        """Return the rows below the names as text.

        Returns
        -------
        DataFrame of str
            One column per name, without columns that have no name; names without surrounding spaces.

        Raises
        ------
        NeuroSSMError
            `error`, if two columns have one name.
        """
        import pandas as pd

        names = self._names()
        kept = [index for index, name in enumerate(names) if name]
        columns = {names[index]: [row[index] for row in self.rows] for index in kept}
        return pd.DataFrame(columns, dtype=str)

    def typed(
        self,
        names: Sequence[str] | None = None,
        *,
        text: Collection[str] = (),
        missing: Sequence[str] = MISSING_NUMBERS,
    ) -> pd.DataFrame:
        """Return the rows with every column of numbers as numbers.

        Parameters
        ----------
        names : sequence of str, optional
            Names of the columns where the first row is data as well; by default it holds the names.
        text : collection of str
            Columns that stay text, whatever is in them.
        missing : sequence of str
            Cells that are missing.

        Returns
        -------
        DataFrame
            NaN where missing. A column with a cell that is neither a number nor missing is text.

        Raises
        ------
        NeuroSSMError
            `error`, if two columns have one name.
        """
        import pandas as pd

        wanted = self._names() if names is None else list(names)
        rows = self.rows if names is None else [self.first, *self.rows]
        if not rows:
            return pd.DataFrame(columns=pd.Index(wanted), dtype=float)
        lines = "\n".join(map("\t".join, rows))
        if lines.count("\t") != len(rows) * (len(wanted) - 1) or lines.count("\n") != len(rows) - 1:
            # A quoted cell may hold what separates cells here.
            lines = "\n".join("\t".join(re.sub(r"[\t\n]", " ", cell) for cell in row) for row in rows)
        table = pd.read_csv(
            io.StringIO(lines),
            sep="\t",
            header=None,
            names=range(len(wanted)),
            quoting=csv.QUOTE_NONE,
            dtype={index: str for index, name in enumerate(wanted) if name in text},
            na_values=list(missing),
            keep_default_na=False,
            skipinitialspace=True,
            skip_blank_lines=False,
            low_memory=False,
        )
        table.columns = pd.Index(wanted)
        return table

    def _names(self) -> list[str]:
        names = [name.strip() for name in self.first]
        twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
        if twice is not None:
            raise self.error(f"{self.path} has two columns called {twice!r}; each column needs a name of its own.")
        return names


def read_table(path: Path, error: type[NeuroSSMError]) -> pd.DataFrame:
    """Read a table as text.

    Parameters
    ----------
    path : Path
        ``.csv``: separated by commas, semicolons or tabs, whichever the first line has most of. Anything else:
        separated by tabs. UTF-8 with or without a byte-order mark; any line ends.
    error : type
        Raised where the table cannot be used.

    Returns
    -------
    DataFrame of str
        Cells exactly as written (quotes around a cell removed). Blank lines and empty cells after the last named
        column are left out.

    Raises
    ------
    NeuroSSMError
        `error`, if the file is not there, is not UTF-8 text, is blank, has a row with fewer or more cells than the
        first one, or two columns with one name; the message names the line.
    """
    return read_delimited(path, error).text()


def read_output(path: Path, error: type[NeuroSSMError]) -> pd.DataFrame:
    """Read a table that this program wrote: numbers as numbers, and only ``n/a`` is missing.

    Parameters
    ----------
    path : Path
        A ``.tsv`` of the output dataset.
    error : type
        Raised where the table cannot be used.

    Returns
    -------
    DataFrame
        The columns `TEXT_COLUMNS` are text: a class may be called ``NA`` or ``1``.
    """
    return read_delimited(path, error).typed(text=TEXT_COLUMNS, missing=("n/a", "nan"))


def read_delimited(path: Path, error: type[NeuroSSMError]) -> DelimitedText:
    """Read the rows of a table and check that all are as long as the first; see `read_table`."""
    text = _read_text(path, error)
    numbered = iter(_rows(text, path, error))
    _, first = next(numbered, (0, []))
    if not first:
        raise error(f"{path} is blank; a table with one line of column names is expected.")
    first = _without_trailing(first, 1)
    if len(first) > MAX_COLUMNS:
        raise error(f"{path} has {len(first)} columns; at most {MAX_COLUMNS} are read.")
    return DelimitedText(path, error, first, [_checked(row, first, line, path, error) for line, row in numbered])


def read_first_rows(path: Path, error: type[NeuroSSMError]) -> list[list[str]]:
    """Read the cells of the first two rows; the rest of the file is not looked at."""
    problem = missing_content(path)
    if problem:
        raise error(problem)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            pieces = iter(lambda: stream.readline(MAX_ROW_CHARACTERS), "")
            lines = list(itertools.islice((line for line in pieces if line.strip()), 3))
    except (OSError, UnicodeDecodeError):
        lines = _read_text(path, error).split("\n", 3)[:3]
    rows = [cells for _, cells in _rows("".join(lines).rstrip("\n"), path, error)]
    if not rows:
        raise error(f"{path} is blank; a table with one line of column names is expected.")
    return [_without_trailing(cells, 1) for cells in rows[:2]]


def _read_text(path: Path, error: type[NeuroSSMError]) -> str:
    """Read UTF-8 text with line feeds as its only line ends."""
    content = read_content(path, error, MAX_TABLE_BYTES)
    for start, what in _SIGNATURES:
        if content.startswith(start):
            raise error(f"{path} is {what}, not UTF-8 text; {_AS_UTF8}.")
    if b"\0" in content:
        raise error(f"{path} holds zero bytes, so it is not UTF-8 text; {_AS_UTF8}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        raise error(f"{path}: line {line} is not UTF-8 (Latin-1 or Windows-1252, perhaps); {_AS_UTF8}.") from reason
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(text: str, path: Path, error: type[NeuroSSMError]) -> Iterable[tuple[int, list[str]]]:
    """Split text into rows of cells with their line numbers, from 1; blank lines are left out."""
    separator = "\t"
    if path.suffix.lower() == ".csv":
        stated = re.match(r"\s*sep=(.)\n", text)  # spreadsheets state it in a line of its own
        text = text[stated.end() :] if stated else text
        separator = stated[1] if stated else _csv_separator(text)
    if separator != "\t":
        return _csv_rows(text, separator, path, error)
    return ((number, _cells(line)) for number, line in enumerate(text.split("\n"), start=1) if line.strip())


def separator_hint(columns: Sequence[str]) -> str:
    """Name a likely separator where a table seems to have a single column; empty where it has several."""
    if len(columns) != 1:
        return ""
    if any(each in columns[0] for each in ",;"):
        return " Is it separated by commas or semicolons? Then call it .csv."
    return ' Is it separated by spaces? Write it with tabs (R: sep = "\\t").' if " " in columns[0] else ""


def _csv_separator(text: str) -> str:
    """Tell the separator by the first line: spreadsheets write semicolons where the comma is the decimal mark."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    unquoted = re.sub(r'"[^"]*"', "", first)
    return max(",;\t", key=unquoted.count)  # the comma where there is none at all


def _cells(line: str) -> list[str]:
    """Split a line of tab-separated text; a quote counts only around a whole cell."""
    if '"' not in line:
        return line.split("\t")
    try:
        # Strict: fails where a quote is not closed on this line, or is closed in the middle of a cell.
        return next(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error:
        return [_unquoted(cell) for cell in line.split("\t")]


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _csv_rows(text: str, separator: str, path: Path, error: type[NeuroSSMError]) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as reason:
        raise error(f"{path}: line {line} is not comma-separated text ({reason}).") from reason


def _without_trailing(cells: list[str], least: int) -> list[str]:
    """Drop empty cells at the end, as spreadsheets leave them, down to a number of cells."""
    length = len(cells)
    while length > least and not cells[length - 1].strip():
        length -= 1
    return cells[:length]


def _checked(cells: list[str], first: Sequence[str], line: int, path: Path, error: type[NeuroSSMError]) -> list[str]:
    wanted = len(first)
    if len(cells) > wanted:
        cells = _without_trailing(cells, wanted)
    if len(cells) == wanted:
        return cells
    hint = separator_hint(first)
    if not hint and len(cells) == wanted + 1:
        hint = " (R writes one cell more than names where row names are kept: use row.names = FALSE.)"
    raise error(
        f"{path}: line {line}, which begins with {cells[0][:60]!r}, has {len(cells)} cells, the first line has "
        f"{wanted}; every row needs one cell per column, n/a where nothing is known.{hint}"
    )
