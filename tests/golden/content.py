"""The numbers of an output folder, by name: what a change of the code's shape must leave as they are."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

#: Values that are kept of a large array; the hash is of all of them.
SAMPLE = 8

#: A table with more columns is one array: a column for each region.
_WIDE = 40

#: Keys of JSON and TOML below which nothing is a result: what ran where, and hashes.
_NOT_RESULTS = {"GeneratedBy", "versions", "environment", "BIDSVersion"}

#: Columns of tables that are sentences for people; their figures are in columns of their own.
_SENTENCES = {"sentence"}

#: Name of an array -> its ``shape``, ``sha256`` and ``values``.
Recorded = dict[str, dict[str, Any]]


def numbers_of(folder: Path) -> Recorded:
    """Return the arrays, the columns of tables and the numbers in JSON and TOML of all files below a folder.

    Parameters
    ----------
    folder : Path
        What a command wrote; ``logs/`` and hidden files are left out.
    """
    found: Recorded = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and not any(part == "logs" or part.startswith(".") for part in place.parts):
            for name, values in _arrays(path):
                found[f"{place.as_posix()}: {name}"] = _kept(np.asarray(values))
    return found


def differences(recorded: Recorded, found: Recorded, to_the_bit: bool) -> list[str]:
    """Name what is not as it was recorded.

    Parameters
    ----------
    recorded, found : dict
        From `numbers_of`.
    to_the_bit : bool
        Compare hashes; else the values that were kept, to 1e-5.
    """
    told = [f"{name} is gone" for name in recorded.keys() - found.keys()]
    told += [f"{name} is new" for name in found.keys() - recorded.keys()]
    for name in recorded.keys() & found.keys():
        before, now = recorded[name], found[name]
        if before["shape"] != now["shape"] or not _same(before, now, to_the_bit):
            told.append(f"{name}: {_short(before)} became {_short(now)}")
    return sorted(told)


def _same(before: Mapping[str, Any], now: Mapping[str, Any], to_the_bit: bool) -> bool:
    if to_the_bit or before["sha256"] == now["sha256"]:
        return bool(before["sha256"] == now["sha256"])
    old, new = np.asarray(before["values"]), np.asarray(now["values"])
    if old.dtype.kind in "US" or new.dtype.kind in "US":
        return bool((old == new).all())
    return np.allclose(old, new, rtol=1e-5, atol=1e-7, equal_nan=True)


def _short(kept: Mapping[str, Any]) -> str:
    return f"{kept['shape']} {kept['values'][:3]}"


def _kept(values: NDArray[Any]) -> dict[str, Any]:
    if values.dtype.kind in "OU":
        values = values.astype(str)
    flat = np.ascontiguousarray(values).ravel()
    some = flat if flat.size <= SAMPLE else flat[np.linspace(0, flat.size - 1, SAMPLE).astype(int)]
    content = json.dumps(flat.tolist()).encode() if flat.dtype.kind == "U" else flat.tobytes()
    return {"shape": list(values.shape), "sha256": hashlib.sha256(content).hexdigest(), "values": some.tolist()}


def _arrays(path: Path) -> Iterator[tuple[str, Any]]:
    match "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix:
        case ".tsv":
            table = pd.read_csv(path, sep="\t", na_values=["n/a"], keep_default_na=False)
            if len(table.columns) > _WIDE:
                yield "whole", table.to_numpy()
            else:
                yield from ((str(name), table[name].to_numpy()) for name in table.columns if name not in _SENTENCES)
        case ".npz":
            with np.load(path, allow_pickle=False) as stored:
                # The facts of a cell are its key and hashes.
                yield from ((name, stored[name]) for name in stored.files if name != "facts")
        case ".safetensors":
            yield from load_file(path).items()
        case ".nii.gz" | ".nii":
            yield "voxels", np.asanyarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
        case ".gii":
            yield from ((f"array {n}", each.data) for n, each in enumerate(nib.load(path).darrays))  # type: ignore[attr-defined]
        case ".json":
            yield from _leaves(json.loads(path.read_text(encoding="utf-8")), "")
        case ".toml":
            yield from _leaves(tomllib.loads(path.read_text(encoding="utf-8")), "")


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Find the numbers of a document; a list of numbers is one array."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in _NOT_RESULTS:
                yield from _leaves(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list) and not _is_numbers(value):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{number}]")
    elif isinstance(value, (bool, int, float)) or (isinstance(value, list) and value):
        yield place, value


def _is_numbers(values: list[Any]) -> bool:
    return all(isinstance(each, (bool, int, float)) for each in values)
