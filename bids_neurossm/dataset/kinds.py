"""Kinds of images and series: selecting by entities, and refusing where several kinds of one recording are left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bids_neurossm.config import DEFAULT_SPACES, Selection
from bids_neurossm.dataset.names import kind_entities, plain_label, recording_entities
from bids_neurossm.errors import UsageError

#: An image with the entities of its name.
Image = tuple[Path, dict[str, str]]

#: Options that choose the label of an entity, where there is one besides --filter.
_OPTIONS = {
    **{"space": "--space", "res": "--res", "den": "--res"},
    **{"atlas": "--atlas", "seg": "--atlas", "scale": "--atlas", "desc": "--denoise"},
}
#: Kinds that a message lists.
_MOST_LISTED = 8


def is_wanted(entities: Mapping[str, str], selection: Selection, space: bool = True) -> bool:
    """Tell whether the entities of a name fit the options that select runs.

    Parameters
    ----------
    entities : mapping
        Of a name.
    selection : Selection
        Options; participants are left to the caller.
    space : bool
        Whether ``--space`` and ``--res`` are looked at, too.
    """
    wanted: list[tuple[str, Sequence[str]]] = [
        ("ses", selection.session_id),
        ("task", selection.task_id),
        ("run", selection.run_id),
    ]
    if space:
        grid = "den" if "den" in entities and "res" not in entities else "res"
        wanted += [("space", (selection.space,) if selection.space else ())]
        wanted += [(grid, (selection.res,) if selection.res else ())]
    # An empty label in a filter means: without the entity.
    return all(not labels or fits(name, entities.get(name), labels) for name, labels in wanted) and all(
        fits(name, entities.get(name, ""), labels) for name, labels in selection.filter.items()
    )


def fits(entity: str, label: str | None, wanted: Sequence[str]) -> bool:
    """Tell whether a label is one of those that are wanted; numbers are compared as numbers."""
    return label is not None and plain_label(entity, label) in {plain_label(entity, each) for each in wanted}


def kind_told(kind: Mapping[str, str]) -> str:
    """Write a kind in words."""
    return " ".join(f"{name}-{label}" for name, label in kind.items()) or "without further entities"


def kinds_listed(names: Iterable[Mapping[str, str]]) -> str:
    """List the kinds of several files."""
    told = sorted({kind_told(kind_entities(entities)) for entities in names})
    more = f"; and {len(told) - _MOST_LISTED} more" if len(told) > _MOST_LISTED else ""
    return "; ".join(told[:_MOST_LISTED]) + more


def differing(names: Sequence[Mapping[str, str]]) -> list[str]:
    """List the entities of the kind in which files differ."""
    kinds = [kind_entities(entities) for entities in names]
    known = dict.fromkeys(name for kind in kinds for name in kind)
    return [name for name in known if len({plain_label(name, kind.get(name, "")) for kind in kinds}) > 1]


def how_to_choose(names: Sequence[Mapping[str, str]], options: bool = True) -> str:
    """Name the options that choose among kinds.

    Parameters
    ----------
    names : sequence of mapping
        Entities of files of several kinds.
    options : bool
        Whether options such as ``--space`` choose, besides ``--filter``.
    """
    entities = differing(names)
    if not entities:
        return "--exclude"
    other = [name for name in entities if name not in _OPTIONS or not options]
    named = list(dict.fromkeys(_OPTIONS[name] for name in entities if name not in other))
    if not other:
        return _listed(named)
    example = []
    for name in other:
        labels = sorted({each.get(name, "") for each in names})
        example.append(f"{name}={next((label for label in labels if label), '')}")
    return " and ".join([*([_listed(named)] if named else []), f"--filter {' '.join(example)}"])


def _listed(named: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(named[:-1]), named[-1])))


def choose_space(images: Sequence[Image], selection: Selection) -> list[Image]:
    """Keep each recording in one space: the one asked for, or the first default one that it has."""
    if selection.space or "space" in selection.filter:
        return list(images)
    ranks = {space: rank for rank, space in enumerate(DEFAULT_SPACES)}
    kept: list[Image] = []
    for candidates in _by_recording([pair for pair in images if pair[1]["space"] in ranks]):
        best = min(ranks[entities["space"]] for _, entities in candidates)
        kept += [pair for pair in candidates if ranks[pair[1]["space"]] == best]
    return sorted(kept, key=lambda pair: pair[0])


def _by_recording(images: Sequence[Image]) -> list[list[Image]]:
    groups: dict[tuple[tuple[str, str], ...], list[Image]] = {}
    for pair in images:
        groups.setdefault(tuple(sorted(recording_entities(pair[1]).items())), []).append(pair)
    return list(groups.values())


def refuse_several_kinds(images: Sequence[Image]) -> None:
    """Make sure that one image of each recording is left.

    Raises
    ------
    UsageError
        With the option that chooses.
    """
    several = [group for group in _by_recording(images) if len(group) > 1]
    if not several:
        return
    (first, _), (second, _), *_ = several[0]
    names = [entities for _, entities in several[0]]
    entities = differing(names)
    if not entities:
        raise UsageError(
            f"{first} and {second} would be written under one name; keep one of them, or choose with "
            "--bids-filter-file."
        )
    if set(entities) <= {"res", "den"}:
        raise UsageError(f"{first.name} and {second.name} are one recording at two resolutions; choose one with --res.")
    number = f" ({len(several)} recordings are like this)" if len(several) > 1 else ""
    alike = " They would be written under one name." if entities == ["desc"] else ""
    raise UsageError(
        f"{first.name} and {second.name} are kinds of one recording{number}: {kinds_listed(names)}.{alike} Choose one "
        f"with {how_to_choose(names, options=False)}."
    )
