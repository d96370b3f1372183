"""Files of ``torch.save``, read without torch: tensors become arrays, and nothing in the file is run.

A file since torch 1.6 is a zip archive whose ``data.pkl`` describes objects and tensors and whose ``data/<key>``
hold the numbers of the storages; an older one is a row of pickles with the storages behind them. Both pickles go
through the restricted unpickler. ``torch.load`` is never used: without ``weights_only`` it runs what the file says,
and with it, it refuses the arrays in these files.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import numpy.typing as npt

from bids_neurossm.roi_arrays.pickle_stand_ins import CutShort, Refusal, StandIn
from bids_neurossm.roi_arrays.restricted_pickle import refusals, unpickle

#: First value in a file of ``torch.save`` before 1.6.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_TYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class _StorageType(StandIn):
    """The kind of numbers that a storage holds."""

    __slots__ = ("code",)
    code: str

    def __init__(self, name: str, code: str) -> None:
        super().__init__(f"torch.{name}", _no_call)
        object.__setattr__(self, "code", code)


def _no_call(*_: Any) -> NoReturn:
    raise Refusal("a call of a torch storage")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> npt.NDArray[Any]:
    """Lay a tensor over its storage, within the storage's bounds."""
    sides = (*size, *stride) if isinstance(size, tuple) and isinstance(stride, tuple) else (None,)
    if not isinstance(storage, np.ndarray) or any(type(each) is not int or each < 0 for each in (offset, *sides)):
        raise Refusal("a torch.Tensor of an impossible shape")
    if len(size) != len(stride) or len(size) > 32:
        raise Refusal("a torch.Tensor of an impossible shape")
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if count else 0
    if count > storage.size or last >= max(storage.size, 1):
        raise Refusal("a torch.Tensor that is larger than its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


_TENSORS = {
    ("torch._utils", "_rebuild_tensor"): StandIn("torch._utils._rebuild_tensor", _tensor),
    ("torch._utils", "_rebuild_tensor_v2"): StandIn("torch._utils._rebuild_tensor_v2", _tensor),
    ("torch._utils", "_rebuild_parameter"): StandIn("torch._utils._rebuild_parameter", lambda data, *_: data),
    **{("torch", name): _StorageType(name, code) for name, code in _TYPES.items()},
}


def is_torch_zip(path: Path) -> bool:
    """Tell whether a file is an archive that ``torch.save`` wrote, whatever its name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _root(archive) is not None
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _root(archive: zipfile.ZipFile) -> str | None:
    pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    return pickles[0].removesuffix("data.pkl") if len(pickles) == 1 else None


def load_torch_zip(path: Path) -> Any:
    """Read an archive that ``torch.save`` wrote.

    Returns
    -------
    object
        What was saved, with arrays in place of tensors.

    Raises
    ------
    UsageError
        If it asks for more than arrays, tensors, tables and plain values (the message names it), or is damaged.
    """
    with refusals(path), zipfile.ZipFile(path) as archive:
        root = _root(archive)
        # Members are never compressed by torch: none holds more than the file itself.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise Refusal("compressed members, which torch does not write")
        order = archive.read(f"{root}byteorder") if f"{root}byteorder" in archive.namelist() else b"little"
        known: dict[tuple[str, np.dtype[Any], int], npt.NDArray[Any]] = {}

        def storage(*wanted: Any) -> npt.NDArray[Any]:
            key, dtype, count = wanted
            if wanted not in known:
                known[wanted] = np.frombuffer(archive.read(f"{root}data/{key}"), dtype, count)
            return known[wanted]

        find = partial(_storage, ">" if order == b"big" else "<", storage)
        info = archive.getinfo(f"{root}data.pkl")
        with archive.open(info) as stream:
            return unpickle(stream, info.file_size, _TENSORS, find)


def _storage(order: str, find: Callable[[str, np.dtype[Any], int], npt.NDArray[Any]], identifier: Any) -> Any:
    """Find the numbers that a persistent id names: ("storage", type, key, device, count)."""
    if not isinstance(identifier, tuple) or len(identifier) not in (5, 6) or identifier[0] != "storage":
        raise Refusal("a persistent id that is no storage")
    _, kind, key, _, count, *view = identifier
    if not isinstance(kind, _StorageType) or not isinstance(key, str) or type(count) is not int or any(view):
        raise Refusal("a storage of an unknown type")
    if "/" in key or count < 0:
        raise Refusal("a storage outside the file")
    return find(key, np.dtype(f"{order}{kind.code}"), count)


def load_torch_legacy(path: Path) -> Any:
    """Read a file that ``torch.save`` wrote before torch 1.6; returns and raises as `load_torch_zip` does."""
    with refusals(path), path.open("rb") as stream:
        return _read_legacy(stream, path.stat().st_size)


def _read_legacy(stream: IO[bytes], size: int) -> Any:
    if unpickle(stream, size) != LEGACY_MAGIC or unpickle(stream, size) != 1001:
        raise Refusal("another format of torch")
    system = unpickle(stream, size)
    order = "<" if not isinstance(system, dict) or system.get("little_endian", True) else ">"
    known: dict[str, npt.NDArray[Any]] = {}

    def storage(key: str, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        # Tensors are laid over storages that are filled afterwards, as the numbers come last in the file.
        if key not in known:
            if count * dtype.itemsize + sum(each.nbytes for each in known.values()) > size:
                raise CutShort("storages that are larger than the file")
            known[key] = np.zeros(count, dtype)
        if known[key].dtype != dtype or known[key].size != count:
            raise Refusal("two storages of one name")
        return known[key]

    content = unpickle(stream, size, _TENSORS, partial(_storage, order, storage))
    keys = unpickle(stream, size)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(known):
        raise CutShort("storages that it does not have")
    for key in keys:
        _fill(known[key], stream, order)
    return content


def _fill(storage: npt.NDArray[Any], stream: IO[bytes], order: str) -> None:
    count = int(np.frombuffer(stream.read(8), f"{order}i8", 1)[0])
    numbers = stream.read(storage.nbytes)
    if count != storage.size or len(numbers) != storage.nbytes:
        raise CutShort("a storage whose numbers are not all there")
    storage[:] = np.frombuffer(numbers, storage.dtype)


def _storage_from_bytes(content: Any) -> Any:
    """Read a storage as plain pickle writes it: as a file of ``torch.save`` in a file."""
    if not isinstance(content, bytes):
        raise Refusal("a torch storage of something else than bytes")
    return _read_legacy(io.BytesIO(content), len(content))


#: By module and name: what tensors in a plain pickle ask for.
TENSORS = {
    **_TENSORS,
    ("torch.storage", "_load_from_bytes"): StandIn("torch.storage._load_from_bytes", _storage_from_bytes),
}
