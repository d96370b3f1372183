"""Whether a file can be read, and how much of it: content that is not here, what is no file, and sizes.

DataLad and git-annex leave links or small pointer files behind. A pipe or a device has no end that is known, and a
file that somebody else wrote may be larger than memory: both are refused before anything is read.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import zlib
from pathlib import Path

from bids_neurossm.errors import NeuroSSMError

#: git-annex writes no pointer file that is larger.
_LARGEST_POINTER = 32_768

#: Most bytes of each kind of text that is read; real files are far smaller.
MAX_JSON_BYTES = 16 * 1024**2
MAX_TOML_BYTES = 1024**2
MAX_TABLE_BYTES = 256 * 1024**2
MAX_XML_BYTES = 16 * 1024**2

#: Brackets within brackets; settings and sidecars have a few.
_MAX_DEPTH = 100

#: A string, or a bracket outside strings; possessive, so that no place to go back to is kept in memory.
_BRACKET = re.compile(r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?|[\[{]|[\]}]')

#: What is no regular file.
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def missing_content(path: Path) -> str | None:
    """Say why a file that a folder lists cannot be read.

    Parameters
    ----------
    path : Path
        A file, a link, or nothing.

    Returns
    -------
    str or None
        One sentence that names the file: it is a link to content that is not here, a pointer file of git-annex, a
        pipe, a socket or a device, or it is empty. None where there is content, and where there is no file at all: an
        absent file is another matter.
    """
    try:
        state = path.stat()
    except ValueError:
        return f"{path} holds a zero byte, which no path can."
    except OSError:
        if not path.is_symlink():
            return None
        target = path.readlink()
        return (
            f"{path} is a link to {target}, which is not there: the content was not fetched; run `datalad get {path}`."
        )
    problem = no_file(path, state.st_mode)
    if problem is not None:
        return problem
    if not stat.S_ISREG(state.st_mode):
        return None
    if state.st_size == 0:
        return f"{path} is empty (0 bytes): copy or fetch it again."
    if state.st_size <= _LARGEST_POINTER:
        try:
            with path.open("rb") as stream:
                start = stream.read(24)
        except OSError:
            return None
        if start.startswith(b"/annex/objects/"):
            return f"{path} is a pointer of git-annex: the content was not fetched; run `datalad get {path}`."
        if start.startswith(b"version https://git-lfs"):
            return f"{path} is a pointer of Git LFS: the content was not fetched; run `git lfs pull`."
    return None


def no_file(path: Path, mode: int) -> str | None:
    """Say that what has this mode (``st_mode``) is a pipe, a socket or a device; None for files and folders."""
    kind = next((name for test, name in _KINDS if test(mode)), None)
    return None if kind is None else f"{path} is {kind}, not a file; save it to a file first."


def is_listed(path: Path) -> bool:
    """Tell whether a folder lists a file, even if its content is missing (a dangling link)."""
    return os.path.lexists(path)


def read_content(path: Path, error: type[NeuroSSMError], most: int) -> bytes:
    """Read a whole file that somebody else may have written.

    Parameters
    ----------
    path : Path
        The file.
    error : type
        Raised where it cannot be read.
    most : int
        Largest size in bytes.

    Raises
    ------
    NeuroSSMError
        `error`, if there is no content (see `missing_content`), the file is larger, or it cannot be opened.
    """
    problem = missing_content(path)
    if problem:
        raise error(problem)
    try:
        size = path.stat().st_size
        if size <= most:
            return path.read_bytes()
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror}.") from reason
    raise error(f"{path} has {size / 1024**2:.0f} MiB; a file of this kind has at most {most / 1024**2:.0f} MiB.")


def read_gzip(path: Path, error: type[NeuroSSMError], most: int) -> bytes:
    """Read what a gzipped file unpacks to, at most so many bytes; see `read_content`.

    Raises
    ------
    NeuroSSMError
        `error`, also if it is damaged or unpacks to more.
    """
    packed = io.BytesIO(read_content(path, error, most))
    try:
        with gzip.GzipFile(fileobj=packed) as stream:
            content = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as reason:
        raise error(f"{path}: the file is damaged ({reason}); fetch it again.") from reason
    if len(content) <= most:
        return content
    raise error(f"{path} unpacks to more than {most / 1024**2:.0f} MiB, which no file of this kind does.")


def read_utf8(path: Path, error: type[NeuroSSMError], most: int) -> str:
    """Read a whole text file, with or without a byte-order mark; see `read_content`.

    Raises
    ------
    NeuroSSMError
        `error`, also if it is not UTF-8.
    """
    try:
        return read_content(path, error, most).decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise error(f"{path} is not UTF-8 text ({reason.reason} at byte {reason.start}); save it as UTF-8.") from reason


def too_deep(text: str) -> str | None:
    """Say how brackets of JSON or TOML go deeper than any honest file; None where they do not."""
    depth = 0
    for match in _BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1
        if depth > _MAX_DEPTH:
            return f"it has more than {_MAX_DEPTH} brackets within each other"
    return None
