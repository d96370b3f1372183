"""Pickles that hold arrays and plain values, read without running anything that they say.

A pickle is a program: unpickling it in the usual way runs whatever its author wrote. Series are shared as pickles all
the same (``.pickle`` files, and ``.npy`` files of objects), so they are read here by an unpickler that knows a closed
list of names and refuses every other one. None of the names leads to the real function or class: each leads to a
stand-in that checks its arguments, can not be changed, and builds nothing but arrays and plain containers. Before
that, the operations are walked through once, so that a file can not ask for more memory than its size warrants.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import UsageError

#: More operations than any set of series needs; each makes at most one small object.
MAX_OPERATIONS = 20_000_000

#: Types of array elements: booleans, whole numbers, floats, complex numbers, text, objects (which are checked one by
#: one as they are read). Records, dates and raw memory are not needed for series.
_DTYPE = re.compile(r"[<>=|]?(?:[biufc](?:1|2|4|8|16)|\?|[SU]\d{1,6}|O8?)")
_BYTE_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "=": "="}

#: Operations that fetch objects from outside the file.
_OUTSIDE = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "a copyreg extension",
    "EXT2": "a copyreg extension",
    "EXT4": "a copyreg extension",
    "NEXT_BUFFER": "an out-of-band buffer",
    "READONLY_BUFFER": "an out-of-band buffer",
}


class _Refusal(Exception):  # noqa: N818  # not an error of the program: the file asks for what is not given
    """What a pickle asked for and does not get."""


class _StandIn:
    """What a pickle gets in place of a function or a class: it can be called with known arguments, and no more.

    Parameters
    ----------
    name : str
        As the pickle knows it.
    build : callable
        Checks the arguments and makes the value.
    """

    __slots__ = ("_build", "_name")
    _build: Callable[..., Any]
    _name: str

    def __init__(self, name: str, build: Callable[..., Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_build", build)

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise _Refusal(f"a change of {self._name}")

    def __setstate__(self, state: Any) -> NoReturn:
        raise _Refusal(f"a change of {self._name}")


class _ElementType:
    """The type of an array's elements, as a pickle describes it.

    numpy's own dtype objects are shared by the whole process and can be changed by a pickle; this one can not do harm.
    """

    __slots__ = ("_code", "_order")

    def __init__(self, code: str) -> None:
        self._code = code
        self._order = "|"

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) >= 5 else ""
        if order not in (*_BYTE_ORDERS, "|") or any(part is not None for part in state[2:5]):
            raise _Refusal("a numpy.dtype with fields")
        self._order = order

    def dtype(self) -> np.dtype[Any]:
        """Return a fresh numpy type."""
        dtype = np.dtype(self._code)
        return dtype.newbyteorder(_BYTE_ORDERS[self._order]) if self._order in _BYTE_ORDERS else dtype


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array that is filled once, with content that fits its shape."""

    def __setstate__(self, state: Any, /) -> None:
        if self.shape != (0,) or not isinstance(state, tuple) or len(state) not in (4, 5):
            raise _Refusal("a second change of a numpy.ndarray")
        shape, element, fortran, content = state[-4:]
        dtype = _real_dtype(element)
        _check_shape(shape)
        if dtype.hasobject:
            fits = isinstance(content, list) and len(content) == math.prod(shape)
        else:
            content = content.encode("latin-1") if isinstance(content, str) else content
            fits = isinstance(content, (bytes, bytearray)) and len(content) == math.prod(shape) * dtype.itemsize
        if not fits:
            raise _Refusal("a numpy.ndarray whose content does not fill its shape")
        super().__setstate__((1, shape, dtype, bool(fortran), content))  # type: ignore[arg-type]


def _text(value: Any) -> str:
    """Read short text, which Python 2 wrote as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _check_shape(shape: Any) -> None:
    if not isinstance(shape, tuple) or any(type(size) is not int or size < 0 for size in shape):
        raise _Refusal("a numpy.ndarray with an impossible shape")


def _real_dtype(element: Any) -> np.dtype[Any]:
    if not isinstance(element, _ElementType):
        raise _Refusal("a numpy.ndarray without a plain type")
    return element.dtype()


def _element_type(code: Any, *options: Any) -> _ElementType:
    if not isinstance(code, (str, bytes)) or not _DTYPE.fullmatch(_text(code)):
        raise _Refusal(f"numpy.dtype {_text(code)[:40]!r}" if isinstance(code, (str, bytes)) else "numpy.dtype")
    return _ElementType(_text(code))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    # numpy always writes an empty array here and fills it afterwards; a large one would only take memory.
    if kind is not _NDARRAY or shape != (0,):
        raise _Refusal("a numpy.ndarray that is not empty at first")
    return _Array((0,), dtype=np.int8)


def _from_buffer(content: Any, element: Any, shape: Any, order: Any, axes: Any = None) -> npt.NDArray[Any]:
    dtype = _real_dtype(element)
    _check_shape(shape)
    if dtype.hasobject or not isinstance(content, (bytes, bytearray)):
        raise _Refusal("a numpy.ndarray of raw memory")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise _Refusal("a numpy.ndarray whose content does not fill its shape")
    array = np.frombuffer(content, dtype=dtype)
    if axes is not None:
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(element: Any, content: Any = b"") -> Any:
    dtype = _real_dtype(element)
    content = content.encode("latin-1") if isinstance(content, str) else content
    if dtype.hasobject or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise _Refusal("a numpy scalar of objects")
    return np.frombuffer(content, dtype=dtype, count=1)[0]


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    # The old protocols write bytes as text and name this function to turn them back.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refusal("_codecs.encode")
    return text.encode("latin-1")


def _no_bytes(*content: Any) -> bytes:
    # The old protocols write empty bytes so; a number here would reserve that much memory.
    if content:
        raise _Refusal("builtins.bytes of something")
    return b""


def _container(kind: Callable[..., Any]) -> Callable[..., Any]:
    def build(*content: Any) -> Any:
        if len(content) > 1 or not all(isinstance(each, (list, tuple, dict, set)) for each in content):
            raise _Refusal(f"builtins.{getattr(kind, '__name__', kind)} of something else than a plain container")
        return kind(*content)

    return build


def _number(kind: Callable[..., Any]) -> Callable[..., Any]:
    def build(*content: Any) -> Any:
        if any(not isinstance(each, (int, float)) for each in content):
            raise _Refusal(f"builtins.{getattr(kind, '__name__', kind)} of something else than a number")
        return kind(*content)

    return build


def _no_call(*arguments: Any) -> NoReturn:
    raise _Refusal("a call of numpy.ndarray")


_NDARRAY = _StandIn("numpy.ndarray", _no_call)
_BUILTINS = ("builtins", "__builtin__")  # the second in the old protocols
_CORES = ("numpy.core", "numpy._core")
_ADMITTED: dict[tuple[str, str], _StandIn] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _StandIn("numpy.dtype", _element_type),
    ("_codecs", "encode"): _StandIn("_codecs.encode", _encoded),
    ("collections", "OrderedDict"): _StandIn("collections.OrderedDict", _container(dict)),
    **{(module, "bytes"): _StandIn("builtins.bytes", _no_bytes) for module in _BUILTINS},
    **{(f"{core}.multiarray", "_reconstruct"): _StandIn("_reconstruct", _reconstruct) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): _StandIn("scalar", _scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): _StandIn("_frombuffer", _from_buffer) for core in _CORES},
    **{
        (module, kind.__name__): _StandIn(f"builtins.{kind.__name__}", _container(kind))
        for module in _BUILTINS
        for kind in (list, tuple, dict, set, frozenset)
    },
    **{
        (module, kind.__name__): _StandIn(f"builtins.{kind.__name__}", _number(kind))
        for module in _BUILTINS
        for kind in (int, float, bool, complex)
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for an admitted name; no module is ever imported."""
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            raise _Refusal(f"{module}.{name}")
        return admitted

    def persistent_load(self, identifier: Any) -> NoReturn:
        """Refuse objects that live outside the file."""
        raise _Refusal("a persistent id")


class _Bounded:
    """A stream that never reserves more memory than there are bytes left in the file."""

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end = stream, end

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._stream.tell()
        if size > left:
            raise _Refusal(f"{size} bytes, and the file has {left} left")
        return self._stream.read(left if size < 0 else size)

    def readline(self) -> bytes:
        return self._stream.readline()

    def tell(self) -> int:
        return self._stream.tell()


def load_restricted(path: Path, offset: int = 0) -> Any:
    """Read a pickle of arrays and plain values.

    Admitted are numpy arrays, types and scalars, ``list``, ``tuple``, ``dict``, ``OrderedDict`` (as a ``dict``),
    ``set``, ``frozenset``, text, bytes, numbers, truth values and None; everything else is refused by name before it
    is looked up, so nothing is imported and nothing runs.

    Parameters
    ----------
    path : Path
        File that holds the pickle.
    offset : int
        Where in the file it begins (``.npy`` files have a header before it).

    Returns
    -------
    object
        What was pickled.

    Raises
    ------
    UsageError
        If the pickle asks for anything else (the message names it), or is damaged.
    """
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            stream.seek(offset)
            _walk(stream, size)
            stream.seek(offset)
            return _Unpickler(stream, encoding="latin1").load()
    except _Refusal as refusal:
        raise UsageError(
            f"{path} is a pickle that asks for {refusal}; for safety only numpy arrays and plain values are read from "
            "pickles, and nothing in it was run. Save the arrays as .npz instead."
        ) from refusal
    except OSError as error:
        raise UsageError(f"{path} can not be read: {error.strerror}.") from error
    except Exception as error:  # a damaged or hostile pickle can fail in any way; none of them concerns the caller
        raise UsageError(f"{path} is not a readable pickle of arrays ({type(error).__name__}: {error}).") from error


def _walk(stream: BinaryIO, size: int) -> None:
    """Go through the operations without carrying them out, and refuse those that no honest file has."""
    bounded: Any = _Bounded(stream, size)
    for count, (operation, argument, _) in enumerate(pickletools.genops(bounded)):
        number = argument if isinstance(argument, int) else 0
        if operation.name in _OUTSIDE:
            raise _Refusal(_OUTSIDE[operation.name])
        if count >= MAX_OPERATIONS:
            raise _Refusal(f"more than {MAX_OPERATIONS} operations")
        # The unpickler reserves room up to the number of a memo entry, and for a whole frame at once.
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and number > max(count, 255):
            raise _Refusal(f"memo entry {number} after {count} operations")
        if operation.name == "FRAME" and number > size - stream.tell():
            raise _Refusal(f"a frame of {number} bytes, and the file has {size - stream.tell()} left")
