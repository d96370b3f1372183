"""Regional series on disk: finding them, choosing one kind, reading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.config import Selection
from bids_neurossm.dataset.names import build_name, parse_name, source_entities
from bids_neurossm.dataset.read import read_json_object
from bids_neurossm.errors import NoInputError, RunError, UsageError

#: Entities that tell kinds of series apart: one analysis uses one kind.
KIND_ENTITIES = ("space", "atlas", "seg", "scale", "res", "den", "stat", "desc")


@dataclass(frozen=True)
class SeriesFile:
    """A table of regional series.

    Parameters
    ----------
    path : Path
        T rows by R named columns.
    entities : mapping
        Of its name.
    sidecar : mapping
        Its JSON; empty where there is none.
    """

    path: Path
    entities: Mapping[str, str]
    sidecar: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Name of the recording, unique within one kind."""
        return build_name(source_entities(self.entities), "x", "").removesuffix("_x")

    @property
    def kind(self) -> tuple[tuple[str, str], ...]:
        """Space, atlas and strategy."""
        return tuple((name, self.entities[name]) for name in KIND_ENTITIES if name in self.entities)

    @property
    def repetition_time(self) -> float:
        """Seconds; NaN where the sidecar does not say it."""
        value = self.sidecar.get("RepetitionTime")
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else float("nan")


def find_series(dataset: Path, selection: Selection) -> list[SeriesFile]:
    """Find tables of regional series.

    Parameters
    ----------
    dataset : Path
        Derivatives by this program or another one.
    selection : Selection
        Participants, sessions, tasks, runs, space, resolution.

    Returns
    -------
    list of SeriesFile
        Sorted by path; without sidecars, which `with_sidecars` reads.
    """
    found = []
    for path in sorted(dataset.glob("sub-*/**/func/*_timeseries.tsv")):
        entities, _, _ = parse_name(path)
        wanted = (
            ("sub", selection.participant_label),
            ("ses", selection.session_id),
            ("task", selection.task_id),
            ("run", selection.run_id),
            ("space", (selection.space,) if selection.space else ()),
            ("res", (selection.res,) if selection.res else ()),
        )
        if entities.get("desc") == "confounds" or entities.get("sub") in selection.exclude_participant_label:
            continue
        if all(not labels or entities.get(name) in labels for name, labels in wanted):
            found.append(SeriesFile(path, entities))
    return found


def choose_kind(
    files: Sequence[SeriesFile], atlas: Mapping[str, str] | None, strategy: str | None, dataset: Path
) -> list[SeriesFile]:
    """Keep the series of one space, atlas and strategy.

    Parameters
    ----------
    files : sequence of SeriesFile
        All that were found.
    atlas : mapping or None
        Entities of the atlas that was asked for.
    strategy : str or None
        Label of the strategy that was asked for.
    dataset : Path
        For messages.

    Returns
    -------
    list of SeriesFile
        Of one kind.

    Raises
    ------
    NoInputError
        If nothing is left.
    UsageError
        If several kinds are left; the message lists them.
    """
    kept = [
        each
        for each in files
        if (not atlas or atlas.items() <= each.entities.items())
        and (not strategy or each.entities.get("desc") == strategy)
    ]
    if not kept:
        kinds = sorted({_told(each.kind) for each in files})
        there = f"; there are {'; '.join(kinds)}" if kinds else ""
        raise NoInputError(
            f"{dataset} has no *_timeseries.tsv that matches the options{there}. Run the participant level first, or "
            "give a dataset that has series."
        )
    kinds = sorted({_told(each.kind) for each in kept})
    if len(kinds) > 1:
        raise UsageError(
            f"{dataset} holds {len(kinds)} kinds of series: {'; '.join(kinds)}. Choose one with --space, --atlas and "
            "--denoise."
        )
    return kept


def _told(kind: tuple[tuple[str, str], ...]) -> str:
    return " ".join(f"{name}-{value}" for name, value in kind) or "series without entities"


def with_sidecars(files: Sequence[SeriesFile]) -> list[SeriesFile]:
    """Read the sidecar of every table.

    Raises
    ------
    RunError
        If one is there but is no JSON object.
    """
    return [SeriesFile(each.path, each.entities, _sidecar(each.path)) for each in files]


def _sidecar(table: Path) -> dict[str, Any]:
    path = table.with_suffix(".json")
    return read_json_object(path, RunError) if path.is_file() else {}


def read_regions(path: Path) -> list[str]:
    """Read the names of the regions from the first line of a table.

    Raises
    ------
    RunError
        If the file can not be read as text.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return stream.readline().rstrip("\r\n").split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not a readable table of numbers ({error}).") from error


def read_series(path: Path, regions: Sequence[str]) -> npt.NDArray[np.float64]:
    """Read a table of series.

    Parameters
    ----------
    path : Path
        The table.
    regions : sequence of str
        Columns that are expected, in this order.

    Returns
    -------
    ndarray of float64, shape (T, R)
        NaN where the table says ``n/a``.

    Raises
    ------
    RunError
        If the columns are others, or a cell is no number.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", na_values=["n/a"], encoding="utf-8-sig")
        values = table.to_numpy(dtype=np.float64)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise RunError(f"{path} is not a readable table of numbers ({error}).") from error
    if not isinstance(table.index, pd.RangeIndex):
        # pandas would take the first cells for row names and shift every region by one.
        raise RunError(f"{path} has rows with more cells than the {len(table.columns)} names in its first line.")
    columns = [str(name) for name in table.columns]
    if columns != list(regions):
        different = next(
            (
                f"column {index + 1} is {mine!r}, {theirs!r} is expected"
                for index, (mine, theirs) in enumerate(zip(columns, regions, strict=False))
                if mine != theirs
            ),
            f"it has {len(columns)} columns, {len(regions)} are expected",
        )
        raise RunError(f"{path} has other regions than the rest of the cohort: {different}.")
    if np.isinf(values).any():
        raise RunError(f"{path} holds infinite values; numbers or n/a are expected.")
    return values
