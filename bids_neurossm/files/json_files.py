"""Reading small JSON files that people and other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.files.safe_reading import MAX_JSON_BYTES, read_utf8, too_deep


def read_json(path: Path, error: type[NeuroSSMError]) -> Any:
    """Read any JSON value; arguments and errors are those of `read_json_object`."""
    text = read_utf8(path, error, MAX_JSON_BYTES)
    try:
        return parse_json(text)
    except ValueError as reason:
        raise error(f"{path} is not readable JSON: {reason}.") from reason


def parse_json(text: str) -> Any:
    """Parse JSON that somebody else may have written.

    Raises
    ------
    ValueError
        If it is no JSON, or nested too deeply.
    """
    problem = too_deep(text)
    if problem is not None:
        raise ValueError(problem)
    return json.loads(text)


def read_json_object(path: Path, error: type[NeuroSSMError]) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path : Path
        The file; a byte-order mark is no harm.
    error : type
        What is raised where it cannot be used: who asks knows what that means.

    Returns
    -------
    dict

    Raises
    ------
    NeuroSSMError
        `error`, if the file cannot be read, is no JSON, or holds something else than an object.
    """
    content = read_json(path, error)
    if not isinstance(content, dict):
        raise error(f"{path} must hold a JSON object, {{...}}.")
    return content
