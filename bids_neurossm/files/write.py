"""Files that appear whole or not at all, with the same bytes for the same content.

Every file is written under a temporary name that begins with a dot, in the folder where it belongs, and then
renamed: a reader never meets half a file, and a thousand jobs can share one output folder.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_neurossm.errors import OutputNotWritableError

if TYPE_CHECKING:
    import nibabel as nib
    import numpy as np
    import pandas as pd

#: A full disk, a folder that can not be written, a file where a folder is needed: the user can mend each of them.
_NOT_WRITABLE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}

#: What file systems say that know no hard links.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


@contextlib.contextmanager
def replacing(path: Path, first: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; on a clean exit it takes the place of `path`.

    Parameters
    ----------
    path : Path
        The file.
    first : bool
        Leave a `path` alone that somebody else has written by then: of many jobs that try, one wins.

    Raises
    ------
    OutputNotWritableError
        If the folder can not be made or written, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path) if not first else _link(temporary, path)
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise OutputNotWritableError(
                f"{path} can not be written: {os.strerror(error.errno or 0)}; free some room or give another OUT_DIR."
            ) from error
        raise
    finally:
        # Where the folder itself can not be reached there is nothing to remove, and saying so would hide the reason.
        with contextlib.suppress(OSError):
            temporary.unlink()


def _link(temporary: Path, path: Path) -> None:
    """Give a file its final name unless that is taken, in one step, over NFS too."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    """Encode text as UTF-8; bytes of file names that are not UTF-8 are written as escapes."""
    return text.encode("utf-8", "backslashreplace")


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys; numbers that are not finite become the string ``n/a``."""
    write_text(path, json_text(content))


def json_text(content: Any) -> str:
    """Phrase JSON with sorted keys; numbers that are not finite become the string ``n/a``."""
    return json.dumps(_jsonable(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return "n/a"
    return str(value) if isinstance(value, Path) else value


def write_tsv(path: Path, table: pd.DataFrame, float_format: str = "%.9g") -> None:
    """Write a table with tabs, ``n/a`` for what is missing, and a fixed number format."""
    write_text(path, table_text(table, float_format))


def table_text(table: pd.DataFrame, float_format: str = "%.9g") -> str:
    """Return the text that `write_tsv` writes."""
    buffer = io.StringIO()
    table.to_csv(buffer, sep="\t", index=False, na_rep="n/a", float_format=float_format, lineterminator="\n")
    return buffer.getvalue()


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a small table with tabs, cell by cell as text; a plan that writes one need not import pandas for it."""
    write_text(path, rows_text(header, rows))


def rows_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Phrase a small table with tabs, cell by cell as text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return buffer.getvalue()


def write_nifti(path: Path, data: np.ndarray, affine: np.ndarray, header: nib.Nifti1Header | None = None) -> None:
    """Write a gzipped NIfTI-1 image whose bytes depend on its content alone.

    Parameters
    ----------
    path : Path
        Ends in ``.nii.gz``.
    data : ndarray
        Voxels; the data type is kept.
    affine : ndarray, shape (4, 4)
        Voxel indices to mm.
    header : Nifti1Header, optional
        Where the space codes and units are taken from.
    """
    import nibabel as nib

    image = nib.Nifti1Image(data, affine)
    if header is not None:
        image.set_sform(affine, int(header["sform_code"]) or 4)
        image.set_qform(affine, int(header["qform_code"]) or int(header["sform_code"]) or 4)
    image.header.set_xyzt_units("mm", "sec")
    if data.ndim == 3:
        finite = data[(data == data)]
        image.header["cal_max"] = float(finite.max()) if finite.size else 0.0
    buffer = io.BytesIO()
    # A gzip header usually holds the time and the name: neither belongs to the content.
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=6) as stream:
        stream.write(image.to_bytes())
    write_bytes(path, buffer.getvalue())
