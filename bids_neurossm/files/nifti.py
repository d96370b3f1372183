"""Reading NIfTI files: the header is looked at before nibabel reads it, whose remarks stay off the terminal."""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from pathlib import Path
from typing import IO, Any

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.files.safe_reading import missing_content

#: Most bytes between header and voxels: comments, the history of a file.
MAX_EXTENSION_BYTES = 16 * 1024**2
#: In CIFTI-2 the extension is XML that lists every grayordinate.
MAX_CIFTI_BYTES = 128 * 1024**2

#: By the size of the header, its first field: place and type of ``vox_offset`` and ``intent_code``.
_FIELDS = {348: ((108, "f"), (68, "h")), 540: ((168, "q"), (504, "i"))}
_CIFTI_INTENTS = range(3000, 3100)


def check_nifti(path: Path, error: type[NeuroSSMError]) -> None:
    """Refuse a NIfTI file that cannot be opened, or whose extensions take too much memory or declare XML entities.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``. One that is damaged, or in another format, is left to its reader.
    error : type
        Raised where it is refused.

    Raises
    ------
    NeuroSSMError
        `error`.
    """
    problem = missing_content(path)
    if problem:
        raise error(problem)
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            problem = _problem(stream)  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error):
        return
    if problem:
        raise error(f"{path} {problem}; copy it again, or convert it with a tool that drops header extensions.")


def load_nifti(path: Path) -> Any:
    """Load an image; what nibabel remarks about its header goes to the log of this package, with the path.

    Raises
    ------
    Exception
        As ``nibabel.load`` does.
    """
    import nibabel as nib
    from nibabel.imageglobals import logger

    def keep(record: logging.LogRecord) -> bool:
        logging.getLogger(__name__).info("%s: %s", path, record.getMessage())
        return False

    logger.addFilter(keep)
    try:
        return nib.load(path)
    finally:
        logger.removeFilter(keep)


def _problem(stream: IO[bytes]) -> str | None:
    header = stream.read(544)
    order = next((each for each in "<>" if header[:4] in [struct.pack(f"{each}i", size) for size in _FIELDS]), None)
    if order is None or len(header) < 544:
        return None
    size = struct.unpack_from(f"{order}i", header)[0]
    offset, intent = (struct.unpack_from(order + code, header, place)[0] for place, code in _FIELDS[size])
    if header[size] and not offset >= size + 4:
        return "has header extensions that have no end"
    is_cifti = size == 540 and intent in _CIFTI_INTENTS
    most = MAX_CIFTI_BYTES if is_cifti else MAX_EXTENSION_BYTES
    if not 0 <= offset <= most:
        return f"says that its voxels begin at byte {offset:.0f}; header extensions of {most // 1024**2} MiB are read"
    if is_cifti and b"<!DOCTYPE" in stream.read(int(offset) - len(header) if offset > len(header) else 0):
        return "declares XML entities, which no CIFTI-2 file needs"
    return None
