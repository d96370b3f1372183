"""A 4D image read volume by volume, in one pass, without ever being held in memory.

A thread of its own reads (and inflates, with ISA-L) the next volume while the last one is reduced. It picks the wanted
voxels out of every piece as soon as that is read, while it is in the processor's cache: going back to them later costs
more than inflating them. Scale factors are not applied to voxels: means are linear, so they are applied to the result.
"""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from isal.igzip_lib import IsalError

from bids_neurossm.atlas.orientation import is_oriented
from bids_neurossm.errors import RunError
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.signal.digest import FileDigest

#: Larger than any real volume: a header that claims more is damaged (512 cubed voxels).
_MOST_VOXELS = 512**3

#: One is reduced, one waits, one is being filled: a hiccup on one side does not stop the other.
_N_BUFFERS = 3

#: What is read at a time where voxels are picked: about what fits a processor's second-level cache.
_PIECE_BYTES = 1 << 20

#: Deflate can not make anything smaller than this (258 bytes from 2 bits), so a header that claims more is wrong.
_MOST_DEFLATED = 1032

#: What reading a damaged file raises; ISA-L has an error class of its own beside zlib's.
DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, zlib.error, cast(type[Exception], IsalError))


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
    oriented : bool
        Whether the header has an sform or a qform; the affine is a guess where it has neither.
    """

    shape: tuple[int, int, int]
    n_volumes: int
    affine: npt.NDArray[np.float64]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    repetition_time: float
    oriented: bool = True

    @property
    def volume_bytes(self) -> int:
        """Size of one volume."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def read_header(path: Path) -> ImageHeader:
    """Read the header of a 4D NIfTI image.

    Parameters
    ----------
    path : Path
        ``.nii`` or ``.nii.gz``, NIfTI-1 or NIfTI-2, either byte order.

    Returns
    -------
    ImageHeader

    Raises
    ------
    RunError
        If the file is missing or its content was not fetched, it is no NIfTI, not 4D, of a data type without an order
        (colour, complex), or too small for what its header claims.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise RunError(f"{path} is no .nii or .nii.gz file; a BOLD image as fMRIPrep writes it is expected.")
    check_nifti(path, RunError)
    try:
        header = _nifti_header(path)
    except (*DAMAGE, *nifti_errors()) as error:
        raise RunError(
            f"{path} is not a readable NIfTI image ({_reason(error)}); run fMRIPrep again for it."
        ) from error
    _check_size(path, header)
    return header


def nifti_errors() -> tuple[type[Exception], ...]:
    """Give what nibabel raises when a header makes no sense, beside `DAMAGE`."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError, ImageDataError

    found: tuple[type[Exception], ...] = (ImageFileError, HeaderDataError, ImageDataError)
    return (*found, AttributeError, KeyError, TypeError)


def _nifti_header(path: Path) -> ImageHeader:
    """Let nibabel read the header, and refuse what is no BOLD image."""
    image = load_nifti(path)
    header: Any = image.header
    shape = tuple(int(size) for size in image.shape)
    dtype = header.get_data_dtype()
    # nibabel moves the scale factors out of the header of a loaded image, into its array proxy.
    proxy: Any = image.dataobj
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 4 or shape[3] < 2:
        raise RunError(f"{path} has shape {shape}; a 4D image (x, y, z, time) is expected.")
    if dtype.kind not in "iuf":
        raise RunError(f"{path} stores voxels as {dtype}; whole or floating-point numbers are expected.")
    if min(shape) < 1 or np.prod(shape[:3], dtype=float) > _MOST_VOXELS:
        raise RunError(f"{path} claims the shape {shape}, which no BOLD image has; its header is damaged.")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise RunError(f"{path} has an affine that can not be inverted; its header is damaged.")
    unit = {"msec": 1e-3, "usec": 1e-6}.get(header.get_xyzt_units()[1], 1.0)
    return ImageHeader(
        shape=(shape[0], shape[1], shape[2]),
        n_volumes=shape[3],
        affine=affine,
        dtype=dtype,
        offset=int(proxy.offset),
        slope=float(proxy.slope),
        intercept=float(proxy.inter),
        repetition_time=float(header.get_zooms()[3]) * unit,
        oriented=is_oriented(header),
    )


def _check_size(path: Path, header: ImageHeader) -> None:
    """Refuse a header that claims more than the file can hold, before memory is set aside for it."""
    size = path.stat().st_size
    claimed = header.offset + header.volume_bytes * header.n_volumes
    if size * (_MOST_DEFLATED if _is_compressed(path) else 1) < claimed:
        raise RunError(
            f"{path} has {size} bytes, too few for the {header.n_volumes} volumes of {header.shape} voxels that its "
            "header claims; copy it again or run fMRIPrep again for it."
        )


def reading_order(
    voxels: npt.NDArray[np.intp], groups: npt.NDArray[np.integer[Any]], header: ImageHeader
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Arrange voxels so that `volumes` gives those of a group next to each other, as far as it reads them together.

    Parameters
    ----------
    voxels : ndarray of intp, shape (V,)
        Wanted voxels, counted in Fortran order.
    groups : ndarray of int, shape (V,)
        Group of each, for instance its region.
    header : ImageHeader
        Of the image.

    Returns
    -------
    order : ndarray of intp, shape (V,)
        ``voxels[order]`` is what `volumes` wants.
    starts : ndarray of intp, shape (S,)
        Where in that order a stretch of one group begins. A group has one stretch in each piece of the file that it
        reaches into, so there are hardly more stretches than groups.
    """
    piece = voxels // _piece_voxels(header)
    order = np.lexsort((voxels, groups, piece))
    changes = (np.diff(groups[order]) != 0) | (np.diff(piece[order]) != 0)
    return order, np.flatnonzero(np.concatenate([[voxels.size > 0], changes]))


def volumes(
    path: Path, header: ImageHeader, voxels: npt.NDArray[np.intp] | None = None, digest: FileDigest | None = None
) -> Generator[npt.NDArray[Any], None, None]:
    """Yield the volumes of an image in order.

    Parameters
    ----------
    path : Path
        ``.nii.gz`` or ``.nii``.
    header : ImageHeader
        From `read_header`.
    voxels : ndarray of intp, shape (V,), optional
        The wanted voxels, counted in Fortran order (x fastest) and arranged by `reading_order`; by default all.
    digest : FileDigest, optional
        Takes the hash of the file, as it stands on disk, behind the last volume.

    Yields
    ------
    ndarray, shape (V,) or (X * Y * Z,)
        Stored values of the wanted voxels. The array is only valid until the next one is asked for.

    Raises
    ------
    RunError
        If the file ends early, is damaged, or goes on behind the last volume; the message says at which volume.
    ValueError
        If the voxels are not in the order of reading.

    Notes
    -----
    Closing the generator (``contextlib.closing``) ends the reading thread and closes the file.
    """
    pieces = [] if voxels is None else _pieces(voxels, header)
    n_wanted = int(np.prod(header.shape)) if voxels is None else voxels.size
    n_read = 0
    try:
        with _open(path, digest) as stream, closing(_ReadAhead(stream, header, pieces, n_wanted)) as ahead:
            while (values := ahead.next_volume()) is not None:
                n_read += 1
                yield values
                ahead.give_back(values)
    except DAMAGE as error:
        raise RunError(
            f"{path} is damaged: {_reason(error)} after {n_read} of {header.n_volumes} volumes; copy it again or run "
            "fMRIPrep again for it."
        ) from error


class _ReadAhead:
    """A thread that fills volume buffers from a stream while others are in use.

    Neither side ever waits for a buffer that the other one no longer gives: whatever happens in the thread reaches
    `next_volume`, and `close` wakes the thread.
    """

    def __init__(self, stream: IO[bytes], header: ImageHeader, pieces: list[_Piece], n_wanted: int) -> None:
        self._stream, self._header, self._pieces = stream, header, pieces
        self._empty: queue.SimpleQueue[npt.NDArray[Any] | None] = queue.SimpleQueue()
        self._full: queue.SimpleQueue[npt.NDArray[Any] | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        for _ in range(min(_N_BUFFERS, header.n_volumes)):
            self._empty.put(np.empty(n_wanted, dtype=header.dtype))
        # A daemon, so that a generator that nobody closes can not keep the interpreter alive.
        self._thread = threading.Thread(target=self._read, name="volumes", daemon=True)
        self._thread.start()

    def next_volume(self) -> npt.NDArray[Any] | None:
        """Wait for the next volume; None behind the last one; raise what the thread met."""
        found = self._full.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def give_back(self, values: npt.NDArray[Any]) -> None:
        """Let a buffer be filled again."""
        self._empty.put(values)

    def close(self) -> None:
        """End the thread; at most one more volume is read."""
        self._stopped = True
        self._empty.put(None)
        self._thread.join()

    def _read(self) -> None:
        largest = max((piece.n_voxels for piece in self._pieces), default=0)
        buffer = np.empty(largest, dtype=self._header.dtype)
        try:
            _skip(self._stream, self._header.offset)
            for _ in range(self._header.n_volumes):
                values = self._empty.get()
                if values is None or self._stopped:
                    return
                if not self._pieces:
                    _fill(self._stream, values)
                for piece in self._pieces:
                    _fill(self._stream, buffer[: piece.n_voxels])
                    # mode="clip" lets numpy write into `out` without a buffer of its own; no index is out of range.
                    np.take(buffer, piece.wanted, out=values[piece.target], mode="clip")
                self._full.put(values)
            # The checksum of a gzip file stands behind the last byte: reading on verifies it.
            if self._stream.read(1):
                raise ValueError("the file goes on behind the last volume that its header claims")
        except BaseException as error:
            self._full.put(error)  # raised again by `next_volume`, where it belongs
        else:
            self._full.put(None)


@dataclass(frozen=True)
class _Piece:
    """Neighbouring voxels of a volume: how many, which of them are wanted, and where those go."""

    n_voxels: int
    wanted: npt.NDArray[np.intp]
    target: slice


def _pieces(voxels: npt.NDArray[np.intp], header: ImageHeader) -> list[_Piece]:
    n_voxels, step = int(np.prod(header.shape)), _piece_voxels(header)
    order = voxels // step
    if np.any(np.diff(order) < 0):
        raise ValueError("voxels are expected in the order of `reading_order`")
    starts = range(0, n_voxels, step)
    bounds = np.searchsorted(order, np.arange(len(starts) + 1))
    return [
        _Piece(min(step, n_voxels - start), voxels[first:last] - start, slice(first, last))
        for start, first, last in zip(starts, bounds[:-1], bounds[1:], strict=True)
    ]


def _piece_voxels(header: ImageHeader) -> int:
    return _PIECE_BYTES // header.dtype.itemsize


def _is_compressed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


@contextmanager
def _open(path: Path, digest: FileDigest | None) -> Generator[IO[bytes], None, None]:
    """Open the content of an image, inflated where it is compressed."""
    with ExitStack() as opened:
        # The file itself is closed last: a digest is complete only when the rest of it has been read.
        stored: Any = opened.enter_context(digest.reading(path) if digest else path.open("rb", buffering=0))
        if _is_compressed(path):
            from isal import igzip

            yield opened.enter_context(igzip.open(stored, "rb"))
        else:
            yield stored


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        read = len(stream.read(min(count, 1 << 20)))
        if read == 0:
            raise EOFError("the file ends within its header")
        count -= read


def _fill(stream: IO[bytes], values: npt.NDArray[Any]) -> None:
    view = values.view(np.uint8).data
    filled = 0
    while filled < len(view):
        read = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not read:
            raise EOFError("the file ends early")
        filled += read


def _reason(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text or type(error).__name__
