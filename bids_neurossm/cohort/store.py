"""The cohort store: the series of many runs in one memory-mapped file, one row of facts per run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bids_neurossm.errors import LabelError, NoInputError, OutputNotWritableError, RunError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.tables import read_table
from bids_neurossm.files.write import replacing, write_json, write_text

FORMAT = 1
_HEADER_BYTES = 128
_TEXT_COLUMNS = ("run", "participant_id", "session_id", "task_id", "run_id", "group", "site", "segments")


#: Gives other series (T, R) for those of a run, which is named by its cohort and its row there.
Change = Callable[["Cohort", int, NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Cohort:
    """Series of many runs in one memory-mapped file, with one row of facts per run.

    Parameters
    ----------
    folder : Path
        Holds ``series.npy`` (float32, rows of all runs one after the other x regions, values as extracted,
        NaN where a region is uncovered), ``runs.tsv`` and ``cohort.json``.
    runs : pandas.DataFrame
        One row per run with a RangeIndex: ``run`` (unique name), ``participant_id``, ``session_id``, ``task_id``,
        ``run_id``, ``label``, ``group`` (what must stay together in a split), ``n_volumes``, ``start`` (first row in
        ``series.npy``), ``repetition_time`` (s), ``mean_fd`` (mm), ``site``, ``segments`` (JSON list of
        ``[start, stop]`` of contiguous rows of the run), then covariates.
    regions, networks : list of str
        Name of each column of the series, and of the network that it belongs to.
    classes : list of str
        Sorted class names; empty for a continuous target.
    target_type : {"class", "continuous"}
        How ``label`` is meant.
    hash : str
        SHA-256 over the series, the table and the names: the identity of the cohort.
    extra : dict
        Further facts as JSON values (atlas, space, denoising ...).
    changes : tuple of callable
        What is done to the series of a run, one after the other, when they are read.
    """

    folder: Path
    runs: pd.DataFrame
    regions: list[str]
    networks: list[str]
    classes: list[str]
    target_type: str
    hash: str
    extra: dict[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @classmethod
    def create(
        cls,
        folder: Path | str,
        runs: pd.DataFrame,
        series: Iterable[NDArray[Any] | None],
        regions: Sequence[str],
        networks: Sequence[str],
        target_type: str,
        extra: Mapping[str, Any] | None = None,
    ) -> Cohort:
        """Write a cohort, one run in memory at a time.

        Parameters
        ----------
        folder : Path
            Made if absent; an older cohort in it is replaced.
        runs : pandas.DataFrame
            One row per run in the order of `series`; ``run``, ``participant_id`` and ``label`` are required, the
            other columns are filled where they are absent (``group`` by the participant, ``segments`` by the run).
        series : iterable of array (T_i, R) or None
            Values as extracted; a run whose series are None is left out of the cohort.
        regions, networks : sequence of str
            Names of the R columns.
        target_type : {"class", "continuous"}
            How ``label`` is meant.
        extra : mapping, optional
            JSON values that are kept with the cohort.

        Raises
        ------
        RunError
            If a series does not have the shape that the table and the regions call for; the run is named.
        NoInputError
            If no run is left.
        LabelError
            If a label is missing or is not a number where the target is continuous.
        OutputNotWritableError
            If the folder can not be written.
        """
        folder = Path(folder)
        if target_type not in ("class", "continuous"):
            raise UsageError(f"target_type is {target_type!r}; 'class' or 'continuous' is expected.")
        if len(networks) != len(regions):
            raise UsageError(f"{len(networks)} network names do not fit {len(regions)} regions.")
        table = _completed(runs, target_type)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            digest, lengths, kept = _write_series(folder, table, series, len(regions))
            table = table[kept].reset_index(drop=True)
            table["n_volumes"] = lengths
            table["start"] = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
            table["segments"] = [
                _checked_segments(text, length, run)
                for text, length, run in zip(table["segments"], lengths, table["run"], strict=True)
            ]
            text = table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n")
            digest.update(text.encode())
            digest.update(json.dumps([list(regions), list(networks), target_type]).encode())
            facts = {
                "format": FORMAT,
                "hash": digest.hexdigest(),
                "target_type": target_type,
                "classes": sorted(set(table["label"])) if target_type == "class" else [],
                "regions": [str(name) for name in regions],
                "networks": [str(name) for name in networks],
                "columns": {str(name): _kind(table[name]) for name in table.columns},
                "extra": dict(extra or {}),
            }
            write_text(folder / "runs.tsv", text)
            # Written last: a folder without it is not a cohort.
            write_json(folder / "cohort.json", facts)
        except OSError as error:
            raise OutputNotWritableError(f"{folder} can not be written: {error.strerror}.") from error
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str) -> Cohort:
        """Open a cohort that `create` wrote; the series stay on disk.

        Raises
        ------
        NoInputError
            If the folder holds no whole cohort.
        """
        folder = Path(folder)
        try:
            facts = read_json_object(folder / "cohort.json", NoInputError)
            if facts.get("format") != FORMAT:
                raise NoInputError(f"{folder} holds a cohort of format {facts.get('format')}; {FORMAT} is expected.")
            kinds: dict[str, str] = facts["columns"]
            # Everything is read as text first: "01" is a name, and "n/a" is a word in a text column.
            table = read_table(folder / "runs.tsv", NoInputError)
            table = pd.DataFrame({name: _as_kind(table[name], kind) for name, kind in kinds.items()})
            rows = int(np.load(folder / "series.npy", mmap_mode="r").shape[0])
        except (OSError, ValueError, KeyError) as error:
            raise NoInputError(f"{folder} is not a whole cohort ({error}); make it anew.") from error
        if rows != int(table["n_volumes"].sum()):
            raise NoInputError(f"{folder}: series.npy has {rows} rows, runs.tsv counts {table['n_volumes'].sum()}.")
        names = ("regions", "networks", "classes", "target_type", "hash", "extra")
        return cls(folder, table, **{name: facts[name] for name in names})

    def raw(self, index: int) -> NDArray[np.float32]:
        """Return the series of run `index` as extracted, (T, R) float32: a read-only view of the file, or changed."""
        start, length = int(self.runs["start"].iloc[index]), int(self.runs["n_volumes"].iloc[index])
        view: NDArray[np.float32] = np.load(self.folder / "series.npy", mmap_mode="r")[start : start + length]
        for change in self.changes:
            view = change(self, index, view)
        return view

    def standardised(self, index: int) -> NDArray[np.float32]:
        """Return the series of run `index` z-scored per region over its segments, (T, R) float32; see `standardise`."""
        return standardise(self.raw(index), self.segments(index))

    def segments(self, index: int) -> list[tuple[int, int]]:
        """Return ``(start, stop)`` of each contiguous piece of run `index`, in rows of its series."""
        return [(int(start), int(stop)) for start, stop in json.loads(self.runs["segments"].iloc[index])]

    def repetition_times(self, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the repetition time of each run in s; NaN where it is not known."""
        times: NDArray[np.float64] = self.runs["repetition_time"].to_numpy(dtype=np.float64)[indices]
        return times

    def repetition_time(self, indices: NDArray[np.int64]) -> float | None:
        """Return the median repetition time of the runs in s, or None where it is not known."""
        times = self.repetition_times(indices)
        return float(np.nanmedian(times)) if np.isfinite(times).any() else None

    def labels(self, indices: ArrayLike) -> NDArray[Any]:
        """Return class indices (int64) or target values (float64) of the runs `indices`."""
        values = self.runs["label"].to_numpy()[np.asarray(indices, dtype=np.int64)]
        if self.target_type == "continuous":
            return np.asarray(values, dtype=np.float64)
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[str(value)] for value in values], dtype=np.int64)


def standardise(series: NDArray[Any], segments: Sequence[tuple[int, int]] | None = None) -> NDArray[np.float32]:
    """Z-score each region over the run.

    Parameters
    ----------
    series : array (T, R)
        Values as extracted.
    segments : sequence of (start, stop), optional
        The rows that mean and standard deviation are taken over; all by default.

    Returns
    -------
    array (T, R) float32
        A region that is constant or not finite in those rows is exactly 0.
    """
    values = np.asarray(series, dtype=np.float64)
    kept = values if segments is None else np.concatenate([values[start:stop] for start, stop in segments])
    with np.errstate(invalid="ignore", over="ignore"):
        mean, deviation = kept.mean(axis=0), kept.std(axis=0)
        # Relative to the mean, since a constant region far from zero keeps rounding noise of that size.
        alive = np.isfinite(deviation) & (deviation > 1e-6 * np.abs(mean)) & (deviation > 1e-12)
        scores = (values - mean) / np.where(alive, deviation, 1.0)
    scores[:, ~alive] = 0.0
    finite: NDArray[np.float32] = np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    return finite


def _completed(runs: pd.DataFrame, target_type: str) -> pd.DataFrame:
    """Check the required columns, fill the others, and put all in order."""
    table = runs.reset_index(drop=True).copy()
    for name in ("run", "participant_id", "label"):
        if name not in table:
            raise UsageError(f"The table of runs has no column {name!r}.")
    if not len(table):
        raise NoInputError("The table of runs is empty.")
    if table["run"].duplicated().any():
        raise UsageError(f"The run {table['run'][table['run'].duplicated()].iloc[0]} is in the table twice.")
    for row, missing in zip(table["run"], table["label"].isna(), strict=True):
        if missing:
            raise LabelError(f"{row} has no label.")
    if target_type == "continuous":
        try:
            table["label"] = table["label"].astype(np.float64)
        except ValueError as error:
            raise LabelError(f"A continuous target needs numbers: {error}.") from error
    else:
        table["label"] = table["label"].astype(str)
    defaults: dict[str, Any] = {
        "session_id": "", "task_id": "", "run_id": "", "group": table["participant_id"], "n_volumes": 0,
        "start": 0, "repetition_time": np.nan, "mean_fd": np.nan, "site": "", "segments": "",
    }  # fmt: skip
    for name, default in defaults.items():
        if name not in table:
            table[name] = default
    for name in _TEXT_COLUMNS:
        table[name] = ["" if pd.isna(value) else str(value) for value in table[name]]
    table["group"] = table["group"].where(table["group"] != "", table["participant_id"])
    for name in ("repetition_time", "mean_fd"):
        table[name] = table[name].astype(np.float64)
    first = ["run", "participant_id", "session_id", "task_id", "run_id", "label", *list(defaults)[3:]]
    return table[first + [name for name in table.columns if name not in first]]


def _write_series(
    folder: Path, table: pd.DataFrame, series: Iterable[NDArray[Any] | None], n_regions: int
) -> tuple[Any, list[int], list[bool]]:
    """Stream the runs into ``series.npy``; return the running hash, the length of each run, and which were kept."""
    digest = hashlib.sha256()
    lengths: list[int] = []
    kept: list[bool] = []
    stated = table["n_volumes"].to_numpy()
    with replacing(folder / "series.npy") as temporary, temporary.open("wb") as file:
        file.write(b"\0" * _HEADER_BYTES)
        for number, values in enumerate(series):
            if number >= len(table):
                raise UsageError(f"There are more series than the {len(table)} runs of the table.")
            kept.append(values is not None)
            if values is None:
                continue
            run, block = table["run"].iloc[number], np.ascontiguousarray(values, dtype="<f4")
            if block.ndim != 2 or block.shape[1] != n_regions or not len(block):
                raise RunError(f"{run}: the series has shape {block.shape}; (T, {n_regions}) is expected.")
            if stated[number] and int(stated[number]) != len(block):
                raise RunError(f"{run}: the series has {len(block)} rows, the table says {stated[number]}.")
            file.write(block.tobytes())
            digest.update(block.tobytes())
            lengths.append(len(block))
        if len(kept) != len(table):
            raise UsageError(f"There are {len(kept)} series for the {len(table)} runs of the table.")
        if not lengths:
            raise NoInputError("No run is left in the cohort.")
        # The number of rows is known only now; the header has a fixed size so that it can be laid in front.
        file.seek(0)
        _write_header(file, sum(lengths), n_regions)
    return digest, lengths, kept


def _write_header(file: BinaryIO, rows: int, columns: int) -> None:
    """Write the header of a .npy file, padded to ``_HEADER_BYTES``."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)})
    if len(header.getvalue()) != _HEADER_BYTES:
        raise UsageError(f"A series of {rows} x {columns} values does not fit the format.")
    file.write(header.getvalue())


def _checked_segments(text: str, length: int, run: str) -> str:
    """Return the segments as canonical JSON; the whole run where none are given."""
    segments = json.loads(text) if text else [[0, length]]
    before = 0
    for start, stop in segments:
        if not before <= start < stop <= length:
            raise RunError(f"{run}: segment [{start}, {stop}] does not fit {length} volumes or the segment before it.")
        before = stop
    if not segments:
        raise RunError(f"{run}: no volume is left.")
    return json.dumps([[int(start), int(stop)] for start, stop in segments])


def _kind(column: pd.Series[Any]) -> str:
    """Name the kind of a column, so that it is read back as it was."""
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_integer_dtype(column):
        return "int"
    return "float" if pd.api.types.is_float_dtype(column) else "text"


def _as_kind(column: pd.Series[Any], kind: str) -> pd.Series[Any]:
    """Turn a column of text into its kind."""
    if kind == "bool":
        return column == "True"
    if kind == "int":
        return column.astype(np.int64)
    return column.replace("n/a", "nan").astype(np.float64) if kind == "float" else column.astype(object)
