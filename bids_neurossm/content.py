"""Whether a file's content is on this machine: DataLad and git-annex leave links or small pointer files behind."""

from __future__ import annotations

import os
from pathlib import Path

#: git-annex writes no pointer file that is larger.
_LARGEST_POINTER = 32_768


def missing_content(path: Path) -> str | None:
    """Say why a file that a folder lists cannot be read.

    Parameters
    ----------
    path : Path
        A file, a link, or nothing.

    Returns
    -------
    str or None
        One sentence that names the file: it is a link to content that is not here, a pointer file of git-annex, or it
        is empty. None where there is content, and where there is no file at all: an absent file is another matter.
    """
    try:
        size = path.stat().st_size
    except OSError:
        if not path.is_symlink():
            return None
        target = path.readlink()
        return (
            f"{path} is a link to {target}, which is not there: the content was not fetched; run `datalad get {path}`."
        )
    if not path.is_file():
        return None
    if size == 0:
        return f"{path} is empty (0 bytes): copy or fetch it again."
    if size <= _LARGEST_POINTER:
        try:
            with path.open("rb") as stream:
                start = stream.read(16)
        except OSError:
            return None
        if start.startswith(b"/annex/objects/"):
            return f"{path} is a pointer of git-annex: the content was not fetched; run `datalad get {path}`."
    return None


def is_listed(path: Path) -> bool:
    """Tell whether a folder lists a file, even if its content is missing (a dangling link)."""
    return os.path.lexists(path)
