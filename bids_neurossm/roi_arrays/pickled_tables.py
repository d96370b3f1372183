"""Data frames and series of pandas in a pickle, read without pandas: names of columns and their values, no more.

The layout is that of pandas 1.3 to 3: a manager holds blocks of columns of one type, each with the places its columns
have in the table. Columns are numbers, text (also as Arrow's text, which pandas 3 writes), truth values or objects;
dates, categories and other extension types are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from bids_neurossm.roi_arrays.pickle_stand_ins import BUILTINS, Changeable, Refusal, StandIn

_OBJECT = "object"


class Frame(Changeable):
    """A data frame: its columns by name, in order, each an array or a list of as many values as there are rows.

    `index` is the name of its index with the values, where the index has a name.
    """

    def __init__(self) -> None:
        self.columns: dict[str, Sequence[Any]] = {}
        self.index: dict[str, Sequence[Any]] = {}

    def __setstate__(self, state: Any) -> None:
        manager = (state.get("_mgr") or state.get("_data")) if isinstance(state, dict) else None
        if not isinstance(manager, _Manager) or len(manager.axes) != 2:
            raise Refusal("a pandas.DataFrame of another layout")
        names, rows = manager.axes
        # Counted before room is reserved for them: the names may be no more than a range.
        if len(names) != sum(1 if isinstance(block, _Text) else len(block) for block, _ in manager.blocks):
            raise Refusal("a pandas.DataFrame whose columns do not fill it")
        values: list[Sequence[Any] | None] = [None] * len(names)
        for block, places in manager.blocks:
            for column, place in zip(_columns_of(block), places, strict=True):
                values[place] = column
        if any(column is None or len(column) != len(rows) for column in values):
            raise Refusal("a pandas.DataFrame whose columns do not fill it")
        self.columns = {str(name): column for name, column in zip(names, values, strict=True) if column is not None}
        if len(self.columns) != len(names):
            raise Refusal("a pandas.DataFrame with two columns of one name")
        self.index = {manager.name: list(rows)} if isinstance(manager.name, str) else {}


class _Column(dict[str, Any], Changeable):
    """A series: its values by their index, which is what a row of a table comes to."""

    def __setstate__(self, state: Any) -> None:
        manager = (state.get("_mgr") or state.get("_data")) if isinstance(state, dict) else None
        if not isinstance(manager, _Manager) or len(manager.axes) != 1 or len(manager.blocks) != 1:
            raise Refusal("a pandas.Series of another layout")
        self.update(zip(map(str, manager.axes[0]), _values_of(manager.blocks[0][0]), strict=True))


class _Manager(Changeable):
    """The blocks of a table, with the places of their columns, and the names along its sides."""

    def __init__(self, blocks: Any = (), axes: Any = ()) -> None:
        blocks = [blocks] if isinstance(blocks, _Block) else blocks
        axes = [axes] if isinstance(axes, _Index) else axes
        if not isinstance(blocks, (list, tuple)) or not isinstance(axes, (list, tuple)):
            raise Refusal("a table of pandas with another layout")
        if not all(isinstance(each, _Block) for each in blocks) or not all(isinstance(each, _Index) for each in axes):
            raise Refusal("a table of pandas with another layout")
        self.blocks = [(block.values, block.places) for block in blocks]
        self.axes = [axis.values for axis in axes]
        self.name = axes[-1].name if axes else None

    def __setstate__(self, state: Any) -> None:
        """Take the layout in which series, and the frames of older versions, are written."""
        known = isinstance(state, tuple) and len(state) == 4 and isinstance(state[3], dict)
        content = state[3].get("0.14.1") if known else None
        if not isinstance(content, dict):
            raise Refusal("a table of pandas with another layout")
        blocks = [_Block(each["values"], each["mgr_locs"], 2) for each in content["blocks"]]
        self.__init__(blocks, content["axes"])  # type: ignore[misc]


class _Block:
    def __init__(self, values: Any, places: Any, _: Any) -> None:
        if isinstance(places, slice):
            bounds = (places.start, places.stop, places.step or 1)
            places = range(*bounds) if all(type(each) is int for each in bounds) else None
        elif isinstance(places, np.ndarray) and places.dtype.kind == "i":
            places = places.tolist()
        if not isinstance(places, (list, range)) or not isinstance(values, (np.ndarray, _Text)):
            raise Refusal("columns of pandas that are no numbers and no text")
        self.values, self.places = values, places


class _Index:
    def __init__(self, _: Any, facts: Any) -> None:
        if not isinstance(facts, dict):
            raise Refusal("an index of pandas with another layout")
        self.values: Sequence[Any] = _values_of(facts["data"]) if "data" in facts else _counted(facts)
        self.name = facts.get("name")


class _Text(Changeable):
    """An array of text, as pandas or Arrow keep it; None where a value is missing."""

    def __init__(self, *_: Any) -> None:
        self.values: list[str | None] = []

    def __setstate__(self, state: Any) -> None:
        parts = list(state.values()) if isinstance(state, dict) else list(state) if isinstance(state, tuple) else []
        parts += [each for part in parts if isinstance(part, dict) for each in part.values()]
        values = next((part for part in parts if isinstance(part, list) or _is_objects(part)), None)
        if values is None or not all(_is_text(each) for each in values):
            raise Refusal("text of pandas with another layout")
        self.values = [each if isinstance(each, str) else None for each in values]


def _is_text(value: Any) -> bool:
    """Tell whether a value is text, or one of the ways to write that there is none."""
    return value is None or isinstance(value, (str, StandIn)) or (isinstance(value, float) and value != value)


def _is_objects(part: Any) -> bool:
    return isinstance(part, np.ndarray) and part.dtype == object and part.ndim == 1


def _counted(facts: Mapping[str, Any]) -> range:
    bounds = [facts.get(name) for name in ("start", "stop", "step")]
    if any(type(each) is not int for each in bounds):
        raise Refusal("an index of pandas with another layout")
    return range(*bounds)  # type: ignore[arg-type]


def _values_of(block: Any) -> list[Any]:
    """List the values of one column."""
    if isinstance(block, _Text):
        return list(block.values)
    if not isinstance(block, np.ndarray) or block.ndim not in (1, 2) or (block.ndim == 2 and block.shape[0] != 1):
        raise Refusal("a column of pandas with another layout")
    return list(block.reshape(-1))


def _columns_of(block: Any) -> list[Sequence[Any]]:
    """List the columns of a block, which keeps each as a row."""
    if isinstance(block, _Text):
        return [list(block.values)]
    if block.ndim != 2:
        raise Refusal("columns of pandas with another layout")
    return list(block)


def _arrow_text(parts: Any) -> list[str | None]:
    """Read text as Arrow keeps it: where each value ends, and all of them in a row."""
    kind, length, _, offset, buffers, *_rest = parts
    width = {"large_string": "<i8", "string": "<i4"}.get(kind if isinstance(kind, str) else "")
    if width is None or not all(type(each) is int and each >= 0 for each in (length, offset)) or len(buffers) != 3:
        raise Refusal("an Arrow array of something else than text")
    valid, ends, text = (None if each is None else bytes(each) for each in buffers)
    bounds = np.frombuffer(ends or b"", dtype=width)[offset : offset + length + 1].tolist()
    if len(bounds) != length + 1:
        raise Refusal("an Arrow array that is damaged")
    there = np.unpackbits(np.frombuffer(valid or b"", np.uint8), bitorder="little")[offset : offset + length]
    known = there.tolist() if valid is not None else [1] * length
    pairs = zip(bounds, bounds[1:], known, strict=False)
    return [(text or b"")[start:stop].decode() if known else None for start, stop, known in pairs]


def _bytes(content: Any = b"", encoding: Any = "latin-1") -> bytes:
    if isinstance(content, str) and encoding in ("latin-1", "latin1"):
        return content.encode("latin-1")
    if not isinstance(content, (bytes, bytearray)):
        raise Refusal("builtins.bytearray of something else than bytes")
    return bytes(content)


def _new(kind: Any, *_: Any) -> Any:
    """Make what the oldest protocols name apart from its class."""
    if not isinstance(kind, StandIn):
        raise Refusal("an object of an unknown class")
    return kind()


def _slice(*bounds: Any) -> slice:
    if not 1 <= len(bounds) <= 3 or any(each is not None and type(each) is not int for each in bounds):
        raise Refusal("builtins.slice of something else than numbers")
    return slice(*bounds)


def _chunks(parts: Any, *_: Any) -> list[str | None]:
    if not isinstance(parts, list) or any(not isinstance(each, list) for each in parts):
        raise Refusal("an Arrow array of something else than text")
    return [value for part in parts for value in part]


def _no_object(*_: Any) -> NoReturn:
    raise Refusal("a bare object")


def _named(modules: Sequence[str], names: Sequence[str], build: Callable[..., Any]) -> dict[tuple[str, str], StandIn]:
    return {(module, name): StandIn(f"{module}.{name}", build) for module in modules for name in names}


_INDEXES = ("Index", "RangeIndex", "Int64Index", "Float64Index", "UInt64Index")
_BASES = [f"pandas.core.indexes.{name}" for name in ("base", "range", "numeric")]

#: By module and name.
TABLES: Mapping[tuple[str, str], StandIn] = {
    **_named(["pandas", "pandas.core.frame"], ["DataFrame"], Frame),
    **_named(["pandas", "pandas.core.series"], ["Series"], _Column),
    **_named(["pandas.core.internals.managers"], ["BlockManager", "SingleBlockManager"], _Manager),
    **_named(["pandas._libs.internals"], ["_unpickle_block"], _Block),
    **_named(["pandas.core.indexes.base"], ["_new_Index"], _Index),
    **_named(["pandas", *_BASES], _INDEXES, _no_object),
    **_named(["pandas", "pandas.core.arrays.string_"], ["StringDtype"], lambda *_: None),
    **_named(["pandas.arrays", "pandas.core.arrays.string_arrow"], ["ArrowStringArray"], _Text),
    **_named(["pandas.arrays", "pandas.core.arrays.string_"], ["StringArray"], _Text),
    **_named(["pandas", "pandas._libs.missing"], ["NA"], _no_object),
    **_named(["pandas._libs.arrays"], ["__pyx_unpickle_NDArrayBacked"], lambda kind, *_: _new(kind)),
    **_named(["pyarrow.lib"], ["type_for_alias"], lambda name: name),
    **_named(["pyarrow.lib"], ["py_buffer"], _bytes),
    **_named(["pyarrow.lib"], ["_restore_array"], _arrow_text),
    **_named(["pyarrow.lib"], ["chunked_array"], _chunks),
    **_named(BUILTINS, ["bytearray"], _bytes),
    **_named(BUILTINS, ["slice"], _slice),
    **_named(BUILTINS, [_OBJECT], _no_object),
    **_named(["copy_reg", "copyreg"], ["_reconstructor"], _new),
}
