"""Text without the places of this machine: outputs are published, and must not depend on where they were made."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlparse

#: What may not stand before an absolute path: there the slash belongs to a relative one, a URL or a quotient.
_BEFORE = r"(?<![\w./:~*?)\]}>-])"

#: An absolute path without spaces, in running text; the full stop of the sentence is none of it.
_PATH = re.compile(
    _BEFORE + r"""(?:file://)?/(?:[^\s/'"`,;:()\[\]{}<>|]+/)*([^\s/'"`,;:()\[\]{}<>|]*[^\s/'"`,;:()\[\]{}<>|.])/?"""
)


def absolute_paths(value: Any, name: str = "") -> Iterator[tuple[str, Path]]:
    """Find the absolute paths among settings.

    Parameters
    ----------
    value : dataclass, mapping, list, tuple, str or Path
        Settings, nested in any way.
    name : str
        Of the setting, where `value` is one.

    Yields
    ------
    name : str
        Of the innermost field.
    path : Path
    """
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from absolute_paths(item, str(key))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from absolute_paths(item, name)
    elif isinstance(value, (str, Path)) and Path(value).is_absolute():
        yield name, Path(value)


def portable(text: str, folders: Iterable[Path] = ()) -> str:
    """Cut absolute paths in a sentence down to what identifies a file.

    Parameters
    ----------
    text : str
        A message, a note.
    folders : iterable of Path
        Folders that may be named, as datasets: what lies below one keeps its path within it
        (``sub-01/func/sub-01_task-rest_bold.nii.gz``). Of other paths the last part is kept.

    Returns
    -------
    str
        Without absolute paths.
    """
    for folder in sorted({str(each) for each in folders if each.name}, key=len, reverse=True):
        text = re.sub(rf"{_BEFORE}{re.escape(folder)}/(?=[^\s/])", "", text)
        text = re.sub(rf"{_BEFORE}{re.escape(folder)}(?![\w-])/?", lambda found: Path(found[0]).name, text)
    return _PATH.sub(r"\1", text)


def portable_settings(value: Any) -> Any:
    """Replace every absolute path among settings, a string of its own, by its last part."""
    if isinstance(value, Mapping):
        return {str(key): portable_settings(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [portable_settings(item) for item in value]
    return Path(value).name if isinstance(value, (str, Path)) and Path(value).is_absolute() else value


def portable_link(place: str, out_dir: Path) -> str:
    """Write the place of a source dataset so that it shows nothing of the machine.

    Parameters
    ----------
    place : str
        A path or a URL, as DatasetLinks hold it.
    out_dir : Path
        The dataset that links to it.

    Returns
    -------
    str
        A URL relative to `out_dir` where the source lies under its parent or grandparent; empty where it lies
        elsewhere on this machine. Relative links and those into the web stay as they are.
    """
    parsed = urlparse(place)
    source = Path(os.fsdecode(unquote_to_bytes(parsed.path)) if parsed.scheme == "file" else place)
    if not source.is_absolute():
        return place
    own = out_dir.resolve()
    for folder in (own.parent, own.parent.parent):
        # Below the root, or the folder of all homes, a relative path shows as much as an absolute one.
        if folder == folder.parent or folder in Path.home().resolve().parents:
            continue
        for each in (Path(os.path.normpath(source)), source.resolve()):
            if each.is_relative_to(folder):
                return quote(os.fsencode(os.path.relpath(each, own)))
    return ""
