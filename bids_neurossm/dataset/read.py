"""Reading small JSON files that people and other programs wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bids_neurossm.content import missing_content
from bids_neurossm.errors import NeuroSSMError


def read_json_object(path: Path, error: type[NeuroSSMError]) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    path : Path
        The file; a byte-order mark is no harm.
    error : type
        What is raised where it can not be used: who asks knows what that means.

    Returns
    -------
    dict

    Raises
    ------
    NeuroSSMError
        `error`, if the file's content was not fetched, or it cannot be read, is no JSON, or holds something else than
        an object.
    """
    problem = missing_content(path)
    if problem is not None:
        raise error(problem)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"{path} is not readable JSON: {reason}.") from reason
    if not isinstance(content, dict):
        raise error(f"{path} must hold a JSON object, {{...}}.")
    return content
