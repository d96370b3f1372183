"""Datasets that are passed on under known file names: their atlas, tasks, task codes and design."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from bids_neurossm.errors import LabelError, RunError, UsageError
from bids_neurossm.files.tables import read_table

_DATA = Path(str(files("bids_neurossm"))) / "data" / "published"

#: Atlases as file names call them: ``schaefer``, ``schaefer7_400``, ``schaefer17_200``, ``atlas-AAL-3V2``.
_SCHAEFER = re.compile(r"schaefer(?:2018)?(?:_?(7|17)(?:networks)?(?=_|\.|$))?(?:_?(\d{3,4}))?")
_AAL3 = re.compile(r"aal-?_?3")


@dataclass(frozen=True)
class Published:
    """What the name of a file says of the series in it; a file of another name says nothing.

    Parameters
    ----------
    study : str
        Study whose participants they are: identifiers are compared within a study.
    atlas : str or None
        Name of the atlas.
    task : str or None
        Task of all runs, where there is one.
    codes : mapping of str to str
        Tasks by the whole numbers that stand for them.
    volumes : mapping of str to int
        Length of a run of each task.
    runs : int or None
        Most runs that one participant has of one task.
    release : str or None
        The only release of the study that the published analysis takes.
    repetition_time : float or None
        Seconds between the volumes of a run of that length.
    """

    study: str = ""
    atlas: str | None = None
    task: str | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, int] = field(default_factory=dict)
    runs: int | None = None
    release: str | None = None
    repetition_time: float | None = None


def published_by_name(path: Path) -> Published:
    """Recognise a file by its name.

    Examples
    --------
    >>> found = published_by_name(Path("dataset_hcpTask_schaefer.npy"))
    >>> found.atlas, found.codes["6"], found.runs
    ('Schaefer400', 'WM', 2)
    >>> published_by_name(Path("dataset_ppmi_atlas-AAL-3V2.pickle")).atlas
    'AAL3'
    """
    name = path.name.lower()
    facts = next((dict(each) for each in _datasets().values() if re.search(each["file"], name)), {})
    facts.pop("file", None)
    if "codes" in facts:
        facts["codes"] = _shipped_codes(facts["codes"])
    known = bool(facts) or name.startswith("dataset_")
    return Published(atlas=_atlas(name) if known else None, **facts)


def published_lengths() -> set[int]:
    """Collect the volumes that a run of any known study has."""
    return {length for facts in _datasets().values() for length in facts.get("volumes", {}).values()}


def _atlas(name: str) -> str | None:
    if _AAL3.search(name):
        return "AAL3"
    found = _SCHAEFER.search(name)
    if found is None:
        return None
    return f"Schaefer{found[2] or 400}{'_17Networks' if found[1] == '17' else ''}"


@lru_cache(maxsize=1)
def _datasets() -> dict[str, dict[str, Any]]:
    return tomllib.loads((_DATA / "datasets.toml").read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def _shipped_codes(name: str) -> Mapping[str, str]:
    return read_task_codes(_DATA / name)


def read_task_codes(path: Path) -> dict[str, str]:
    """Read which task each whole number stands for.

    Parameters
    ----------
    path : Path
        Table with the columns ``code`` and ``task``.

    Raises
    ------
    UsageError
        If it lacks them, a code is no whole number or is there twice, or a task is no BIDS label.
    """
    table = read_table(path, UsageError)
    if not {"code", "task"} <= set(table.columns):
        raise UsageError(f"{path} has the columns {', '.join(table.columns)}; code and task are expected.")
    codes: dict[str, str] = {}
    for code, task in zip(table["code"].str.strip(), table["task"].str.strip(), strict=True):
        if not re.fullmatch(r"\d+", code) or code in codes:
            raise UsageError(f"{path}: the code {code!r} is {'there twice' if code in codes else 'no whole number'}.")
        if not re.fullmatch(r"[0-9A-Za-z]+", task):
            raise UsageError(f"{path}: the task {task!r} is not a BIDS label; letters and digits are expected.")
        codes[code] = task
    return codes


def stated_task(published: Published, stated: str, where: str) -> str:
    """Turn what a record says of its task into a BIDS label.

    Parameters
    ----------
    published : Published
        Its codes and the tasks of its design.
    stated : str
        A code, or a name such as ``WM`` or ``tfMRI_WM_LR``.
    where : str
        The record, for the message.

    Raises
    ------
    UsageError
        If it is a code without a table, or one that the table does not have, or a name of no task of the design.
    """
    if re.fullmatch(r"[+-]?\d+", stated):
        if not published.codes:
            raise UsageError(
                f"{where} has the task {stated}, and nothing says which task that is: give --task-codes TSV with the "
                "columns code and task, or --task LABEL if all runs are of one task."
            )
        if stated not in published.codes:
            known = ", ".join(f"{code} {task}" for code, task in published.codes.items())
            raise UsageError(
                f"{where} has the task {stated}; known codes are {known}: give --task-codes TSV with the columns code "
                "and task if the file has others."
            )
        return published.codes[stated]
    if not published.volumes:
        return re.sub(r"[^0-9A-Za-z]", "", stated)
    words = stated.upper()
    named = [task for task in published.volumes if re.search(rf"(?<![A-Z]){task}(?![A-Z])", words)]
    if len(named) != 1:
        raise UsageError(f"{where} has the task {stated!r}; one of {', '.join(published.volumes)} is expected.")
    return named[0]


def task_of_length(published: Published, shape: tuple[int, ...], where: str) -> str:
    """Find the task of a run that states none, by its length, which no two tasks of the study share.

    Raises
    ------
    RunError
        If no side of the array, or more than one, is as long as a run of the study.
    """
    fitting = [task for task, length in published.volumes.items() if length in shape]
    if len(fitting) != 1:
        lengths = ", ".join(f"{task} {length}" for task, length in published.volumes.items())
        raise RunError(
            f"{where} states no task, and {' x '.join(map(str, shape))} fits no single one of the known lengths "
            f"({lengths})."
        )
    return fitting[0]


def check_length(published: Published, task: str, volumes: int, where: str) -> None:
    """Refuse a task whose runs cannot have this length.

    Raises
    ------
    LabelError
        If the run is longer than a run of its task, or as long as a run of another one.
    """
    expected = published.volumes.get(task)
    if expected is None or volumes == expected:
        return
    other = next((name for name, length in published.volumes.items() if length == volumes), None)
    if other is not None or volumes > expected:
        told = f", as runs of {other} have" if other else ""
        raise LabelError(
            f"{where} is labelled {task} and has {volumes} volumes{told}; runs of {task} have {expected}: correct "
            "the label, or give --task-codes TSV if the codes of the file are others."
        )
