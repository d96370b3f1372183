"""BIDS file names: taking them apart and putting them together in the order of the standard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from bids_neurossm.errors import UsageError

#: Entities in the order in which they stand in a name (BIDS 1.11, then those of the derivatives).
ENTITY_ORDER = (
    *(
        "sub",
        "ses",
        "task",
        "tracksys",
        "acq",
        "ce",
        "trc",
        "stain",
        "rec",
        "dir",
        "run",
        "mod",
        "echo",
        "part",
        "hemi",
    ),
    *("tpl", "cohort", "space", "atlas", "seg", "scale", "res", "den", "label", "stat", "desc"),
)

#: Entities that tell one recording from another; every other one names a kind of image or series of it.
RECORDING_ENTITIES = ("sub", "ses", "task", "acq", "ce", "rec", "dir", "run")

#: Entities whose labels are numbers: ``run-1`` is ``run-01``.
INDEX_ENTITIES = ("run", "echo")

#: Longest file name: 255 bytes, less what temporary names add.
_LONGEST = 231

#: Other spellings of entities: columns of BIDS tables, and names of PyBIDS.
_ALIASES = {
    **{"participant_id": "sub", "session_id": "ses", "task_id": "task", "run_id": "run"},
    **{"subject": "sub", "participant": "sub", "session": "ses", "acquisition": "acq", "ceagent": "ce"},
    **{"reconstruction": "rec", "direction": "dir", "resolution": "res", "density": "den", "description": "desc"},
}

#: What a BIDS label consists of.
LABEL = re.compile(r"[0-9A-Za-z+]+")

#: Entities that describe a derivative rather than the recording it was made from.
DERIVATIVE_ENTITIES = ("space", "atlas", "seg", "scale", "res", "den", "label", "stat", "desc", "hemi", "cohort")


def parse_name(path: PurePath | str) -> tuple[dict[str, str], str, str]:
    """Split a file name into entities, suffix and extension.

    Parameters
    ----------
    path : path-like
        Only the name is looked at.

    Returns
    -------
    entities : dict of str to str
        In the order of the name.
    suffix : str
        For instance ``bold``.
    extension : str
        With its dot, ``.nii.gz`` in one piece.

    Examples
    --------
    >>> parse_name("sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")[0]["task"]
    'rest'
    """
    name = PurePath(path).name
    stem, dot, extension = name.partition(".")
    *pairs, suffix = stem.split("_")
    entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
    return entities, suffix, dot + extension


def build_name(entities: Mapping[str, str | None], suffix: str, extension: str) -> str:
    """Join entities to a file name in the order of the standard; None is left out.

    Entities that the standard does not know follow those of the recording.

    Raises
    ------
    UsageError
        If the name is longer than file systems allow.

    Examples
    --------
    >>> build_name({"desc": "simple", "sub": "01", "stat": "mean", "run": None}, "timeseries", ".tsv")
    'sub-01_stat-mean_desc-simple_timeseries.tsv'
    """
    position = {name: index for index, name in enumerate(ENTITY_ORDER)}
    present = [(name, value) for name, value in entities.items() if value is not None]
    present.sort(key=lambda pair: position.get(pair[0], position["hemi"]))
    name = "_".join([*(f"{name}-{value}" for name, value in present), suffix]) + extension
    if len(name) > _LONGEST:
        raise UsageError(
            f"The file name {name[:60]}... has {len(name)} characters; at most {_LONGEST} fit: use shorter identifiers "
            "and labels."
        )
    return name


def source_entities(entities: Mapping[str, str]) -> dict[str, str]:
    """Keep the entities that name the recording: participant, session, task, run ...

    ``echo`` and ``part`` stay: they tell recordings apart.
    """
    return {name: value for name, value in entities.items() if name not in DERIVATIVE_ENTITIES}


def recording_entities(entities: Mapping[str, str]) -> dict[str, str]:
    """Keep the entities of the recording, with numbers in one spelling: equal mappings are one recording.

    Examples
    --------
    >>> recording_entities({"sub": "01", "run": "02", "echo": "1", "space": "T1w"})
    {'sub': '01', 'run': '2'}
    """
    return {name: plain_label(name, entities[name]) for name in RECORDING_ENTITIES if name in entities}


def kind_entities(entities: Mapping[str, str]) -> dict[str, str]:
    """Keep the entities that do not name the recording, in the order of the standard."""
    position = {name: index for index, name in enumerate(ENTITY_ORDER)}
    kept = [name for name in entities if name not in RECORDING_ENTITIES]
    return {name: entities[name] for name in sorted(kept, key=lambda name: position.get(name, -1))}


def plain_label(entity: str, label: str) -> str:
    """Spell a label in one way: numbers without leading zeros.

    Examples
    --------
    >>> plain_label("run", "01"), plain_label("sub", "01")
    ('1', '01')
    """
    if entity in INDEX_ENTITIES and label.isascii() and label.isdecimal():
        return str(int(label))
    return label


def same_label(entity: str, one: str | None, other: str | None) -> bool:
    """Tell whether two labels of an entity mean the same; None is no label."""
    if one is None or other is None:
        return one is other
    return plain_label(entity, one) == plain_label(entity, other)


def entity_name(text: str) -> str:
    """Give the short name of an entity that may be spelled as a column of a BIDS table or as PyBIDS spells it.

    Examples
    --------
    >>> entity_name("participant_id"), entity_name("run"), entity_name("feature")
    ('sub', 'run', 'feature')
    """
    return _ALIASES.get(text, text)


def name_problem(path: PurePath | str) -> str | None:
    """Say why a name is not valid BIDS as far as its recording goes, or None.

    Examples
    --------
    >>> name_problem("sub-01_task-rest_eyes_bold.nii.gz")
    "its name has the part 'eyes', which is no entity with a label"
    """
    *pairs, _ = PurePath(path).name.partition(".")[0].split("_")
    for pair in pairs:
        name, hyphen, label = pair.partition("-")
        if not hyphen or not name:
            return f"its name has the part {pair!r}, which is no entity with a label"
        if name in RECORDING_ENTITIES and not LABEL.fullmatch(label):
            return f"its name has {pair!r}, and a BIDS label has letters and digits alone"
    return None


def sanitised_label(text: str) -> str:
    """Turn any text into a BIDS label: letters and digits alone.

    Examples
    --------
    >>> sanitised_label("n-back (2)")
    'nback2'
    """
    return re.sub(r"[^0-9A-Za-z]", "", text)


def sanitised_labels(texts: Iterable[str], what: str) -> dict[str, str]:
    """Sanitise several texts that must stay distinct.

    Parameters
    ----------
    texts : iterable of str
        For instance the classes of a target.
    what : str
        What they are, for the message.

    Returns
    -------
    dict of str to str
        Text to label.

    Raises
    ------
    UsageError
        If one has no letter or digit, or two become the same label.
    """
    labels: dict[str, str] = {}
    taken: dict[str, str] = {}
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    for text in texts:
        label = sanitised_label(text)
        if not label:
            raise UsageError(f"The {what} {text!r} has no letter and no digit, so no file can be named after it.")
        if label.lower() in taken and taken[label.lower()] != text:
            raise UsageError(
                f"The {plural} {taken[label.lower()]!r} and {text!r} would both be called {label!r} in file names; "
                "rename one of them."
            )
        taken[label.lower()] = text
        labels[text] = label
    return labels


def class_labels(classes: Iterable[str]) -> dict[str, str]:
    """Give every class a label for file names; classes that differ in case alone are numbered.

    Some file systems take ``label-AD`` and ``label-ad`` for one name.

    Raises
    ------
    UsageError
        If one has no letter or digit, or two become the same label.

    Examples
    --------
    >>> class_labels(["AD", "HC", "ad"])
    {'AD': 'AD', 'HC': 'HC', 'ad': 'ad2'}
    """
    labels: dict[str, str] = {}
    for name in classes:
        alike = [other for other in labels if other.casefold() == name.casefold()]
        labels[name] = sanitised_label(name) + (str(len(alike) + 1) if alike else "")
    sanitised_labels((f"{name}{labels[name].removeprefix(sanitised_label(name))}" for name in labels), "class")
    return labels
