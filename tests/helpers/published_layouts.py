"""Makes a small cohort in every layout and container in which series are passed on, and the published tree."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

Cohort = list["Run"]
Make = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Run:
    """One run, with all that its record can say."""

    subject: str
    gender: int
    group: str
    series: np.ndarray

    def pheno(self) -> dict[str, Any]:
        return {"subjectId": self.subject, "gender": self.gender, "group": self.group}


def cohort(n_regions: int = 6) -> Cohort:
    """Make five people in two groups, with runs of unequal length."""
    rng = np.random.default_rng(0)
    return [
        Run(str(101 + index), index % 2, ("PD", "HC")[index > 2], rng.normal(size=(20 + index, n_regions)))
        for index in range(5)
    ]


def _records(runs: Cohort, make: Make) -> list[dict[str, Any]]:
    return [{"roiTimeseries": make(run.series), "pheno": run.pheno()} for run in runs]


def _objects(items: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = item
    return array


def _columns(runs: Cohort) -> dict[str, list[Any]]:
    return {name: [run.pheno()[name] for run in runs] for name in ("subjectId", "gender", "group")}


def _by_group(runs: Cohort, make: Callable[[Run], Any]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for run in runs:
        groups[run.group][run.subject] = make(run)
    return groups


def _frame(runs: Cohort, make: Make) -> pd.DataFrame:
    return pd.DataFrame({**_columns(runs), "roiTimeseries": [make(run.series) for run in runs]})


#: Name -> what is saved, and which facts come out of it.
LAYOUTS: dict[str, tuple[Callable[[Cohort, Make], Any], tuple[str, ...]]] = {
    "list of records": (_records, ("gender", "group")),
    "tuple of records": (lambda runs, make: tuple(_records(runs, make)), ("gender", "group")),
    "object array of records": (lambda runs, make: _objects(_records(runs, make)), ("gender", "group")),
    "list of lists of records": (lambda runs, make: [[each] for each in _records(runs, make)], ("gender", "group")),
    "records without pheno": (
        lambda runs, make: [{"timeseries": make(run.series), **run.pheno()} for run in runs],
        ("gender", "group"),
    ),
    "dict of lists": (
        lambda runs, make: {"roiTimeseries": [make(run.series) for run in runs], **_columns(runs)},
        ("gender", "group"),
    ),
    "dict of object arrays": (
        lambda runs, make: {
            "roiTimeseries": _objects([make(run.series) for run in runs]),
            "pheno": {name: np.array(column) for name, column in _columns(runs).items()},
        },
        ("gender", "group"),
    ),
    "dict of lists of dicts": (
        lambda runs, make: {
            "roiTimeseries": [make(run.series) for run in runs],
            "pheno": [run.pheno() for run in runs],
        },
        ("gender", "group"),
    ),
    "dict with a data frame": (
        lambda runs, make: {
            "roiTimeseries": tuple(make(run.series) for run in runs),
            "pheno": pd.DataFrame(_columns(runs)).set_index("subjectId"),
        },
        ("gender", "group"),
    ),
    "data frame": (_frame, ("gender", "group")),
    "data frame by participant": (lambda runs, make: _frame(runs, make).set_index("subjectId"), ("gender", "group")),
    "participant -> series": (lambda runs, make: {run.subject: make(run.series) for run in runs}, ()),
    "participant -> record": (
        lambda runs, make: {run.subject: each for run, each in zip(runs, _records(runs, make), strict=True)},
        ("gender", "group"),
    ),
    "class -> participant -> series": (lambda runs, make: _by_group(runs, lambda run: make(run.series)), ("class",)),
    "class -> participant -> record": (
        lambda runs, make: _by_group(runs, lambda run: _records([run], make)[0]),
        ("class", "gender", "group"),
    ),
    "class -> list of records": (
        lambda runs, make: {name: _records([r for r in runs if r.group == name], make) for name in ("PD", "HC")},
        ("class", "gender", "group"),
    ),
}


def _npy(path: Path, content: Any) -> Path:
    whole = np.array(None, dtype=object)
    whole[()] = content
    kept = content if isinstance(content, np.ndarray) else whole
    np.save(path.with_suffix(".npy"), kept, allow_pickle=True)
    return path.with_suffix(".npy")


def _pickled(protocol: int) -> Callable[[Path, Any], Path]:
    def save(path: Path, content: Any) -> Path:
        path.with_suffix(".pickle").write_bytes(pickle.dumps(content, protocol))
        return path.with_suffix(".pickle")

    return save


def _torch(suffix: str, zipped: bool) -> Callable[[Path, Any], Path]:
    def save(path: Path, content: Any) -> Path:
        torch.save(content, path.with_suffix(suffix), _use_new_zipfile_serialization=zipped)
        return path.with_suffix(suffix)

    return save


#: Name -> saves some content, and returns the file.
CONTAINERS: dict[str, Callable[[Path, Any], Path]] = {
    "torch .save": _torch(".save", True),
    "torch .pt": _torch(".pt", True),
    "torch .pth before 1.6": _torch(".pth", False),
    "torch in a .npy": _torch(".npy", True),
    "numpy .npy": _npy,
    **{f"pickle, protocol {protocol}": _pickled(protocol) for protocol in range(6)},
}

#: Name -> how the series themselves are stored.
ARRAYS: dict[str, Make] = {
    "float64": np.asarray,
    "float32, by columns": lambda series: np.asfortranarray(series.astype(np.float32)),
    "tensor": torch.from_numpy,
    "transposed tensor": lambda series: torch.from_numpy(np.ascontiguousarray(series.T)).T,
}


#: Volumes of the HCP's task runs.
LENGTHS = {"EMOTION": 176, "GAMBLING": 253, "LANGUAGE": 316, "MOTOR": 284, "RELATIONAL": 232, "SOCIAL": 274, "WM": 405}

_RNG = np.random.default_rng(2)


def record(subject: object, series: np.ndarray, **pheno: object) -> dict[str, object]:
    return {"roiTimeseries": series, "pheno": {"subjectId": subject, **pheno}}


def runs_of(*tasks: str, subject: str = "1") -> list[dict[str, object]]:
    """Make records of whole HCP task runs that state their task."""
    return [record(subject, _RNG.normal(size=(LENGTHS[task], 400)), task=task) for task in tasks]


def save(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def published_tree(root: Path, n_people: int = 4) -> dict[str, dict[str, Any]]:
    """Write ``Dataset/Data`` as the published code reads it, at full size in regions and volumes.

    Returns
    -------
    dict
        Kind of file -> name of the imported run (``sub-.._task-..``) -> series.
    """
    rng = np.random.default_rng(1)
    lengths, names = LENGTHS.values(), list(LENGTHS)
    people = [100307 + index for index in range(n_people)]
    rest = {f"sub-{who}_task-REST": rng.normal(size=(1200, 400)).astype("f4") for who in people}
    tasks = {
        f"sub-{who}_task-{name}": rng.normal(size=(length, 400)).astype("f4")
        for who in people
        for name, length in zip(names, lengths, strict=True)
    }
    ppmi = {f"sub-{3000 + index}_task-rest": rng.normal(size=(210, 166)) for index in range(3)}
    root.mkdir(parents=True)

    def record(name: str, series: np.ndarray, **facts: Any) -> dict[str, Any]:
        return {"roiTimeseries": series, "pheno": {"subjectId": name[4:].partition("_")[0], **facts}}

    np.save(
        root / "dataset_hcpRest_schaefer.npy",
        _objects([record(name, series, gender=int(name[9]) % 2) for name, series in rest.items()]),
        allow_pickle=True,
    )
    coded = [record(name, tasks[name], task=names.index(name.rpartition("-")[2])) for name in tasks]
    np.save(root / "dataset_hcpTask_schaefer.npy", _objects(coded), allow_pickle=True)
    diseased = [record(name, series, disease=index % 2) for index, (name, series) in enumerate(ppmi.items())]
    (root / "dataset_ppmi_atlas-AAL-3V2.pickle").write_bytes(pickle.dumps(diseased))
    table = root / "HCP_1200" / "Preprocessed" / "pheno.csv"
    table.parent.mkdir(parents=True)
    lines = [f"{who},{'Q1' if index % 2 == 0 else 'S900'},{'FM'[who % 2]},26-30" for index, who in enumerate(people)]
    table.write_text("Subject,Release,Gender,Age\n" + "\n".join(lines) + "\n999999,S1200,F,31-35\n")
    return {"rest": rest, "task": tasks, "ppmi": ppmi}
