"""Archives of arrays (``.npz``) and numpy's own format: sizes are checked before memory is set aside."""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.files.safe_reading import missing_content

#: An array that claims more than this is not read: no run of any study comes near.
MAX_ARRAY_BYTES = 4 * 1024**3

#: Longest header of an array, in bytes; numpy reads it whole before it looks at it.
_MAX_HEADER_BYTES = 10_000

#: Series compress to a tenth at best. Arrays up to the second figure, in bytes, are read whatever they unpack from.
_MAX_RATIO, _SMALL_BYTES = 100, 256 * 1024**2

#: What numpy and zipfile raise for a damaged archive.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error)

#: Kinds of numpy's types that are numbers, and those that files of this program hold.
NUMBERS, NUMBERS_AND_TEXT = "biuf", "biufU"


def array_header(stream: BinaryIO, what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the header of an array in numpy's format, and nothing of its content."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise RunError(f"{what} is in version {version} of numpy's format; 1.0 to 3.0 are read.")
    field = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(field, "little")
    if length > _MAX_HEADER_BYTES:
        raise RunError(f"{what} claims a header of {length} bytes; that of an array has a few hundred.")
    # Versions 2 and 3 differ in the encoding of names of fields, which arrays of numbers do not have.
    header = io.BytesIO(field + stream.read(length))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of files that Python 2 wrote
        shape, _, dtype = read(header)
    if any(type(side) is not int or side < 0 for side in shape):
        raise RunError(f"{what} claims the impossible shape {shape}.")
    return shape, dtype


def check_size(
    shape: tuple[int, ...], dtype: np.dtype[Any], there: int, what: str, limit: int | None, kinds: str = NUMBERS
) -> None:
    """Refuse an array that claims another size than its file has: reading it would reserve that memory first."""
    claimed = math.prod(shape) * dtype.itemsize
    if dtype.kind not in kinds:
        raise RunError(f"{what} holds {dtype} values; numbers are expected.")
    if claimed != there:
        raise RunError(f"{what} claims {claimed} bytes and has {there}: it is damaged.")
    if limit is not None and claimed > limit:
        raise RunError(f"{what} claims {claimed / 1024**3:.1f} GiB; up to {limit / 1024**3:.0f} GiB are read.")


def check_ratio(stored: int, claimed: int, what: str) -> None:
    """Refuse an array that unpacks to far more than series do: it holds nothing but one value."""
    if claimed > _SMALL_BYTES and claimed > _MAX_RATIO * stored:
        raise RunError(f"{what} unpacks from {stored} to {claimed} bytes, which no series does.")


def archive_member(path: Path, member: str) -> npt.NDArray[Any]:
    """Read one array, given the name of its file in the archive."""
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def check_archive(path: Path, kinds: str = NUMBERS_AND_TEXT) -> list[str]:
    """Look through the headers of an archive that is going to be read whole.

    Parameters
    ----------
    path : Path
        The file.
    kinds : str
        Kinds of numpy's types that it may hold.

    Returns
    -------
    list of str
        Names of the arrays.

    Raises
    ------
    RunError
        If it is not there or damaged, an array claims another size than it has, is no number or text, or all together
        are too large.
    """
    problem = missing_content(path)
    if problem:
        raise RunError(problem)
    names, total = [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as stream:
                    shape, dtype = array_header(stream, f"{path}[{name}]")  # type: ignore[arg-type]
                    there = info.file_size - stream.tell()
                total += info.file_size
                check_size(shape, dtype, there, f"{path}[{name}]", MAX_ARRAY_BYTES, kinds)
                check_ratio(info.compress_size, info.file_size, f"{path}[{name}]")
                names.append(name)
    except _DAMAGE as error:
        raise RunError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error
    if total > MAX_ARRAY_BYTES:
        raise RunError(f"{path} unpacks to {total / 1024**3:.1f} GiB; up to {MAX_ARRAY_BYTES / 1024**3:.0f} are read.")
    return names


def read_archive(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of an archive of numbers and text; raises what `check_archive` does."""
    names = check_archive(path)
    try:
        return {name: archive_member(path, f"{name}.npy") for name in names}
    except _DAMAGE as error:
        raise RunError(f"{path} cannot be read: {type(error).__name__}: {error}.") from error
