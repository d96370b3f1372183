"""Which reader a file of regional series goes to, and whether it runs in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm.errors import NeuroSSMError, RunError, UsageError
from bids_neurossm.files.safe_reading import missing_content
from bids_neurossm.roi_arrays.isolated import Found, IsolatedReader
from bids_neurossm.roi_arrays.pickled_records import Reading, runs_of_content
from bids_neurossm.roi_arrays.published import Published, published_by_name
from bids_neurossm.roi_arrays.readers import ArrayRun, Matrix, run_of_text, runs_of_mat, runs_of_npy, runs_of_npz
from bids_neurossm.roi_arrays.restricted_pickle import load_restricted
from bids_neurossm.roi_arrays.torch_files import LEGACY_MAGIC, TENSORS, is_torch_zip, load_torch_legacy, load_torch_zip

TORCH_SUFFIXES = (".save", ".pt", ".pth")
PICKLE_SUFFIXES = (".pickle", ".pkl", *TORCH_SUFFIXES)
BINARY_SUFFIXES = (".npz", ".npy", ".mat", *PICKLE_SUFFIXES)
TEXT_SUFFIXES = (".csv", ".tsv", ".1D")


def runs_in(path: Path, notes: list[str], reading: Reading | None, reader: IsolatedReader) -> list[ArrayRun]:
    """List the runs of one file.

    Pickles, files of torch and MATLAB files are read in a process of their own. Headers of ``.npz`` and ``.npy`` and
    text tables are read here: their size is known before memory is set aside.

    Parameters
    ----------
    path : Path
        The file.
    notes : list of str
        Takes a line for every array that is no series.
    reading : Reading or None
        How records are to be read.
    reader : IsolatedReader
        Where the other process is.

    Raises
    ------
    RunError
        If it cannot be read.
    UsageError
        If a pickle asks for more than arrays, or its records could be read in two ways.
    """
    problem = missing_content(path)
    if problem:
        raise RunError(problem)
    try:
        if path.suffix in (*PICKLE_SUFFIXES, ".mat") or is_torch_zip(path):
            return _isolated(path, reading, reader)
        runs: Iterable[ArrayRun] | int = _plain(path, notes)
        if isinstance(runs, int):  # objects, in a pickle
            return _isolated(path, reading, reader)
        published = published_by_name(path)
        return [_published(run, published) for run in runs]
    except NeuroSSMError:
        raise
    except Exception as error:  # a damaged file makes the readers of arrays fail in any way there is
        raise RunError(f"{path} cannot be read ({type(error).__name__}: {str(error)[:500]}).") from error


def _plain(path: Path, notes: list[str]) -> Iterable[ArrayRun] | int:
    if path.suffix == ".npz":
        return runs_of_npz(path, notes)
    return runs_of_npy(path) if path.suffix == ".npy" else [run_of_text(path)]


def _published(run: ArrayRun, published: Published) -> ArrayRun:
    task = {} if published.task is None else {"task": published.task}
    return replace(run, published=published, entities={**task, **run.entities})


def _isolated(path: Path, reading: Reading | None, reader: IsolatedReader) -> list[ArrayRun]:
    settings = None if reading is None else asdict(reading)
    content, arrays = reader.call(f"{__name__}:found_in", path, settings)
    published = Published(**content["published"])
    return [
        ArrayRun(
            **{**each, "shape": tuple(each["shape"]), "columns": tuple(each["columns"])},
            source=path,
            load=partial(_as_stored, array),
            published=published,
        )
        for each, array in zip(content["runs"], arrays, strict=True)
    ]


def _as_stored(array: Matrix) -> Matrix:
    return array


def found_in(path: Path, settings: dict[str, Any] | None) -> Found:
    """Read a pickle, a file of torch or a MATLAB file, in the process that `IsolatedReader` has started.

    Parameters
    ----------
    path : Path
        The file.
    settings : dict or None
        Fields of a `Reading`.

    Returns
    -------
    content : dict
        What the name of the file says, and what each run is.
    arrays : list of ndarray
        The series of each run.

    Raises
    ------
    NeuroSSMError
        As `runs_in`.
    """
    runs = _runs_of_binary(path, None if settings is None else Reading(**settings))
    fields = ("key", "shape", "entities", "facts", "columns", "positional", "is_record")
    published = asdict(runs[0].published) if runs else asdict(published_by_name(path))
    described = [{name: getattr(run, name) for name in fields} for run in runs]
    return {"published": published, "runs": described}, [np.asarray(run.load()) for run in runs]


def _runs_of_binary(path: Path, reading: Reading | None) -> list[ArrayRun]:
    published = published_by_name(path)
    if is_torch_zip(path):
        return runs_of_content(load_torch_zip(path), path, published, reading)
    if path.suffix == ".mat":
        return [_published(run, published) for run in runs_of_mat(path)]
    if path.suffix == ".npy":
        offset = runs_of_npy(path)
        assert isinstance(offset, int)
        return runs_of_content(load_restricted(path, offset, TENSORS), path, published, reading)
    if _starts_like_a_zip(path):
        raise UsageError(f"{path} is no complete archive of torch; if the file is cut short, copy it again.")
    content = load_restricted(path, more=TENSORS)
    is_legacy = isinstance(content, int) and content == LEGACY_MAGIC
    return runs_of_content(load_torch_legacy(path) if is_legacy else content, path, published, reading)


def _starts_like_a_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"
