"""Label tables as atlases ship them: TSV of any editor, CBIG's order files, AAL's XML."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, MAX_XML_BYTES, missing_content, read_content, read_utf8
from bids_neurossm.files.tables import read_table

_INDEX_COLUMNS = ("index", "label", "value", "id", "key")
_NAME_COLUMNS = ("name", "region", "label_name", "structure", "abbreviation")
_NETWORK_COLUMNS = ("network", "network_label", "system", "lobe")


#: Room is set aside for all labels up to the largest: one beyond this is a mistake.
LARGEST_LABEL = 2**24


@dataclass(frozen=True)
class LabelTable:
    """Labels, names and networks of an atlas, in the order of the labels."""

    labels: tuple[int, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]


def read_label_table(path: Path) -> LabelTable:
    """Read the table that belongs to a label image.

    Parameters
    ----------
    path : Path
        ``.tsv`` or ``.csv`` with an index and a name column, CBIG's ``*_order.txt``, or AAL's ``.xml``.

    Raises
    ------
    ResourceMissingError
        If the file is missing or empty.
    UsageError
        If it can not be understood, or names a label or a region twice.
    """
    problem = missing_content(path)
    if problem:
        raise ResourceMissingError(problem)
    if not path.is_file():
        raise ResourceMissingError(f"{path} is missing; a table with the columns index and name is expected.")
    try:
        if path.suffix == ".xml":
            rows = _read_xml(path)
        elif path.suffix == ".txt":
            rows = _read_order(read_utf8(path, UsageError, MAX_TABLE_BYTES), path)
        else:
            rows = _read_delimited(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason}); save the label table as UTF-8.") from error
    rows = sorted((row for row in rows if row[0] != 0), key=lambda row: row[0])
    if not rows:
        raise UsageError(f"{path} names no region.")
    labels = tuple(row[0] for row in rows)
    names = tuple(row[1] for row in rows)
    for values, what in ((labels, "label"), (names, "name")):
        twice = {str(value) for value, count in Counter(values).items() if count > 1}
        if twice:
            raise UsageError(f"{path} has the {what} {min(twice)} more than once; each region needs its own.")
    return LabelTable(labels, names, tuple(row[2] for row in rows))


def network_of(name: str) -> str:
    """Read the network from a Schaefer region name.

    Examples
    --------
    >>> network_of("7Networks_LH_SalVentAttn_Med_1")
    'SalVentAttn'
    """
    match = re.match(r"(?:7|17)Networks_[LR]H_([A-Za-z]+)", name)
    return match.group(1) if match else "n/a"


def _row(index: str, name: str, network: str | None, path: Path) -> tuple[int, str, str]:
    try:
        value = float(index)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= LARGEST_LABEL or value != int(value):
        raise UsageError(f"{path}: {index[:100]!r} is not a label; whole numbers from 0 are expected.")
    name = name.strip()
    return int(value), name, (network or "").strip() or network_of(name)


def _read_delimited(path: Path) -> list[tuple[int, str, str]]:
    table = read_table(path, UsageError)
    table.columns = [str(name).lower() for name in table.columns]
    header = list(table.columns)

    def column(candidates: tuple[str, ...]) -> str | None:
        return next((name for name in candidates if name in header), None)

    index, name, network = column(_INDEX_COLUMNS), column(_NAME_COLUMNS), column(_NETWORK_COLUMNS)
    if name is None and "label" in header and "index" in header:
        name = "label"
    if index is None or name is None:
        raise UsageError(f"{path} has the columns {', '.join(header)}; index and name are expected.")
    networks = table[network] if network is not None else [""] * len(table)
    return [_row(*row, path) for row in zip(table[index], table[name], networks, strict=True)]


def _read_order(text: str, path: Path) -> list[tuple[int, str, str]]:
    rows = []
    for line in text.splitlines():
        cells = line.split()
        if cells:
            if len(cells) < 2:
                raise UsageError(f"{path}: the row {line!r} has no name; `index name ...` is expected.")
            rows.append(_row(cells[0], cells[1], None, path))
    return rows


def _read_xml(path: Path) -> list[tuple[int, str, str]]:
    text = read_content(path, UsageError, MAX_XML_BYTES)
    if b"<!ENTITY" in text or b"<!DOCTYPE" in text:
        # No atlas declares entities; a file that does could expand without end.
        raise UsageError(f"{path} declares XML entities, which no label table needs; it is not read.")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UsageError(f"{path} is not valid XML: {error}.") from error
    return [_row(label.findtext("index", ""), label.findtext("name", ""), None, path) for label in root.iter("label")]
