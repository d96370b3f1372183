"""Regional series on disk: finding them, choosing one kind, reading them."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.config import Selection
from bids_neurossm.dataset.bidsignore import IgnoreRules
from bids_neurossm.dataset.companions import Folders
from bids_neurossm.dataset.kinds import how_to_choose, is_wanted, kinds_listed
from bids_neurossm.dataset.left_out import LeftOut
from bids_neurossm.dataset.names import build_name, kind_entities, parse_name, plain_label, recording_entities
from bids_neurossm.dataset.places import look_at_root, place_problem
from bids_neurossm.dataset.producers import is_seconds, read_facts
from bids_neurossm.errors import NoInputError, OtherRegionsError, RunError, UsageError
from bids_neurossm.files.sidecar_hashes import is_as_stated, stated_hashes
from bids_neurossm.files.tables import MISSING_NUMBERS, read_delimited, read_first_rows


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
        Its JSON, with what others leave beside it; empty where there is nothing.
    label_entity : str or None
        Entity that holds the label of the run (``--target entity:NAME``): it tells runs apart like those of the
        recording.
    """

    path: Path
    entities: Mapping[str, str]
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    label_entity: str | None = None

    @property
    def recording(self) -> dict[str, str]:
        """Entities that tell the run from others, numbers in one spelling."""
        label = self.entities.get(self.label_entity or "")
        return recording_entities(self.entities) | ({} if label is None else {str(self.label_entity): label})

    @property
    def run(self) -> str:
        """Name of the recording, unique within one kind."""
        named = {name: label for name, label in self.entities.items() if name in self.recording}
        return build_name(named, "x", "").removesuffix("_x")

    @property
    def kind(self) -> tuple[tuple[str, str], ...]:
        """Everything else that its name states: space, atlas, strategy, echo ..."""
        return tuple(pair for pair in kind_entities(self.entities).items() if pair[0] not in self.recording)

    @property
    def sha256(self) -> str | None:
        """Hash of the table that the sidecar states; None where it states none."""
        return stated_hashes(self.sidecar).get(self.path.name)

    @property
    def repetition_time(self) -> float:
        """Seconds; NaN where the sidecar does not say it."""
        value = self.sidecar.get("RepetitionTime")
        return float(value) if value is not None and is_seconds(value) else float("nan")


@dataclass(frozen=True)
class FoundSeries:
    """Tables of regional series of one dataset.

    Parameters
    ----------
    dataset : Path
        Its root.
    files : tuple of SeriesFile
        Sorted by path; without sidecars, which `with_sidecars` reads.
    left_out : tuple of LeftOut
        Tables and folders that are not taken, with the rule.
    unwanted : tuple of mapping
        Entities of the tables that the options do not ask for.
    """

    dataset: Path
    files: tuple[SeriesFile, ...]
    left_out: tuple[LeftOut, ...] = ()
    unwanted: tuple[Mapping[str, str], ...] = ()


def find_series(dataset: Path, selection: Selection) -> list[SeriesFile]:
    """Find tables of regional series; see `look_for_series`."""
    return list(look_for_series(dataset, selection).files)


def look_for_series(dataset: Path, selection: Selection) -> FoundSeries:
    """Find tables of regional series.

    They lie in ``sub-*/[ses-*/]func/``, at any depth below it; plain tables may also lie at the root, or in the
    participant's or the session's folder.

    Parameters
    ----------
    dataset : Path
        Derivatives by this program or another one.
    selection : Selection
        Participants, sessions, tasks, runs, space, resolution, further entities.
    """
    if not dataset.is_dir():
        return FoundSeries(dataset, ())
    root = look_at_root(dataset, IgnoreRules.read(dataset), "*_timeseries.*sv")
    files, unwanted, left_out = [], [], [each for each in root.left_out if each.n_runs]
    patterns = ("sub-*_timeseries.*", "sub-*/**/sub-*_timeseries.*")
    paths = {path for pattern in patterns for path in dataset.glob(pattern) if path.suffix in (".tsv", ".csv")}
    for path in sorted(paths):
        entities, _, _ = parse_name(path)
        place = path.relative_to(dataset)
        known = len(place.parts) == 1 or place.parts[0].removeprefix("sub-") in root.participants
        participant = entities.get("sub", "") if len(place.parts) == 1 else place.parts[0].removeprefix("sub-")
        wanted = not selection.participant_label or participant in selection.participant_label
        if not known or entities.get("desc") == "confounds":
            continue
        if not wanted or participant in selection.exclude_participant_label:
            unwanted.append(entities)
            continue
        problem = place_problem(place, entities, anywhere=True)
        if problem is not None:
            left_out.append(LeftOut(path.name, participant, *problem))
        elif is_wanted(entities, selection):
            files.append(SeriesFile(path, entities))
        else:
            unwanted.append(entities)
    return FoundSeries(dataset, tuple(files), tuple(left_out), tuple(unwanted))


def choose_kind(
    files: Sequence[SeriesFile],
    atlas: Mapping[str, str] | None,
    strategy: str | None,
    dataset: Path,
    free: Collection[str] = (),
) -> list[SeriesFile]:
    """Keep the series of one kind: one space, atlas, strategy, echo ...

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
    free : collection of str
        Entities in which the recordings may differ: those of which several labels were asked for.

    Returns
    -------
    list of SeriesFile
        One per recording.

    Raises
    ------
    NoInputError
        If nothing is left.
    UsageError
        If several kinds are left; the message lists them and says how to choose.
    """
    kept = [
        each
        for each in files
        if (not atlas or atlas.items() <= each.entities.items())
        and (not strategy or each.entities.get("desc") == strategy)
    ]
    if not kept:
        there = f"; there are {kinds_listed([each.entities for each in files])}" if files else ""
        raise NoInputError(
            f"{dataset} has no *_timeseries.tsv that matches the options{there}. Run the participant level first, or "
            "give a dataset that has series."
        )
    names = [each.entities for each in kept]
    kinds = {tuple((name, plain_label(name, label)) for name, label in each.kind if name not in free) for each in kept}
    if len(kinds) > 1:
        raise UsageError(
            f"{dataset} holds {len(kinds)} kinds of series: {kinds_listed(names)}. Choose one with "
            f"{how_to_choose(names)}."
        )
    seen: dict[tuple[tuple[str, str], ...], SeriesFile] = {}
    for each in kept:
        before = seen.setdefault(tuple(sorted(each.recording.items())), each)
        if before is not each:
            raise UsageError(
                f"{before.path} and {each.path} are series of one recording; remove one of them, or choose with "
                f"{how_to_choose([before.entities, each.entities])}."
            )
    return kept


def label_entities(files: Sequence[SeriesFile], label: str) -> dict[str, str] | None:
    """Find an atlas that others name by one label, such as XCP-D's ``seg-4S456Parcels``; None if there is none."""
    for name in ("atlas", "seg"):
        if any(each.entities.get(name) == label.removeprefix(f"{name}-") for each in files):
            return {name: label.removeprefix(f"{name}-")}
    return None


def with_sidecars(
    files: Sequence[SeriesFile], datasets: Sequence[Path] = (), folders: Folders | None = None
) -> list[SeriesFile]:
    """Read the sidecar of every table, and what other programs leave beside it.

    Parameters
    ----------
    files : sequence of SeriesFile
        As `find_series` gives them.
    datasets : sequence of Path
        Where the repetition time of a recording is looked for when its series do not state it.
    folders : Folders, optional
        Lists folders and reads JSON files once.

    Raises
    ------
    RunError
        If one is there but is no JSON object.
    """
    folders = folders or Folders()
    return [replace(each, sidecar=read_facts(each.path, datasets, folders)) for each in files]


def read_regions(path: Path) -> list[str]:
    """Read the names of the regions from the first line of a table.

    Returns
    -------
    list of str
        As they stand there; ``region1`` ... where the table has no line of names.

    Raises
    ------
    RunError
        If the file can not be read as text, or its first column has no name.
    """
    return _names(read_first_rows(path, RunError), path)[0]


def common_regions(
    files: Sequence[SeriesFile], same: Callable[[Sequence[str], Sequence[str]], bool] = operator.eq
) -> list[str]:
    """Read the regions that most of the tables have; those with others are left out of a cohort with the reason.

    Parameters
    ----------
    files : sequence of SeriesFile
        Tables of one kind.
    same : callable
        Tells whether two lists of names (tuples of str) mean the same regions in the same order.

    Returns
    -------
    list of str
        The names that most of these tables use.

    Raises
    ------
    RunError
        If none of the tables can be read.
    UsageError
        If no set of regions is that of more than half of the tables: it would be a guess which is the cohort's.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    first: RunError | None = None
    for each in files:
        try:
            counts[tuple(read_regions(each.path))] += 1
        except RunError as error:
            first = first or error
    if not counts:
        raise (
            first
            if len(files) == 1 and first
            else RunError(f"None of the {len(files)} tables of series is readable. The first: {first}")
        )
    sets: Counter[tuple[str, ...]] = Counter()
    for names, number in counts.most_common():
        sets[next((known for known in sets if same(known, names)), names)] += number
    (regions, most), *others = sets.most_common()
    if others and 2 * most <= sets.total():
        found = ", ".join(f"{number} with {len(names)} ({names[0]} ...)" for names, number in sets.most_common(4))
        raise UsageError(
            f"The {sets.total()} tables of series have {len(sets)} different sets of regions, and none is that of "
            f"more than half of them: {found}. Choose runs of one kind with --participant-label, --session-id or "
            "--task-id, or run the participant level again with one --atlas."
        )
    return list(regions)


def _names(rows: Sequence[Sequence[str]], path: Path) -> tuple[list[str], bool]:
    """Return the names of the regions, and whether the first row holds them; two rows are looked at."""
    cells = [cell.strip() for cell in rows[0]]
    named = not _is_data(cells, rows[1] if len(rows) > 1 else ())
    if named and len(cells) > 1 and not cells[0]:
        raise RunError(f"{path}: its first column has no name (row numbers?); write the table without it.")
    return cells if named else [f"region{index + 1}" for index in range(len(cells))], named


def _is_data(cells: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether a first row holds numbers of a series.

    Names may be numbers, too: different whole ones that count up, or above a row with fractions.
    """
    try:
        values = [float(cell) for cell in cells if cell not in MISSING_NUMBERS]
    except ValueError:
        return False
    whole = len(values) == len(cells) == len(set(values)) and all(value >= 0 and value.is_integer() for value in values)
    up = all(later > earlier for earlier, later in pairwise(values))
    return not (whole and ((up and all(cell.isdigit() for cell in cells)) or any("." in cell for cell in below)))


def read_series(
    path: Path,
    regions: Sequence[str],
    same: Callable[[Sequence[str], Sequence[str]], bool] = operator.eq,
    sha256: str | None = None,
) -> npt.NDArray[np.float64]:
    """Read a table of series.

    Parameters
    ----------
    path : Path
        The table.
    regions : sequence of str
        Columns that are expected, in this order.
    same : callable
        Tells whether two lists of names mean the same regions in the same order.
    sha256 : str, optional
        Hash of the table that its sidecar states.

    Returns
    -------
    ndarray of float64, shape (T, R)
        NaN where the table says ``n/a``.

    Raises
    ------
    OtherRegionsError
        If the columns are others.
    RunError
        If the table is not the one that its sidecar describes, it is not readable, or a cell is no number.
    """
    from pandas import to_numeric
    from pandas.api.types import is_numeric_dtype

    if not is_as_stated(path, sha256):
        raise RunError(
            f"{path} was cut short or changed after it was written: it is not the table that {path.stem}.json "
            "describes; run the participant level again for it, or import it again."
        )
    content = read_delimited(path, RunError)
    columns, named = _names([content.first, *content.rows[:1]], path)
    table = content.typed() if named else content.typed(columns)
    wrong = next((name for name in table.columns if not is_numeric_dtype(table[name])), None)
    if wrong is not None:
        column = table[wrong]
        row = int(np.flatnonzero(to_numeric(column, errors="coerce").isna() & column.notna())[0])
        raise RunError(
            f"{path}: volume {row + 1} of {wrong} is {str(column.iloc[row])[:60]!r}; numbers or n/a are expected."
        )
    values = table.to_numpy(dtype=np.float64)
    if not same(columns, list(regions)):
        different = next(
            (
                f"column {index + 1} is {mine[:100]!r}, {theirs!r} is expected"
                for index, (mine, theirs) in enumerate(zip(columns, regions, strict=False))
                if mine != theirs
            ),
            f"it has {len(columns)} columns, {len(regions)} are expected",
        )
        raise OtherRegionsError(f"{path} has other regions than the rest of the cohort: {different}.")
    if np.isinf(values).any():
        raise RunError(f"{path} holds infinite values; numbers or n/a are expected.")
    return values
