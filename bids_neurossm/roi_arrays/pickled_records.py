"""From records to runs: who they are of, which task, which facts; what could be understood in two ways is refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.roi_arrays.layouts import Record, cell, find_key, listed, plain_name, records_of
from bids_neurossm.roi_arrays.pickled_tables import Frame
from bids_neurossm.roi_arrays.published import Published, stated_task, task_of_length
from bids_neurossm.roi_arrays.readers import ArrayRun, Matrix, stack_runs

_IDENTIFIERS = ("subjectid", "participantid", "subject", "sub", "id", "fileid")
_TASKS = ("task", "tasktype", "taskname")
#: Further names of the task in a file that is known to hold several tasks.
_TASKS_OF_SEVERAL = (*_TASKS, "modality", "condition", "label")

#: Lists in lists are only turned into arrays up to this many numbers; a pickle can repeat one list for ever.
_MAX_NUMBERS = 50_000_000


@dataclass(frozen=True)
class Reading:
    """How a user wants records to be read.

    Parameters
    ----------
    id_key : str or None
        Key that names the participant, where it is none of the usual ones.
    task : str or None
        Task of all runs whose record gives no more than a code that is not known.
    task_codes : mapping of str to str, optional
        Tasks by the whole numbers that stand for them; they replace those of a published dataset.
    """

    id_key: str | None = None
    task: str | None = None
    task_codes: Mapping[str, str] | None = None


def runs_of_content(content: Any, path: Path, published: Published, reading: Reading | None = None) -> list[ArrayRun]:
    """List the runs of a pickle's content.

    Parameters
    ----------
    content : object
        As `load_restricted` gives it, in one of the layouts of `bids_neurossm.roi_arrays.layouts`.
    path : Path
        Where it comes from.
    published : Published
        What the name of the file says.
    reading : Reading, optional
        What the user says.

    Returns
    -------
    list of ArrayRun
        Runs carry their task where it is stated; those of one participant and task are numbered where there are
        several.

    Raises
    ------
    RunError
        If a part is neither a record nor an array of numbers.
    UsageError
        If no key names the participant, a task is not understood, or the file could be read in two ways.
    """
    if isinstance(content, np.ndarray) and content.dtype != object:
        array = _numbers(content, str(path))
        return [replace(run, published=published) for run in stack_runs(array.shape, partial(_layer, array), path)]
    reading = reading or Reading()
    if reading.task_codes is not None:
        published = replace(published, codes=reading.task_codes)
    records = records_of(content, str(path))
    roles = _roles(records, path, published, reading)
    stem, width = path.name.removesuffix(path.suffix), len(str(len(records)))
    runs = []
    for index, record in enumerate(records):
        where, position = f"{path}, record {index + 1}", f"{stem}-{index + 1:0{width}d}"
        runs.append(_run(record, dict(zip(roles, record.keys, strict=True)), position, where, path, published, reading))
    _refuse_mixture(runs, path)
    return _numbered(runs)


def _layer(array: Matrix, index: int) -> Matrix:
    return np.asarray(array[index] if array.ndim == 3 else array)


def _roles(records: Sequence[Record], path: Path, published: Published, reading: Reading) -> tuple[str, ...]:
    """Tell what the keys are that records are filed under: ``sub``, ``task``, ``class`` or ``part``, from outside in.

    Raises
    ------
    RunError
        If records are filed at different depths.
    UsageError
        If the keys could be read in two ways.
    """
    depths = {len(record.keys) for record in records}
    if len(depths) > 1:
        raise RunError(f"{path} files some series in dictionaries of others; one layout for all of them is expected.")
    if not depths or depths == {0}:
        return ()
    levels = list(zip(*(record.keys for record in records), strict=True))
    tasks = [all(_is_task(key, published) for key in set(level)) for level in levels]
    own = [_own_identifier(record.facts, reading)[1] for record in records]
    if len(levels) == 1:
        if tasks[0]:
            return ("task",)
        if all(own):
            return ("sub",) if tuple(own) == levels[0] else ("class",)
        if len(set(levels[0])) == len(records):
            return ("sub",)
    elif tasks[0] != tasks[1]:
        return ("task", "sub") if tasks[0] else ("sub", "task")
    elif all(own):
        return ("sub", "part") if tuple(own) == levels[0] else ("class", "sub")
    elif len(set(levels[1])) == len(records):
        return ("class", "sub")
    raise UsageError(
        f"{path} files several series under one key ({listed(dict.fromkeys(levels[-1]))}), and nothing says whether "
        "the keys are participants, classes or runs: give each record a subjectId."
    )


def _is_task(key: str, published: Published) -> bool:
    if not published.codes:
        return False
    try:
        return bool(stated_task(published, key, "")) and (bool(published.volumes) or key in published.codes)
    except UsageError:
        return False


def _run(
    record: Record,
    filed: Mapping[str, str],
    position: str,
    where: str,
    path: Path,
    published: Published,
    reading: Reading,
) -> ArrayRun:
    array, columns = _series_of(record.series, where)
    if array.ndim != 2:
        raise RunError(f"{where} has {array.ndim} dimensions; a matrix of one run is expected.")
    key = _identifier(record, filed.get("sub"), where, reading)
    task = _task(record, filed.get("task"), array.shape, where, published, reading)
    left_out = {*_IDENTIFIERS, *(_TASKS if task is not None else ())}
    named = {cell(name): cell(value) for name, value in record.facts.items()}
    facts = {
        name: value
        for name, value in named.items()
        if name and value is not None and name != reading.id_key and plain_name(name) not in left_out
    }
    return ArrayRun(
        key or position,
        path,
        (array.shape[0], array.shape[1]),
        partial(_layer, array, 0),
        {} if task is None else {"task": task},
        {"class": filed["class"], **facts} if "class" in filed else facts,
        columns,
        positional=key is None,
        published=published,
        is_record=True,
    )


def _own_identifier(facts: Mapping[Any, Any], reading: Reading) -> tuple[Any, str | None]:
    """Find the key that names the participant, and what it says; None for each that is not there."""
    key = next((each for each in facts if reading.id_key is not None and str(each) == reading.id_key), None)
    key = find_key(facts, _IDENTIFIERS) if key is None else key
    value = None if key is None else cell(facts[key])
    return key, None if value in ("", "n/a") else value


def _identifier(record: Record, filed: str | None, where: str, reading: Reading) -> str | None:
    """Find who a run is of; None where there is an array and nothing else.

    Raises
    ------
    UsageError
        If there are facts and none of them names the participant, or two places name different ones.
    """
    key, told = _own_identifier(record.facts, reading)
    if told is not None and filed is not None and told != filed:
        raise UsageError(f"{where} is filed under {filed!r} and its {key} is {told!r}: nothing says which is right.")
    if told is None and filed is None and key is not None:
        raise UsageError(f"{where} has nothing in {key!r}, which names the participant; every record needs a value.")
    if told is None and filed is None and record.facts:
        wanted = reading.id_key or "subjectId, participant_id, subject, sub, id, file_id"
        raise UsageError(
            f"{where} has the keys {listed(record.facts)}; none of {wanted} is among them: give --id-key with the one "
            "that names the participant."
        )
    return told if told is not None else filed


def _task(
    record: Record, filed: str | None, shape: tuple[int, ...], where: str, published: Published, reading: Reading
) -> str | None:
    """Find the task that the name of the file, a record or the keys above it state, or the length of the run."""
    if published.task is not None:
        return published.task
    key = find_key(record.facts, _TASKS_OF_SEVERAL if published.volumes else _TASKS)
    told = filed if filed is not None else None if key is None else cell(record.facts[key])
    if told in (None, "", "n/a"):
        return task_of_length(published, shape, where) if published.volumes else None
    if re.fullmatch(r"[+-]?\d+", str(told)) and not published.codes and reading.task is not None:
        return reading.task
    return stated_task(published, str(told), where) or None


def _series_of(series: Any, where: str) -> tuple[Matrix, tuple[str, ...]]:
    """Read series with the names of their columns, where they have any."""
    if not isinstance(series, Frame):
        return _numbers(series, where), ()
    columns = [np.asarray(column) for column in series.columns.values()]
    if not columns or any(column.dtype.kind not in "biuf" for column in columns):
        raise RunError(f"{where} holds a table with text; a table of numbers is expected.")
    names = tuple(series.columns)
    return np.column_stack(columns), () if all(name.isdigit() for name in names) else names


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


def _refuse_mixture(runs: Sequence[ArrayRun], path: Path) -> None:
    """Refuse a file whose series have no side in common: they are of several atlases.

    Raises
    ------
    UsageError
        With how many series there are of each shape.
    """
    if runs and not set(runs[0].shape).intersection(*(run.shape for run in runs)):
        counts = Counter(run.shape for run in runs).most_common(4)
        shapes = ", ".join(f"{count} of {rows} x {columns}" for (rows, columns), count in counts)
        raise UsageError(
            f"{path} mixes series of different numbers of regions ({shapes}): save one file for each atlas."
        )


def _numbered(runs: list[ArrayRun]) -> list[ArrayRun]:
    """Give a number to the runs of one participant and task where there are several.

    Raises
    ------
    UsageError
        If there are more than the study has.
    """
    counts = Counter((run.key, run.entities.get("task")) for run in runs)
    seen: Counter[tuple[str, str | None]] = Counter()
    numbered = []
    for run in runs:
        what = (run.key, run.entities.get("task"))
        most = run.published.runs
        if most is not None and counts[what] > most:
            raise UsageError(
                f"{run.source} has {counts[what]} runs of {what[1] or 'one task'} of participant {run.key}; the study "
                f"has at most {most}: check which key names the participant (--id-key), and the task."
            )
        seen[what] += 1
        number = {"run": str(seen[what])} if counts[what] > 1 else {}
        numbered.append(replace(run, entities={**run.entities, **number}))
    return numbered
