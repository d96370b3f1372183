"""Several atlases as one table of regions, for instance a cortical parcellation with subcortical nuclei of another.

A TOML file says what is taken from where::

    name = "Schaefer400Subcortex"

    [[parts]]
    atlas = "Schaefer400"

    [[parts]]
    atlas = "AAL3"
    labels = [41, 42, 45, 46, "75-80"]
    prefix = "AAL3_"
    network = "Subcortical"
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bids_neurossm.atlas.parcellation import Layer, Parcellation
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import read_toml

_KEYS = {"name", "title", "license", "citation", "doi", "parts"}
_PART_KEYS = {"atlas", "file", "space", "labels", "names", "prefix", "network"}

#: Gives a part its parcellation: from the name or the file of an atlas, and the space of a file.
Loader = Callable[[str, str | None], Parcellation]


def combined_name(path: Path) -> str:
    """Tell what a combined atlas is called in file names.

    Raises
    ------
    UsageError
        If its file can not be read or has no usable name.
    """
    return _name(path, _content(path))


def load_combined(path: Path, load: Loader) -> Parcellation:
    """Read a TOML file of parts into one parcellation.

    Parameters
    ----------
    path : Path
        The TOML file; label images are named relative to it.
    load : callable
        Loads one part.

    Returns
    -------
    Parcellation
        Regions in the order of the parts, labels from 1. Where parts overlap, the earlier one keeps the voxels. The
        grid is that of the first part, the space that of the parts that are bound to one.

    Raises
    ------
    UsageError
        If the file can not be understood, a part has no such label, parts are drawn in different spaces or on
        grayordinates, or two regions would have one name.
    """
    content = _content(path)
    loaded = [(part, load(*_wanted(part, path))) for part in content["parts"]]
    spaces = list(dict.fromkeys(each.space for _, each in loaded if not each.any_space))
    if len(spaces) > 1:
        raise UsageError(f"--atlas {path}: its parts are drawn in {' and '.join(spaces)}; one space is expected.")
    layers, names, networks = [], [], []
    for part, each in loaded:
        if each.dense:
            raise UsageError(f"--atlas {path}: {each.image_file.name} is drawn on grayordinates; NIfTI is expected.")
        chosen = _chosen(part, each, path)
        layers.append(Layer(each.image_file, chosen))
        position = {label: index for index, label in enumerate(each.labels)}
        names += [part.get("prefix", "") + each.names[position[label]] for label in chosen]
        networks += [part.get("network", each.networks[position[label]]) for label in chosen]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--atlas {path}: two of its regions are called {twice}; give one of the parts a prefix.")
    titles = [each.facts.get("title", each.name) for _, each in loaded]
    facts = {"title": " with ".join(dict.fromkeys(titles)), "license": "that of each part"}
    citations = [each.facts["citation"] for _, each in loaded if "citation" in each.facts]
    if citations:
        facts["citation"] = " ".join(dict.fromkeys(citations))
    return Parcellation(
        entities={"atlas": _name(path, content), "scale": str(len(names))},
        space=spaces[0] if spaces else loaded[0][1].space,
        image_file=path.absolute(),
        table_file=path.absolute(),
        labels=tuple(range(1, len(names) + 1)),
        names=tuple(names),
        networks=tuple(networks),
        any_space=not spaces,
        facts=facts | {key: str(content[key]) for key in ("title", "license", "citation", "doi") if key in content},
        layers=tuple(layers),
    )


def _content(path: Path) -> dict[str, Any]:
    content = read_toml(path)
    parts = content.get("parts")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise UsageError(f'--atlas {path}: no [[parts]]; one for each atlas is expected, with atlas = "NAME" or file.')
    for table, known in ((content, _KEYS), *((part, _PART_KEYS) for part in parts)):
        unknown = sorted(set(table) - known)
        if unknown:
            raise UsageError(f"--atlas {path}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}.")
    for part in parts:
        for key in ("atlas", "file", "space", "prefix", "network"):
            if not isinstance(part.get(key, ""), str):
                raise UsageError(f"--atlas {path}: {key} = {part[key]!r} in a part; text is expected.")
    return content


def _name(path: Path, content: Mapping[str, Any]) -> str:
    name = sanitised_label(str(content.get("name", path.stem)))
    if not name:
        raise UsageError(f"--atlas {path}: its name has no letter and no digit, so no file can be named after it.")
    return name


def _wanted(part: Mapping[str, Any], path: Path) -> tuple[str, str | None]:
    """Name the atlas or the file of a part."""
    if ("atlas" in part) == ("file" in part):
        raise UsageError(f"--atlas {path}: each part needs either atlas = NAME or file = PATH.")
    if "atlas" in part:
        return part["atlas"], None
    return str(path.parent / part["file"]), part.get("space")


def _chosen(part: Mapping[str, Any], parcellation: Parcellation, path: Path) -> tuple[int, ...]:
    """List the labels that a part takes: all, by number (also "75-80"), or by name."""
    if "labels" in part and "names" in part:
        raise UsageError(f"--atlas {path}: a part takes either labels or names, not both.")
    if "names" in part:
        by_name = dict(zip(parcellation.names, parcellation.labels, strict=True))
        wanted = [(by_name.get(str(name)), str(name)) for name in _listed(part, "names", path)]
    elif "labels" in part:
        numbers = [number for item in _listed(part, "labels", path) for number in _numbers(item, path)]
        wanted = [(number if number in parcellation.labels else None, str(number)) for number in numbers]
    else:
        return parcellation.labels
    absent = [text for label, text in wanted if label is None]
    if absent:
        raise UsageError(
            f"--atlas {path}: {parcellation.image_file.name} has no region {absent[0]}; its labels run from "
            f"{parcellation.labels[0]} to {parcellation.labels[-1]}."
        )
    return tuple(dict.fromkeys(label for label, _ in wanted if label is not None))


def _listed(part: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    if not isinstance(part[key], list) or not part[key]:
        raise UsageError(f"--atlas {path}: {key} must be a list that is not empty.")
    return list(part[key])


def _numbers(item: Any, path: Path) -> list[int]:
    if isinstance(item, int) and not isinstance(item, bool):
        return [item]
    match = re.fullmatch(r"(\d+)(?:\s*-\s*(\d+))?", str(item))
    if not match or int(match[2] or match[1]) < int(match[1]) or int(match[2] or match[1]) > 10**6:
        raise UsageError(f'--atlas {path}: {item!r} is no label; a number or a range such as "75-80" is expected.')
    return list(range(int(match[1]), int(match[2] or match[1]) + 1))
