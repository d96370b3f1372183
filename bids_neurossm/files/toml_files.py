"""Dataclasses of settings to plain TOML values and back, with one clear sentence where a value does not fit."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from bids_neurossm.errors import NeuroSSMError, UsageError
from bids_neurossm.files.safe_reading import MAX_TOML_BYTES, read_content, too_deep

_Section = TypeVar("_Section")

#: Parts of a dotted key, and more dots than any line of settings has.
_MAX_PARTS = 200


def to_plain(section: Any) -> dict[str, Any]:
    """Turn a section into plain TOML values; None is left out, as TOML has no null."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
            return {name: plain(item) for name, item in pairs if item is not None}
        if isinstance(value, Mapping):
            return {str(name): plain(item) for name, item in value.items() if item is not None}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, Path) else value

    result = plain(section)
    assert isinstance(result, dict)
    return result


def section_from(kind: type[_Section], values: Mapping[str, Any], where: str) -> _Section:
    """Build a section from plain values.

    Parameters
    ----------
    kind : type
        One of the dataclasses of `bids_neurossm.config`, or a model's own configuration.
    values : mapping
        Names and values, as a TOML table gives them.
    where : str
        What the table is called in messages.

    Raises
    ------
    UsageError
        If a name is unknown or a value has the wrong type.
    """
    assert dataclasses.is_dataclass(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise UsageError(f"{where}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(fields))}.")
    types = {name: _spelled(field.type) for name, field in fields.items()}
    return kind(**{name: _converted(value, types[name], f"{where}: {name}") for name, value in values.items()})


def _spelled(annotation: Any) -> str:
    """Spell a type as its source does, whether or not the module has its annotations as text."""
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _converted(value: Any, annotation: str, where: str) -> Any:
    """Bring a TOML value to the annotated type, or say what was expected."""
    if isinstance(value, list):
        value = tuple(value)
    if "Path" in annotation:
        if isinstance(value, Mapping):
            return {name: Path(item) for name, item in value.items()}
        return Path(value) if isinstance(value, str) else value
    expected: tuple[type, ...] | None = None
    if annotation.startswith("bool"):
        expected = (bool,)
    elif annotation.startswith("int"):
        expected = (int,)
    elif annotation.startswith("float"):
        expected = (int, float)
    elif annotation.startswith("tuple"):
        expected = (tuple,)
    elif annotation.startswith(("str", "Literal")):
        expected = (str,)
    wrong_bool = isinstance(value, bool) and expected != (bool,)
    if expected is not None and value is not None and (wrong_bool or not isinstance(value, expected)):
        raise UsageError(f"{where}: {value!r} is a {type(value).__name__}, {annotation} is expected.")
    if annotation.startswith("Literal"):
        choices = re.findall(r'"([^"]+)"', annotation) or re.findall(r"'([^']+)'", annotation)
        if value not in choices:
            raise UsageError(f"{where}: {value!r} is not one of {', '.join(choices)}.")
    return value


def read_toml(path: Path, error: type[NeuroSSMError] = UsageError) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    NeuroSSMError
        `error`, if it cannot be read, is too large or nested too deeply, or is not TOML; the message says where.
    """
    return parse_toml(read_content(path, error, MAX_TOML_BYTES), path, error)


def parse_toml(content: bytes, path: Path, error: type[NeuroSSMError] = UsageError) -> dict[str, Any]:
    """Parse the content of a TOML file; `path` is for messages, see `read_toml`."""
    try:
        text = content.decode("utf-8-sig")
        problem: object = too_deep(text) or _key_too_long(text)
        if problem is None:
            return tomllib.loads(text)
    except (ValueError, RecursionError) as reason:
        problem = reason
    raise error(f"{path} is not valid TOML: {problem}.")


def _key_too_long(text: str) -> str | None:
    """Refuse keys of very many parts, on which the parser's time grows with the square of their number."""
    parts = max(piece.count(".") for piece in re.split(r"[,\n]", text))
    return f"it has a key of {parts} parts" if parts > _MAX_PARTS else None
