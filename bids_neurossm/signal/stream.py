"""A 4D image read volume by volume, in one pass, without ever being held in memory.

Compressed images are inflated by ISA-L in a thread of their own, so that the next volume is on its way while the
last one is reduced. Scale factors are not applied to voxels: means are linear, so they are applied to the result.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError

#: Larger than any real volume: a header that claims more is damaged (512 cubed voxels).
_MOST_VOXELS = 512**3


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a 4D image says.

    Parameters
    ----------
    shape : tuple of int
        (X, Y, Z).
    n_volumes : int
        T.
    affine : ndarray, shape (4, 4)
        Voxel indices to mm.
    dtype : dtype
        As stored, byte order included.
    offset : int
        First byte of the data.
    slope, intercept : float
        Stored values to real ones.
    repetition_time : float
        What the header claims, in seconds as far as its units can be trusted.
    """

    shape: tuple[int, int, int]
    n_volumes: int
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    repetition_time: float

    @property
    def volume_bytes(self) -> int:
        """Size of one volume."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def read_header(path: Path) -> ImageHeader:
    """Read the header of a 4D NIfTI image.

    Raises
    ------
    RunError
        If the file is missing, no NIfTI, not 4D, or of a data type without an order (colour, complex).
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        header: Any = image.header
        shape = tuple(int(size) for size in image.shape)
        dtype = header.get_data_dtype()
        # nibabel moves the scale factors out of the header of a loaded image, into its array proxy.
        proxy: Any = image.dataobj
        slope, intercept, offset = float(proxy.slope), float(proxy.inter), int(proxy.offset)
    except (ImageFileError, OSError, EOFError, zlib.error, ValueError, AttributeError) as error:
        raise RunError(
            f"{path} is not a readable NIfTI image ({_reason(error)}); run fMRIPrep again for it."
        ) from error
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 4 or shape[3] < 2:
        raise RunError(f"{path} has shape {shape}; a 4D image (x, y, z, time) is expected.")
    if dtype.kind not in "iuf":
        raise RunError(f"{path} stores voxels as {dtype}; whole or floating-point numbers are expected.")
    if min(shape) < 1 or np.prod(shape[:3]) > _MOST_VOXELS:
        raise RunError(f"{path} claims the shape {shape}, which no BOLD image has; its header is damaged.")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise RunError(f"{path} has an affine that can not be inverted; its header is damaged.")
    unit = {"msec": 1e-3, "usec": 1e-6}.get(header.get_xyzt_units()[1], 1.0)
    zooms = header.get_zooms()
    return ImageHeader(
        shape=(shape[0], shape[1], shape[2]),
        n_volumes=shape[3],
        affine=affine,
        dtype=dtype,
        offset=offset,
        slope=slope,
        intercept=intercept,
        repetition_time=float(zooms[3]) * unit if len(zooms) > 3 else 0.0,
    )


def volumes(path: Path, header: ImageHeader) -> Iterator[npt.NDArray[Any]]:
    """Yield the volumes of an image in order.

    Parameters
    ----------
    path : Path
        ``.nii.gz`` or ``.nii``.
    header : ImageHeader
        From `read_header`.

    Yields
    ------
    ndarray, shape (X * Y * Z,)
        Stored values in Fortran order (x fastest). The array is only valid until the next one is asked for.

    Raises
    ------
    RunError
        If the file ends early or is damaged; the message says at which volume.
    """
    buffer = bytearray(header.volume_bytes)
    values = np.frombuffer(buffer, dtype=header.dtype)
    n_read = 0
    try:
        with closing(_open(path)) as stream:
            _skip(stream, header.offset)
            while n_read < header.n_volumes:
                if not _fill(stream, memoryview(buffer)):
                    raise EOFError("the file ends early")
                n_read += 1
                yield values
            # The checksum of a gzip file stands behind the last byte: reading on verifies it.
            stream.read(1)
    except (EOFError, zlib.error, gzip.BadGzipFile, OSError, ValueError) as error:
        raise RunError(
            f"{path} is damaged: {_reason(error)} after {n_read} of {header.n_volumes} volumes; copy it again or run "
            "fMRIPrep again for it."
        ) from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix != ".gz":
        return path.open("rb", buffering=0)
    from isal import igzip_threaded

    stream: IO[bytes] = igzip_threaded.open(path, "rb", threads=1, block_size=1 << 20)
    return stream


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        read = len(stream.read(count))
        if read == 0:
            raise EOFError("the file ends within its header")
        count -= read


def _fill(stream: IO[bytes], view: memoryview) -> bool:
    """Fill a buffer; tell whether the stream had enough."""
    filled = 0
    while filled < len(view):
        read = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not read:
            return False
        filled += read
    return True


def _reason(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
