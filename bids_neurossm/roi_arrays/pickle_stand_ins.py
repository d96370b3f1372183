"""What a pickle gets in place of functions and classes: stand-ins that build arrays and plain values, and no more.

None of the names a pickle may use leads to the real function or class. Each leads to a stand-in that checks its
arguments, cannot be changed, and builds nothing but arrays and plain containers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

#: Types of array elements: booleans, whole numbers, floats, complex numbers, text, objects (which are checked one by
#: one as they are read). Records, dates and raw memory are not needed for series.
_DTYPE = re.compile(r"[<>=|]?(?:[biufc](?:1|2|4|8|16)|\?|[SU]\d{1,6}|O8?)")
_BYTE_ORDERS: dict[str, Literal["<", ">", "="]] = {"<": "<", ">": ">", "=": "="}

#: What can be a key or the member of a set. Tuples cannot: the hash of a nested one can take for ever.
_SCALARS = (str, bytes, int, float, complex, type(None), np.generic)


class Refusal(Exception):  # noqa: N818  # not an error of the program: the file asks for what is not given
    """What a pickle asked for and does not get."""


class CutShort(Refusal):
    """A pickle that claims more bytes than its file has."""


class StandIn:
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
        """Make the value, if the arguments are those of an honest file."""
        return self._build(*arguments)

    @property
    def name(self) -> str:
        """What the pickle calls it."""
        return self._name

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise Refusal(f"a change of {self._name}")


class Changeable:
    """A value that a pickle may fill after it was made (BUILD); nothing else can be changed."""

    __slots__ = ()


class _ElementType(Changeable):
    """The type of an array's elements, as a pickle describes it.

    numpy's own dtype objects are shared by the whole process and can be changed by a pickle; this one cannot do harm.
    """

    __slots__ = ("_code", "_order")

    def __init__(self, code: str) -> None:
        self._code = code
        self._order = "|"

    def __setstate__(self, state: Any) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) >= 5 else ""
        if order not in (*_BYTE_ORDERS, "|") or any(part is not None for part in state[2:5]):
            raise Refusal("a numpy.dtype with fields")
        self._order = order

    def dtype(self) -> np.dtype[Any]:
        """Return a fresh numpy type."""
        dtype = np.dtype(self._code)
        return dtype.newbyteorder(_BYTE_ORDERS[self._order]) if self._order in _BYTE_ORDERS else dtype


class _Array(Changeable, np.ndarray[Any, np.dtype[Any]]):
    """An array that is filled once, with content that fits its shape."""

    def __setstate__(self, state: Any, /) -> None:
        if self.shape != (0,) or not isinstance(state, tuple) or len(state) not in (4, 5):
            raise Refusal("a second change of a numpy.ndarray")
        shape, element, fortran, content = state[-4:]
        dtype = real_dtype(element)
        _check_shape(shape)
        if dtype.hasobject:
            fits = isinstance(content, list) and len(content) == math.prod(shape)
        else:
            content = content.encode("latin-1") if isinstance(content, str) else content
            fits = isinstance(content, (bytes, bytearray)) and len(content) == math.prod(shape) * dtype.itemsize
        if not fits:
            raise Refusal("a numpy.ndarray whose content does not fill its shape")
        super().__setstate__((1, shape, dtype, bool(fortran), content))  # type: ignore[arg-type]


def _text(value: Any) -> str:
    """Read short text, which Python 2 wrote as bytes."""
    if not isinstance(value, (bytes, str)):
        raise Refusal("something else where text is expected")
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _check_shape(shape: Any) -> None:
    known = isinstance(shape, tuple) and len(shape) <= 32
    if not known or any(type(size) is not int or not 0 <= size < 2**48 for size in shape):
        raise Refusal("a numpy.ndarray with an impossible shape")


def real_dtype(element: Any) -> np.dtype[Any]:
    """Return the numpy type that a pickle described."""
    if not isinstance(element, _ElementType):
        raise Refusal("a numpy.ndarray without a plain type")
    return element.dtype()


def _element_type(code: Any, *options: Any) -> _ElementType:
    if not isinstance(code, (str, bytes)) or not _DTYPE.fullmatch(_text(code)):
        raise Refusal(f"numpy.dtype {_text(code)[:40]!r}" if isinstance(code, (str, bytes)) else "numpy.dtype")
    return _ElementType(_text(code))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    # numpy always writes an empty array here and fills it afterwards; a large one would only take memory.
    if kind is not _NDARRAY or shape != (0,):
        raise Refusal("a numpy.ndarray that is not empty at first")
    return _Array((0,), dtype=np.int8)


def _from_buffer(content: Any, element: Any, shape: Any, order: Any, axes: Any = None) -> npt.NDArray[Any]:
    dtype = real_dtype(element)
    _check_shape(shape)
    if dtype.hasobject or not isinstance(content, (bytes, bytearray)):
        raise Refusal("a numpy.ndarray of raw memory")
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise Refusal("a numpy.ndarray whose content does not fill its shape")
    array = np.frombuffer(content, dtype=dtype)
    if axes is not None:
        return array.reshape(shape).transpose(axes)
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(element: Any, content: Any = b"") -> Any:
    dtype = real_dtype(element)
    content = content.encode("latin-1") if isinstance(content, str) else content
    if dtype.hasobject or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise Refusal("a numpy scalar of objects")
    return np.frombuffer(content, dtype=dtype, count=1)[0]


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    # The old protocols write bytes as text and name this function to turn them back.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Refusal("_codecs.encode")
    return text.encode("latin-1")


def _no_bytes(*content: Any) -> bytes:
    # The old protocols write empty bytes so; a number here would reserve that much memory.
    if content:
        raise Refusal("builtins.bytes of something")
    return b""


def check_keys(keys: Iterable[Any]) -> None:
    """Refuse keys of a dictionary, or members of a set, that are no plain values."""
    for key in keys:
        if not isinstance(key, _SCALARS):
            raise Refusal("a key that is no plain value")


def _container(kind: Callable[..., Any]) -> Callable[..., Any]:
    name = f"builtins.{getattr(kind, '__name__', kind)}"

    def build(*content: Any) -> Any:
        if len(content) > 1 or not all(isinstance(each, (list, tuple, dict, set)) for each in content):
            raise Refusal(f"{name} of something else than a plain container")
        if kind in (set, frozenset):
            check_keys(*content)
        elif kind is dict and content and not isinstance(content[0], dict):
            if any(not isinstance(pair, (list, tuple)) or len(pair) != 2 for pair in content[0]):
                raise Refusal(f"{name} of something else than pairs")
            check_keys(key for key, _ in content[0])
        return kind(*content)

    return build


def _default_dictionary(factory: Any = None) -> dict[Any, Any]:
    """Make a plain dictionary; what the pickle would have put in place of missing keys is of no use here."""
    if factory is not None and not isinstance(factory, StandIn):
        raise Refusal("collections.defaultdict of something else than a type")
    return {}


def _number(kind: Callable[..., Any]) -> Callable[..., Any]:
    def build(*content: Any) -> Any:
        if any(not isinstance(each, (int, float)) for each in content):
            raise Refusal(f"builtins.{getattr(kind, '__name__', kind)} of something else than a number")
        return kind(*content)

    return build


def _no_call(*arguments: Any) -> NoReturn:
    raise Refusal("a call of numpy.ndarray")


_NDARRAY = StandIn("numpy.ndarray", _no_call)
BUILTINS = ("builtins", "__builtin__")  # the second in the old protocols
_CORES = ("numpy.core", "numpy._core")
#: By module and name.
ARRAYS_AND_PLAIN_VALUES: Mapping[tuple[str, str], StandIn] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): StandIn("numpy.dtype", _element_type),
    ("_codecs", "encode"): StandIn("_codecs.encode", _encoded),
    ("collections", "OrderedDict"): StandIn("collections.OrderedDict", _container(dict)),
    ("collections", "defaultdict"): StandIn("collections.defaultdict", _default_dictionary),
    **{(module, "bytes"): StandIn("builtins.bytes", _no_bytes) for module in BUILTINS},
    **{(f"{core}.multiarray", "_reconstruct"): StandIn("_reconstruct", _reconstruct) for core in _CORES},
    **{(f"{core}.multiarray", "scalar"): StandIn("scalar", _scalar) for core in _CORES},
    **{(f"{core}.numeric", "_frombuffer"): StandIn("_frombuffer", _from_buffer) for core in _CORES},
    **{
        (module, kind.__name__): StandIn(f"builtins.{kind.__name__}", _container(kind))
        for module in BUILTINS
        for kind in (list, tuple, dict, set, frozenset)
    },
    **{
        (module, kind.__name__): StandIn(f"builtins.{kind.__name__}", _number(kind))
        for module in BUILTINS
        for kind in (int, float, bool, complex)
    },
}
