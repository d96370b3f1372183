"""Readers of regional series as labs keep them: ``.npz``, ``.npy``, text tables and ``.mat``.

A file is looked through first, by its headers where it has any, and its arrays are loaded one at a time: a cohort
never stands in memory whole, unless it is one MATLAB file.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.numpy_files import MAX_ARRAY_BYTES, archive_member, array_header, check_ratio, check_size
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, read_utf8
from bids_neurossm.files.tables import MAX_COLUMNS
from bids_neurossm.roi_arrays.published import Published

Matrix = npt.NDArray[Any]


@dataclass(frozen=True)
class ArrayRun:
    """One run in a source.

    Parameters
    ----------
    key : str
        Identifier that the source gives: a key, a file name, a subject's number.
    source : Path
        File it is in.
    shape : tuple of int
        Both sides, as stored.
    load : callable
        Reads the array, as stored.
    entities : mapping
        BIDS entities that the source states, for instance ``task``.
    facts : mapping
        What the source says of the participant.
    columns : tuple of str
        Names of the columns, where a text table has them.
    positional : bool
        Whether the key is no more than a position in a stack.
    published : Published
        What the name of the file says of all its runs.
    is_record : bool
        Whether it is a record of a file in which all runs have one orientation and one number of regions.
    """

    key: str
    source: Path
    shape: tuple[int, int]
    load: Callable[[], Matrix]
    entities: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    positional: bool = False
    published: Published = field(default_factory=Published)
    is_record: bool = False


@dataclass(frozen=True)
class Found:
    """What was found in a source: runs, remarks, and files that could not be read."""

    runs: list[ArrayRun]
    notes: list[str]
    failures: list[RunError]


def stack_runs(
    shape: tuple[int, ...], load: Callable[[int], Matrix], path: Path, name: str | None = None
) -> list[ArrayRun]:
    """List the runs of one array: the array itself, or the layers of a stack.

    Parameters
    ----------
    shape : tuple of int
        Two sides, or the number of runs and two sides.
    load : callable
        Reads one layer by its number; of a single run, layer 0.
    path : Path
        Its file.
    name : str, optional
        What the array is called; the name of the file by default.

    Raises
    ------
    RunError
        If it has another number of sides.
    """
    stem = name or _stem(path)
    if len(shape) == 2:
        return [ArrayRun(stem, path, (shape[0], shape[1]), partial(load, 0))]
    if len(shape) != 3:
        raise RunError(f"{path}: {stem} has {len(shape)} dimensions; 2 (one run) or 3 (runs first) are expected.")
    width = len(str(shape[0]))
    return [
        ArrayRun(f"{stem}-{index + 1:0{width}d}", path, (shape[1], shape[2]), partial(load, index), positional=True)
        for index in range(shape[0])
    ]


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix)


def runs_of_npz(path: Path, notes: list[str]) -> Iterator[ArrayRun]:
    """List the runs of an archive: every key is a run, or a stack of runs.

    Parameters
    ----------
    path : Path
        The file.
    notes : list of str
        Takes a line for every array that is no series.

    Raises
    ------
    RunError
        If a member is damaged, too large or holds no numbers.
    UsageError
        If a member holds Python objects.
    """
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name, what = info.filename.removesuffix(".npy"), f"{path}[{info.filename.removesuffix('.npy')}]"
            if not info.filename.endswith(".npy"):
                continue
            with archive.open(info) as stream:
                shape, dtype = array_header(stream, what)  # type: ignore[arg-type]
                start = stream.tell()
            if dtype.hasobject:
                raise UsageError(f"{what} holds Python objects; save plain arrays, one key for each run.")
            if len(shape) < 2:
                notes.append(f"{what} has {len(shape)} dimension(s) and is no series: left out.")
                continue
            check_size(shape, dtype, info.file_size - start, what, MAX_ARRAY_BYTES)
            check_ratio(info.compress_size, info.file_size, what)
            yield from stack_runs(shape, partial(_npz_layer, path, info.filename, len(shape) == 3), path, name)


def _npz_layer(path: Path, member: str, stacked: bool, index: int) -> Matrix:
    if not stacked:
        return archive_member(path, member)
    return np.asarray(_npz_stack(path, member, path.stat().st_mtime_ns)[index])


# The layers of a stack are asked for one after another: it is inflated once.
@lru_cache(maxsize=1)
def _npz_stack(path: Path, member: str, changed: int) -> Matrix:
    return archive_member(path, member)


def runs_of_npy(path: Path) -> list[ArrayRun] | int:
    """List the runs of a file with one array, a run or a stack of them.

    Returns
    -------
    list of ArrayRun or int
        Where the array holds objects, the place in the file at which their pickle begins.

    Raises
    ------
    RunError
        If the file is damaged or holds no numbers.
    """
    with path.open("rb") as stream:
        shape, dtype = array_header(stream, str(path))
        start = stream.tell()
    if dtype.hasobject:
        return start
    check_size(shape, dtype, path.stat().st_size - start, str(path), None)
    return stack_runs(shape, partial(_npy_layer, path, len(shape) == 3), path)


def _npy_layer(path: Path, stacked: bool, index: int) -> Matrix:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.array(array[index] if stacked else array)


def run_of_text(path: Path) -> ArrayRun:
    """Describe the run of a text table, with or without a line of names.

    Raises
    ------
    RunError
        If it is empty or holds text.
    """
    values, columns = _read_text(path)
    return ArrayRun(_stem(path), path, (len(values), values.shape[1]), lambda: _read_text(path)[0], columns=columns)


def _read_text(path: Path) -> tuple[Matrix, tuple[str, ...]]:
    """Read a table of numbers that may have a line of names; lines with ``#`` are remarks."""
    import pandas as pd

    text = read_utf8(path, RunError, MAX_TABLE_BYTES)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    separator = next((each for each in ("\t", ",", ";") if each in first), r"\s+")
    cells = [cell.strip().strip('"') for cell in re.split(separator, first.strip(" "))]
    named = any(not _is_number(cell) for cell in cells)
    _check_names(cells if named else [], len(cells), path)
    table = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=0 if named else None,
        comment="#",
        na_values=["n/a"],
        skipinitialspace=True,
        float_precision="round_trip",
    )
    if named and not cells[0]:
        table = table.iloc[:, 1:]  # a line of names that begins with nothing: the first column counts the rows
    if _ragged(lines, separator, named):
        raise RunError(f"{path}: its rows are of unequal length; a number, or n/a, is expected in every cell.")
    odd = [str(name) for name in table.columns if table[name].dtype.kind not in "biuf"]
    if odd or table.empty:
        raise RunError(
            f"{path}: {f'column {odd[0][:100]!r} holds text' if odd else 'it is empty'}; numbers are expected."
        )
    return table.to_numpy(dtype=np.float64), tuple(map(str, table.columns)) if named else ()


def _check_names(names: list[str], count: int, path: Path) -> None:
    """Refuse more columns than any table has, and two columns with one name, one of which pandas would rename."""
    if count > MAX_COLUMNS:
        raise RunError(f"{path} has {count} columns; at most {MAX_COLUMNS} are read.")
    twice = next((name for name, number in Counter(names).items() if name and number > 1), None)
    if twice is not None:
        raise RunError(f"{path} has two columns called {twice[:100]!r}; each region needs a name of its own.")


def _ragged(lines: list[str], separator: str, named: bool) -> bool:
    """Tell whether some rows have fewer cells than others, which pandas fills up without a word."""
    rows = [text for line in lines if (text := line.partition("#")[0].strip(" \r\n"))]
    counts = {len(re.split(separator, row)) if separator == r"\s+" else row.count(separator) for row in rows[named:]}
    return len(counts) > 1


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell in ("", "n/a", "NA", "N/A")
    return True


def runs_of_mat(path: Path) -> list[ArrayRun]:
    """List the numeric matrices of a MATLAB file; a cell array of matrices is a stack.

    Raises
    ------
    RunError
        If it is damaged, too large or has no numeric matrix.
    UsageError
        If it is of version 7.3, which is HDF5, and h5py is not installed.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        for name, shape, _ in whosmat(path):
            if math.prod(shape) * 8 > MAX_ARRAY_BYTES:
                raise RunError(f"{path}: {name} claims {' x '.join(map(str, shape))} numbers, which is too many.")
        content = loadmat(path)
    except NotImplementedError:  # scipy's word for version 7.3
        content = _read_hdf5(path)
    except (MatReadError, TypeError, KeyError) as error:
        raise RunError(f"{path} is not a readable MATLAB file ({error}).") from error
    arrays = {name: value for name, value in content.items() if not name.startswith("__")}
    series = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and _is_series(value)}
    if not series:
        raise RunError(f"{path} has the variables {', '.join(arrays) or 'none'}; a numeric matrix is expected.")
    runs: list[ArrayRun] = []
    for name, value in series.items():
        label = _stem(path) if len(series) == 1 else name
        layers = list(value.ravel()) if value.dtype == object else None
        if layers is None:
            runs += stack_runs(value.shape, partial(_layer, value), path, label)
        else:
            width = len(str(len(layers)))
            for index, layer in enumerate(layers):
                (run,) = stack_runs(layer.shape, partial(_layer, layer), path, f"{label}-{index + 1:0{width}d}")
                runs.append(ArrayRun(run.key, path, run.shape, run.load, positional=True))
    return runs


def _layer(array: Matrix, index: int) -> Matrix:
    return np.asarray(array[index] if array.ndim == 3 else array)


def _is_series(value: Matrix) -> bool:
    """Tell series from labels and settings, which MATLAB keeps as matrices of one row or column."""
    if value.dtype == object:
        return value.size > 0 and all(isinstance(each, np.ndarray) and _is_series(each) for each in value.ravel())
    return value.dtype.kind in "biuf" and value.ndim in (2, 3) and min(value.shape[-2:]) > 1


def _read_hdf5(path: Path) -> dict[str, Any]:
    """Read the matrices of a version 7.3 file, which is HDF5 and stores them by columns."""
    try:
        import h5py  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UsageError(
            f"{path} is a MATLAB file of version 7.3; install h5py to read it, or save it with `save -v7`."
        ) from error
    with h5py.File(path, "r") as file:
        return {str(name): np.asarray(item).T for name, item in file.items() if hasattr(item, "dtype")}
