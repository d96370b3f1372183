"""The layouts in which series and facts about them are passed on, taken apart into records.

A record is a dictionary with the series of a run (``roiTimeseries``, T x R) and facts (``pheno`` with ``subjectId``,
``gender`` ...), as the public code of BolT and NeuroSSM describes it. Records come as a list, a tuple, an object array,
a dictionary by participant, by class and participant, or by column (a dictionary of lists, a data frame).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from bids_neurossm.errors import RunError
from bids_neurossm.roi_arrays.pickled_tables import Frame

_SERIES = ("roitimeseries", "timeseries", "series", "roisignals", "bold")
_FACTS = ("pheno", "phenotype", "facts", "info")

#: More than any study has; a small pickle could file one list under many keys.
_MAX_RECORDS = 1_000_000


@dataclass(frozen=True)
class Record:
    """The series of one run as stored, and what is said of it.

    Parameters
    ----------
    series : object
        An array, lists of numbers, a `Frame`, or something that is no series.
    facts : mapping
        As stored; empty for a bare array.
    keys : tuple of str
        Keys of the dictionaries it is filed under, from outside in.
    """

    series: Any
    facts: Mapping[Any, Any]
    keys: tuple[str, ...] = ()


def records_of(content: Any, where: str) -> list[Record]:
    """Take containers apart, down to records and arrays.

    Parameters
    ----------
    content : object
        As the restricted unpickler gives it.
    where : str
        The file, for messages.

    Raises
    ------
    RunError
        If a dictionary is no record, columns are of unequal length, or there are too many records.
    """
    records = list(islice(_records(content, where, ()), _MAX_RECORDS + 1))
    if len(records) > _MAX_RECORDS:
        raise RunError(f"{where} has more than {_MAX_RECORDS} records.")
    return records


def plain_name(name: Any) -> str:
    """Write a key in small letters alone, for comparing it."""
    return re.sub(r"[^a-z]", "", str(name).lower())


def find_key(record: Mapping[Any, Any], names: Sequence[str]) -> Any:
    """Find the key of the first entry with one of the names, whatever their case and underscores; None without."""
    known = {plain_name(key): key for key, value in record.items() if isinstance(key, str) and value is not None}
    return next((known[name] for name in names if name in known), None)


def listed(keys: Any) -> str:
    """List keys in a message."""
    return ", ".join(str(key)[:40] for key in list(keys)[:20]) or "no key at all"


def cell(value: Any) -> str | None:
    """Write a plain value as the cell of a table; anything else is None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, float):
        return f"{value:.17g}" if np.isfinite(value) else "n/a"
    return re.sub(r"\s+", " ", str(value)).strip() if isinstance(value, (str, int, bool)) else None


def _records(content: Any, where: str, keys: tuple[str, ...]) -> Iterator[Record]:
    content = _opened(content)
    if isinstance(content, dict):
        if find_key(content, _SERIES) is not None:
            yield from _of_dictionary(content, where, keys)
        elif not content or len(keys) == 2:
            raise RunError(f"{where}: a record has no {_SERIES[0]}; it has {listed(content)}.")
        else:
            for key, value in content.items():
                yield from _records(value, where, (*keys, cell(key) or str(type(key).__name__)))
    elif isinstance(content, list) and not _is_matrix(content):
        for part in content:
            # A list of lists holds the records of one participant after another.
            several = isinstance(part, (list, tuple)) and part and isinstance(part[0], dict)
            for each in part if several else [part]:
                yield from _listed_record(each, where, keys)
    else:
        yield Record(content, {}, keys)


def _opened(content: Any) -> Any:
    """Make a list of a tuple or an object array, and a dictionary of a data frame with a column of series."""
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.item() if content.ndim == 0 else content.ravel()
    if isinstance(content, Frame) and find_key(content.columns, _SERIES) is not None:
        return {**content.index, **content.columns}
    is_objects = isinstance(content, np.ndarray) and content.dtype == object
    return list(content) if is_objects or isinstance(content, tuple) else content


def _listed_record(each: Any, where: str, keys: tuple[str, ...]) -> Iterator[Record]:
    if not isinstance(each, dict):
        yield Record(each, {}, keys)
    elif find_key(each, _SERIES) is None:
        raise RunError(f"{where}: a record has no {_SERIES[0]}; it has {listed(each)}.")
    else:
        yield from _of_dictionary(each, where, keys)


def _is_matrix(content: Sequence[Any]) -> bool:
    """Tell a matrix that is written as rows of numbers from a list of series."""
    first = content[0] if content else None
    if isinstance(first, np.ndarray):
        return first.ndim == 1 and first.dtype != object
    return isinstance(first, (list, tuple)) and (not first or np.isscalar(first[0]))


def _of_dictionary(content: Mapping[Any, Any], where: str, keys: tuple[str, ...]) -> Iterator[Record]:
    """Read one record, or the many of a dictionary whose entries have a value for each run."""
    name, told = find_key(content, _SERIES), find_key(content, _FACTS)
    series = _opened(content[name])
    pheno = {} if told is None else _opened(content[told])
    rest = {key: value for key, value in content.items() if key not in (name, told)}
    if isinstance(series, np.ndarray) and series.ndim == 3:
        series = list(series)
    if not isinstance(series, list) or _is_matrix(series):
        yield Record(series, {**rest, **_facts(pheno, where)}, keys)
        return
    by_run = pheno if isinstance(pheno, list) else [{}] * len(series)
    if isinstance(pheno, Frame):
        pheno = {**pheno.index, **pheno.columns}
    columns = {**rest, **(pheno if isinstance(pheno, dict) else {})}
    for key, column in {**columns, told: by_run}.items():
        if _is_column(column) and len(column) != len(series):
            raise RunError(f"{where} has {len(series)} series and {len(column)} values of {str(key)[:40]}.")
    for index, each in enumerate(series):
        facts = {key: column[index] if _is_column(column) else column for key, column in columns.items()}
        yield Record(each, {**facts, **_facts(by_run[index], where)}, keys)


def _is_column(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _facts(pheno: Any, where: str) -> Mapping[Any, Any]:
    if isinstance(pheno, Frame) and all(len(column) == 1 for column in pheno.columns.values()):
        return {name: column[0] for name, column in {**pheno.index, **pheno.columns}.items()}
    if not isinstance(pheno, dict):
        raise RunError(f"{where}: the facts of a record are a {type(pheno).__name__}; a dictionary is expected.")
    return pheno
