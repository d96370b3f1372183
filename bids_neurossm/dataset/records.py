"""Series kept as pickled records: the layout that NeuroSSM and BolT describe for their data.

The layout is known from its public description alone, and tested with files made after it: ``dataset_hcpRest_*.npy``
and ``dataset_hcpTask_*.npy`` hold object arrays of records, ``dataset_ppmi_*.pickle`` a list of them; a record is a
dictionary with the series (``roiTimeseries``) and a dictionary of facts (``pheno`` with ``subjectId``, ``gender``
...). ``HCP_1200/Preprocessed/pheno.csv`` states the release in which a participant appeared. Files by others may
differ; what can not be understood is refused by name rather than guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.dataset.arrays import ArrayRun, Found, Matrix, stack_runs
from bids_neurossm.errors import LabelError, RunError

#: Volumes of a run of the HCP's tasks; a resting run has 1,200.
HCP_TASK_LENGTHS = {
    "EMOTION": 176,
    "GAMBLING": 253,
    "LANGUAGE": 316,
    "MOTOR": 284,
    "RELATIONAL": 232,
    "SOCIAL": 274,
    "WM": 405,
}
HCP_REST_LENGTH = 1200

_SERIES = ("roitimeseries", "timeseries", "series", "roisignals", "bold")
_FACTS = ("pheno", "phenotype", "facts", "info")
_IDENTIFIERS = ("subjectid", "participantid", "subject", "sub", "id", "fileid")
_TASKS = ("task", "tasktype", "taskname", "modality", "condition", "label")

#: Lists in lists are only turned into arrays up to this many numbers; a pickle can repeat one list for ever.
_MAX_NUMBERS = 50_000_000


def runs_of_content(content: Any, path: Path) -> list[ArrayRun]:
    """List the runs of a pickle's content.

    Parameters
    ----------
    content : object
        As `load_restricted` gives it: a record, a list, an object array or a dictionary of records or of arrays.
    path : Path
        Where it comes from.

    Returns
    -------
    list of ArrayRun
        HCP task runs carry their task; the runs of one participant and task are numbered where there are several.

    Raises
    ------
    RunError
        If a part is neither a record nor an array of numbers.
    """
    if isinstance(content, np.ndarray) and content.dtype != object:
        array = _numbers(content, str(path))
        return stack_runs(array.shape, partial(_layer, array), path)
    hcp_task = "hcptask" in path.name.lower()
    listed = list(_records(content))
    width = len(str(len(listed)))
    runs = []
    for index, (key, record) in enumerate(listed):
        where = f"{path}, record {index + 1}"
        position = f"{path.name.removesuffix(path.suffix)}-{index + 1:0{width}d}"
        runs.append(_run(record, key, position, where, path, hcp_task))
    return _numbered(runs)


def _layer(array: Matrix, index: int) -> Matrix:
    return np.asarray(array[index] if array.ndim == 3 else array)


def _plain_name(name: Any) -> str:
    return re.sub(r"[^a-z]", "", str(name).lower())


def _pick(record: Mapping[Any, Any], names: tuple[str, ...]) -> Any:
    """Take the first entry with one of the names, whatever their case and underscores."""
    known = {_plain_name(key): value for key, value in record.items() if isinstance(key, str)}
    return next((known[name] for name in names if known.get(name) is not None), None)


def _records(content: Any) -> Iterator[tuple[str | None, Any]]:
    """Take containers apart, down to records and arrays; a dictionary of them names its parts."""
    if isinstance(content, np.ndarray) and content.dtype == object:
        content = content.item() if content.ndim == 0 else list(content.ravel())
    if isinstance(content, dict) and _pick(content, _SERIES) is None:
        for key, value in content.items():
            yield _cell(key), value
    elif isinstance(content, (list, tuple)):
        for part in content:
            # A list of lists holds the records of one participant after another.
            inner = part if isinstance(part, (list, tuple)) and part and isinstance(part[0], dict) else [part]
            yield from ((None, each) for each in inner)
    else:
        yield None, content


def _run(record: Any, key: str | None, position: str, where: str, path: Path, hcp_task: bool) -> ArrayRun:
    facts: Mapping[Any, Any] = {}
    series = record
    if isinstance(record, dict):
        series = _pick(record, _SERIES)
        told = _pick(record, _FACTS)
        facts = (
            told if isinstance(told, dict) else {name: value for name, value in record.items() if value is not series}
        )
        identifier = _pick(facts, _IDENTIFIERS)
        identifier = _pick(record, _IDENTIFIERS) if identifier is None else identifier
        key = _cell(identifier) or key
    if series is None:
        raise RunError(
            f"{where} has no {_SERIES[0]}; it has {', '.join(str(name)[:40] for name in list(record)[:20])}."
        )
    array = _numbers(series, where)
    if array.ndim != 2:
        raise RunError(f"{where} has {array.ndim} dimensions; a matrix of one run is expected.")
    entities = {"task": _hcp_task(record, facts, array.shape, where)} if hcp_task else {}
    named = {_cell(name): _cell(value) for name, value in facts.items()}
    plain = {
        name: cell
        for name, cell in named.items()
        if name and cell is not None and _plain_name(name) not in _IDENTIFIERS
    }
    shape = (array.shape[0], array.shape[1])
    return ArrayRun(key or position, path, shape, partial(_layer, array, 0), entities, plain, positional=key is None)


def _cell(value: Any) -> str | None:
    """Write a plain value as the cell of a table; anything else is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, float):
        return f"{value:.17g}" if np.isfinite(value) else "n/a"
    return re.sub(r"\s+", " ", str(value)).strip() if isinstance(value, (str, int, bool)) else None


def _numbers(series: Any, where: str) -> Matrix:
    if isinstance(series, (list, tuple)):
        inner = [each for each in series if isinstance(each, (list, tuple, np.ndarray))]
        flat = all(np.isscalar(value) for each in inner for value in (each[:1] if len(each) else ()))
        if len(inner) != len(series) or not flat or sum(map(len, inner)) > _MAX_NUMBERS:
            raise RunError(f"{where}: a list of rows of numbers is expected.")
        try:
            series = np.array(inner, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise RunError(f"{where}: a list of rows of numbers is expected ({error}).") from error
    if not isinstance(series, np.ndarray) or series.dtype.kind not in "biuf":
        kind = series.dtype if isinstance(series, np.ndarray) else type(series).__name__
        raise RunError(f"{where} holds {kind} values; an array of numbers is expected.")
    return np.asarray(series)


def _hcp_task(record: Mapping[Any, Any], facts: Mapping[Any, Any], shape: tuple[int, ...], where: str) -> str:
    """Find the task of a run in what the record says of it, else in its length, which no two tasks share."""
    for source in (record, facts):
        told = (_cell(_pick(source, _TASKS)) or "").upper()
        named = [task for task in HCP_TASK_LENGTHS if re.search(rf"(?<![A-Z]){task}(?![A-Z])", told)]
        if len(named) == 1:
            return named[0]
    fitting = [task for task, length in HCP_TASK_LENGTHS.items() if length in shape]
    if len(fitting) != 1:
        raise RunError(
            f"{where} names no HCP task, and none of the lengths {HCP_TASK_LENGTHS} is one side of "
            f"{' x '.join(map(str, shape))}."
        )
    return fitting[0]


def _numbered(runs: list[ArrayRun]) -> list[ArrayRun]:
    """Give a number to the runs of one participant and task where there are several."""
    counts = Counter((run.key, run.entities.get("task")) for run in runs)
    seen: Counter[tuple[str, str | None]] = Counter()
    numbered = []
    for run in runs:
        what = (run.key, run.entities.get("task"))
        seen[what] += 1
        number = {"run": str(seen[what])} if counts[what] > 1 else {}
        numbered.append(replace(run, entities={**run.entities, **number}))
    return numbered


def keep_first_release(found: Found, source: Path) -> Found:
    """Keep the HCP task runs of release Q1, where a ``pheno.csv`` with a Release column stands in the source.

    Raises
    ------
    LabelError
        If the table has no column of subjects.
    """
    tables = sorted(source.rglob("pheno.csv")) if source.is_dir() else []
    if not tables or not any("hcptask" in run.source.name.lower() for run in found.runs):
        return found
    import pandas as pd

    table = pd.read_csv(tables[0], dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if "Release" not in table.columns:
        return found
    subject = next((name for name in table.columns if _plain_name(name) in _IDENTIFIERS), None)
    if subject is None:
        raise LabelError(f"{tables[0]} has the columns {', '.join(table.columns)}; Subject is expected among them.")
    first = set(table.loc[table["Release"] == "Q1", subject])
    kept = [run for run in found.runs if "hcptask" not in run.source.name.lower() or run.key in first]
    note = f"{len(found.runs) - len(kept)} task runs of participants outside release Q1 ({tables[0]}) were left out."
    return Found(kept, [*found.notes, note], found.failures)
