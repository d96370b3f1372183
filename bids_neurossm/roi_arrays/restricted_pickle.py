"""Pickles that hold arrays, tables and plain values, read without running anything that they say.

A pickle is a program: unpickling it in the usual way runs whatever its author wrote. Series are shared as pickles all
the same (``.pickle`` files, ``.npy`` files of objects, files of ``torch.save``), so they are read here by an
unpickler that knows a closed list of names and refuses every other one. Each name leads to a stand-in
(`bids_neurossm.roi_arrays.pickle_stand_ins`); the operations that call, fill or change something are carried out
here, on stand-ins and plain containers alone. Before that, the operations are walked through once, so that a file
cannot ask for more memory than its size warrants.
"""

from __future__ import annotations

import contextlib
import pickle
import pickletools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from bids_neurossm.errors import NeuroSSMError, UsageError
from bids_neurossm.roi_arrays.pickle_stand_ins import (
    ARRAYS_AND_PLAIN_VALUES,
    Changeable,
    CutShort,
    Refusal,
    StandIn,
    check_keys,
)
from bids_neurossm.roi_arrays.pickled_tables import TABLES

#: More operations than any set of series needs; each makes at most one small object.
MAX_OPERATIONS = 20_000_000

#: Operations that fetch objects from outside the file, or call with named arguments.
_OUTSIDE = {
    "PERSID": "a persistent id",
    "BINPERSID": "a persistent id",
    "EXT1": "a copyreg extension",
    "EXT2": "a copyreg extension",
    "EXT4": "a copyreg extension",
    "NEXT_BUFFER": "an out-of-band buffer",
    "READONLY_BUFFER": "an out-of-band buffer",
    "NEWOBJ_EX": "a call with named arguments",
}

Admitted = Mapping[tuple[str, str], StandIn]


#: The unpickler that is written in Python lets each operation be checked; the one in C does not.
_PYTHON_UNPICKLER: Any = pickle._Unpickler


class _Unpickler(_PYTHON_UNPICKLER):  # type: ignore[misc]
    """Python's unpickler, with every call and every change held to stand-ins and plain containers."""

    def __init__(self, stream: IO[bytes], admitted: Admitted, storage: Callable[[Any], Any] | None) -> None:
        super().__init__(stream, encoding="latin1")
        self._admitted, self._storage = admitted, storage

    def find_class(self, module: str, name: str) -> Any:
        """Give the stand-in for an admitted name; no module is ever imported."""
        admitted = self._admitted.get((module, name))
        if admitted is None:
            raise Refusal(f"{module}.{name}")
        return admitted

    def persistent_load(self, identifier: Any) -> Any:
        """Give the numbers of a tensor; any other object that lives outside the pickle is refused."""
        if self._storage is None:
            raise Refusal("a persistent id")
        return self._storage(identifier)

    def get_extension(self, code: int) -> NoReturn:
        """Refuse names that only this machine's registry knows."""
        raise Refusal("a copyreg extension")

    def _call(self) -> None:
        arguments, call = self.stack.pop(), self.stack.pop()
        if not isinstance(call, StandIn) or not isinstance(arguments, tuple):
            raise Refusal(f"a call of a {type(call).__name__}")
        self.stack.append(call(*arguments))

    def _build(self) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if not isinstance(value, Changeable):
            raise Refusal(f"a change of {value.name if isinstance(value, StandIn) else type(value).__name__}")
        value.__setstate__(state)  # type: ignore[attr-defined]

    def _extend(self) -> None:
        items = self.pop_mark()
        self._held(list).extend(items)

    def _append(self) -> None:
        item = self.stack.pop()
        self._held(list).append(item)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        check_keys([key])
        self._held(dict)[key] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        check_keys(items[::2])
        self._held(dict).update(zip(items[::2], items[1::2], strict=True))

    def _add_items(self) -> None:
        items = self.pop_mark()
        check_keys(items)
        self._held(set).update(items)

    def _held(self, kind: type) -> Any:
        """Return the container that is being filled."""
        if type(self.stack[-1]) is not kind:
            raise Refusal(f"a change of a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    def _dict(self) -> None:
        items = self.pop_mark()
        check_keys(items[::2])
        self.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _frozenset(self) -> None:
        items = self.pop_mark()
        check_keys(items)
        self.append(frozenset(items))

    def _instance(self, kind: Any, arguments: list[Any]) -> None:
        if not isinstance(kind, StandIn):
            raise Refusal(f"a call of a {type(kind).__name__}")
        self.append(kind(*arguments))

    _instantiate = _instance  # what INST and OBJ come to

    dispatch = {  # noqa: RUF012  # as the class above has it
        **_PYTHON_UNPICKLER.dispatch,
        pickle.REDUCE[0]: _call,
        pickle.NEWOBJ[0]: _call,
        pickle.BUILD[0]: _build,
        pickle.APPENDS[0]: _extend,
        pickle.APPEND[0]: _append,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.ADDITEMS[0]: _add_items,
        pickle.DICT[0]: _dict,
        pickle.FROZENSET[0]: _frozenset,
    }


class _Bounded:
    """A stream that never reserves more memory than there are bytes left in the file."""

    def __init__(self, stream: IO[bytes], end: int) -> None:
        self._stream, self._end = stream, end

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._stream.tell()
        if size > left:
            raise CutShort(f"{size} bytes, and the file has {left} left")
        return self._stream.read(left if size < 0 else size)

    def readline(self) -> bytes:
        return self._stream.readline()

    def tell(self) -> int:
        return self._stream.tell()


def load_restricted(path: Path, offset: int = 0, more: Admitted | None = None) -> Any:
    """Read a pickle of arrays, tables and plain values.

    Admitted are numpy arrays, types and scalars, ``list``, ``tuple``, ``dict``, ``OrderedDict`` and ``defaultdict`` (as
    ``dict``), ``set``, ``frozenset``, text, bytes, numbers, truth values and None, and the data frames and series of
    pandas (as `bids_neurossm.roi_arrays.pickled_tables.Frame` and ``dict``); everything else is refused by name before
    it is looked up, so nothing is imported and nothing runs.

    Parameters
    ----------
    path : Path
        File that holds the pickle.
    offset : int
        Where in the file it begins (``.npy`` files have a header before it).
    more : mapping, optional
        Stand-ins by module and name, besides those of arrays, tables and plain values.

    Returns
    -------
    object
        What was pickled.

    Raises
    ------
    UsageError
        If the pickle asks for anything else (the message names it), or is damaged.
    """
    with refusals(path), path.open("rb") as stream:
        stream.seek(offset)
        return unpickle(stream, path.stat().st_size, more)


def unpickle(
    stream: IO[bytes], size: int, more: Admitted | None = None, storage: Callable[[Any], Any] | None = None
) -> Any:
    """Read the pickle that begins where a stream is; the stream is left behind its end.

    Parameters
    ----------
    stream : file
        Can be rewound.
    size : int
        Where it ends, in bytes.
    more : mapping, optional
        Stand-ins by module and name, besides those of arrays, tables and plain values.
    storage : callable, optional
        Gives the object for a persistent id; without it these are refused.

    Raises
    ------
    Refusal
        If the pickle asks for something else.
    Exception
        Of any type, if it is damaged; `refusals` turns both into a sentence.
    """
    start = stream.tell()
    _walk(stream, size, outside=_OUTSIDE if storage is None else {**_OUTSIDE, "PERSID": "", "BINPERSID": ""})
    stream.seek(start)
    return _Unpickler(stream, {**ARRAYS_AND_PLAIN_VALUES, **TABLES, **(more or {})}, storage).load()


@contextlib.contextmanager
def refusals(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a pickle into a sentence.

    Raises
    ------
    UsageError
        If the pickle asks for what is not admitted, or is damaged.
    """
    try:
        yield
    except CutShort as missing:
        raise UsageError(
            f"{path} is damaged: it claims {missing}; if the file is cut short, copy it again."
        ) from missing
    except Refusal as refusal:
        raise UsageError(
            f"{path} is a pickle that asks for {str(refusal)[:200]}; for safety only arrays, tables and plain values "
            "are read from pickles, and nothing in it was run. Save the arrays as .npz instead."
        ) from refusal
    except NeuroSSMError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged or hostile pickle can fail in any way; none of them concerns the caller
        raise UsageError(
            f"{path} is not a readable pickle of arrays ({type(error).__name__}: {str(error)[:200]}); if the file is "
            "cut short, copy it again."
        ) from error


def _walk(stream: IO[bytes], size: int, outside: Mapping[str, str]) -> None:
    """Go through the operations without carrying them out, and refuse those that no honest file has."""
    bounded: Any = _Bounded(stream, size)
    for count, (operation, argument, _) in enumerate(pickletools.genops(bounded)):
        number = argument if isinstance(argument, int) else 0
        if outside.get(operation.name):
            raise Refusal(outside[operation.name])
        if count >= MAX_OPERATIONS:
            raise Refusal(f"more than {MAX_OPERATIONS} operations")
        # The unpickler reserves room up to the number of a memo entry, and for a whole frame at once.
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and number > max(count, 255):
            raise Refusal(f"memo entry {number} after {count} operations")
        if operation.name == "FRAME" and number > size - stream.tell():
            raise CutShort(f"a frame of {number} bytes, and the file has {size - stream.tell()} left")
