"""Where a dataset may have its runs: ``sub-*/[ses-*/]func/``, at any depth below it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.dataset.bidsignore import IgnoreRules
from bids_neurossm.dataset.left_out import LeftOut
from bids_neurossm.dataset.names import LABEL, name_problem, same_label
from bids_neurossm.files.safe_reading import is_listed

#: Folders at the root of a dataset that may hold ``sub-*`` folders and are other datasets, or no data.
_KNOWN = re.compile(r"\..*|sourcedata|derivatives|code|phenotype|stimuli|logs?|freesurfer|tpl-.*|models|group|work")


@dataclass(frozen=True)
class Root:
    """The root of a dataset.

    Parameters
    ----------
    participants : tuple of str
        Labels of the ``sub-*`` folders that are valid BIDS, sorted.
    left_out : tuple of LeftOut
        ``sub-*`` folders that are not, and folders without a place in BIDS that hold ``sub-*`` folders.
    """

    participants: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def look_at_root(dataset: Path, rules: IgnoreRules, pattern: str) -> Root:
    """List the participants of a dataset, and what there is besides that holds runs.

    Parameters
    ----------
    dataset : Path
        An existing folder.
    rules : IgnoreRules
        Of its ``.bidsignore``.
    pattern : str
        Names of the files that are runs, ``*_bold.nii*``, to count what is left out.
    """
    participants, left_out = [], []
    for folder in sorted(path for path in dataset.iterdir() if path.is_dir()):
        name = folder.name
        if name.startswith("sub-"):
            label = name.removeprefix("sub-")
            if LABEL.fullmatch(label):
                participants.append(label)
            else:
                detail = f"{name} is not a valid BIDS label: letters and digits alone are expected after sub-"
                number = _count(folder, (f"func/{pattern}", f"ses-*/func/{pattern}"))
                left_out.append(LeftOut(name, "", "label is not valid BIDS", detail, number))
        elif not _is_other_dataset(folder) and (any(folder.glob("sub-*/")) or any(folder.glob("*/sub-*/"))):
            ignored = rules.folder_pattern(name)
            reason = f".bidsignore: {ignored}" if ignored else "folder has no place in BIDS"
            detail = f"{name}/ is no folder of BIDS; runs are looked for in sub-*/[ses-*/]func/"
            places = ("", "*/")
            patterns = [f"{above}sub-*/{each}func/{pattern}" for above in places for each in ("", "ses-*/")]
            left_out.append(LeftOut(f"{name}/", "", reason, detail, _count(folder, patterns)))
    return Root(tuple(participants), tuple(left_out))


def _is_other_dataset(folder: Path) -> bool:
    """Tell whether a folder at the root is known not to hold runs of this dataset."""
    return bool(_KNOWN.fullmatch(folder.name)) or is_listed(folder / "dataset_description.json")


def _count(folder: Path, patterns: tuple[str, ...] | list[str]) -> int:
    return sum(1 for pattern in patterns for _ in folder.glob(pattern))


def place_problem(place: Path, entities: Mapping[str, str], anywhere: bool = False) -> tuple[str, str] | None:
    """Say why a file is not taken for a run by its place and its name.

    Parameters
    ----------
    place : Path
        Within the dataset.
    entities : mapping
        Of its name.
    anywhere : bool
        Whether the file may lie at the root, or beside ``func/``, as plain tables do.

    Returns
    -------
    (str, str) or None
        Reason and detail.
    """
    problem = name_problem(place)
    if problem is not None:
        return "label is not valid BIDS", f"{place}: {problem}"
    *folders, _ = place.parts
    stated: dict[str, str] = {}
    for name in ("sub", "ses"):
        if folders and folders[0].startswith(f"{name}-"):
            stated[name] = folders.pop(0).removeprefix(f"{name}-")
    inside = "sub" in stated and bool(folders) and folders[0] == "func"
    if not inside and not (anywhere and not folders):
        return "place is not sub-*/[ses-*/]func/", str(place)
    for name, label in stated.items():
        if not LABEL.fullmatch(label):
            return "label is not valid BIDS", f"{place}: {name}-{label} is not a valid BIDS label"
        if not same_label(name, entities.get(name), label):
            told = f"{name}-{entities[name]}" if name in entities else f"no {name}-"
            return "name and folder disagree", f"{place}: the folder says {name}-{label}, the name {told}"
    return None
