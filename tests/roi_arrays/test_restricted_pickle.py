"""A pickle may hold arrays and plain values; what else it asks for is refused by name, and never run."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.pickled_tables import Frame
from bids_neurossm.roi_arrays.restricted_pickle import load_restricted


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_values_come_back_from_every_protocol(tmp_path, protocol):
    rng = np.random.default_rng(0)
    content = [
        {
            "float16": rng.normal(size=(4, 5)).astype("f2"),
            "big-endian": rng.normal(size=3).astype(">f8"),
            "fortran": np.asfortranarray(rng.normal(size=(4, 5))),
            "axes": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
            "text": np.array(["é", "bc"]),
            "objects": np.array([1, "a", None, np.arange(2)], dtype=object),
            "empty": np.zeros((0, 3)),
            "scalar": np.float32(0.1),
            "number": 2**70,
            "plain": ({1, 2}, frozenset("a"), b"\xff\x00", 1.5, True, None, 1j, OrderedDict(a=1)),
        }
    ]
    loaded = load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(content, protocol)))
    objects = loaded[0].pop("objects")
    assert [*objects[:3], objects[3].tolist()] == [1, "a", None, [0, 1]]
    for name, value in loaded[0].items():
        assert np.shape(value) == np.shape(content[0][name])
        assert np.array_equal(value, content[0][name]) if name != "plain" else value == content[0][name]
    assert len(loaded[0]) == len(content[0]) - 1


class _Reduced:
    def __init__(self, call, arguments, state=None):
        self.parts = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self):
        return self.parts


def _attacks(command: str) -> dict[str, tuple[bytes, str]]:
    """Ways in which a pickle runs a command, with the name that the refusal must tell."""
    text = command.encode()
    return {
        "REDUCE": (pickle.dumps(_Reduced(os.system, (command,))), f"{os.system.__module__}.system"),
        "REDUCE, protocol 0": (pickle.dumps(_Reduced(os.system, (command,)), 0), "system"),
        "REDUCE of a class": (pickle.dumps(_Reduced(subprocess.Popen, (command,))), "subprocess.Popen"),
        "REDUCE of eval": (pickle.dumps(_Reduced(eval, (f"__import__('os').system({command!r})",))), "builtins.eval"),
        "INST": (b"(S'" + text + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'" + text + b"'\no.", "os.system"),
        "NEWOBJ": (b"\x80\x02csubprocess\nPopen\nU" + bytes([len(text)]) + text + b"\x85\x81.", "subprocess.Popen"),
        "BUILD": (pickle.dumps(_Reduced(eval, ("1",), {"a": 1})), "builtins.eval"),
        "attribute of an admitted name": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
        "getattr": (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        "numpy.load": (pickle.dumps(np.load), "numpy.load"),
        "hidden in an array": (
            pickle.dumps(np.array([_Reduced(os.system, (command,))], dtype=object)),
            f"{os.system.__module__}.system",
        ),
        "PERSID": (b"Pos.system\n.", "persistent id"),
        "BINPERSID": (b"\x80\x02U\x01aQ.", "persistent id"),
        "EXT1": (b"\x80\x02\x82\x01.", "copyreg extension"),
    }


@pytest.mark.parametrize("attack", sorted(_attacks("")))
@pytest.mark.parametrize("container", ["pickle", "npy"])
def test_nothing_that_a_pickle_says_is_run(tmp_path, attack, container):
    from bids_neurossm.roi_arrays.discovery import find_arrays

    marker = tmp_path / "marker"
    content, name = _attacks(f"touch {marker}")[attack]
    header = (
        b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    )
    path = _write(tmp_path / f"x.{container}", content if container == "pickle" else header + content)
    with pytest.raises(UsageError, match=name) as caught:
        find_arrays(path)
    assert caught.value.exit_code == 2
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_the_attacks_of_these_tests_do_run_where_nothing_holds_them_back(tmp_path):
    for number, attack in enumerate(("REDUCE", "INST", "OBJ")):
        marker = tmp_path / str(number)
        pickle.loads(_attacks(f"touch {marker}")[attack][0])
        assert marker.exists()


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"cnumpy\ndtype\n}b.", "change of numpy.dtype"),
        (b"cnumpy._core.multiarray\n_reconstruct\n(N}S'_build'\nNstb.", "change of"),
        (b"\x80\x02cnumpy\nndarray\n(t\x81.", "call of numpy.ndarray"),
        (b"cnumpy\nndarray\n(I9\ntR.", "call of numpy.ndarray"),
        (b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I1000000000000\ntS'b'\ntR.", "not empty at first"),
        (b"cnumpy\ndtype\n(S'V9'\nI00\nI01\ntR.", "numpy.dtype 'V9'"),
        (b"cnumpy\ndtype\n(S'f8,O'\nI00\nI01\ntR.", "numpy.dtype 'f8,O'"),
        (b"cbuiltins\nset\n(S'abc'\ntR.", "plain container"),
        (b"cbuiltins\nint\n(S'9'\ntR.", "number"),
        (b"cbuiltins\nbytes\n(I1000000000000\ntR.", "builtins.bytes"),
    ],
)
def test_what_is_admitted_can_not_be_changed_or_misused(tmp_path, content, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(_write(tmp_path / "x.pickle", content))


def test_a_pickle_can_not_change_the_types_of_the_process(tmp_path):
    state = (3, ">", None, None, None, -1, -1, 0)
    load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(_Reduced(np.dtype, ("f8", False, False), state))))
    assert np.dtype("f8").isnative
    fields = (3, "|", None, ("a",), {"a": (1, 0)}, 8, 1, 16)
    with pytest.raises(UsageError, match="dtype with fields"):
        load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(_Reduced(np.dtype, ("f8", False, True), fields))))


def test_an_array_is_filled_once_and_wholly(tmp_path):
    reconstruct, arguments, state = np.arange(3.0).__reduce__()
    short = (*state[:1], (10**9,), *state[2:])
    with pytest.raises(UsageError, match="does not fill its shape"):
        load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(_Reduced(reconstruct, arguments, short))))
    _, _, objects = np.array([None], dtype=object).__reduce__()
    pointers = (*objects[:-1], b"12345678")
    with pytest.raises(UsageError, match="does not fill its shape"):
        load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(_Reduced(reconstruct, arguments, pointers))))
    twice = pickle.dumps(_Reduced(reconstruct, arguments, state), 2)[:-1] + b"(I1\nI2\nI3\nI4\nI5\ntb."
    with pytest.raises(UsageError, match="second change"):
        load_restricted(_write(tmp_path / "x.pickle", twice))


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo entry 2147483647"),
        (b"Np2000000000\n.", "memo entry 2000000000"),
        (b"\x80\x04\x95" + (2**40).to_bytes(8, "little") + b"N.", "frame of 1099511627776 bytes"),
        (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"N.", "1099511627776 bytes"),
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"N.", "1099511627776 bytes"),
    ],
)
def test_a_small_file_can_not_ask_for_much_memory(tmp_path, content, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(_write(tmp_path / "x.pickle", content))


def test_a_file_of_endless_operations_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_neurossm.roi_arrays.restricted_pickle.MAX_OPERATIONS", 1000)
    with pytest.raises(UsageError, match="more than 1000 operations"):
        load_restricted(_write(tmp_path / "x.pickle", b"\x80\x02" + b"]" * 2000 + b"."))


def test_damage_of_any_kind_is_one_clear_refusal(tmp_path):
    rng = random.Random(0)
    whole = pickle.dumps([{"roiTimeseries": np.arange(6.0).reshape(2, 3), "pheno": {"subjectId": 1, "sex": "F"}}], 2)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            with warnings.catch_warnings(action="ignore"):
                load_restricted(_write(tmp_path / "x.pickle", bytes(damaged[: rng.randint(1, len(damaged))])))
        except UsageError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize("protocol", range(6))
def test_tables_of_pandas_come_back_as_columns_and_rows(tmp_path, protocol):
    frame = pd.DataFrame(
        {
            "name": ["a", "bé", None],
            "count": [1, 2, 3],
            "score": [0.1, np.nan, 3.0],
            "truth": [True, False, True],
            "series": [np.ones((2, 3)), np.zeros((1, 3)), np.ones((3, 3))],
            "text": pd.array(["q", None, "s"], dtype=pd.StringDtype("python")),
            "bytes": pd.Series([b"\xff", b"", b"x"], dtype=object),
        }
    )[["score", "name", "series", "truth", "text", "count", "bytes"]]
    content = {"frame": frame, "part": frame.iloc[1:], "row": frame.loc[1], "column": frame["count"]}
    loaded = load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(content, protocol)))
    assert isinstance(loaded["frame"], Frame)
    columns = loaded["frame"].columns
    assert list(columns) == list(frame.columns)
    assert [list(columns[name]) for name in ("name", "count", "truth")] == [["a", "bé", None], [1, 2, 3], [1, 0, 1]]
    assert [np.asarray(columns["score"]).tobytes(), columns["text"]] == [
        frame["score"].to_numpy().tobytes(),
        ["q", None, "s"],
    ]
    assert [each.shape for each in columns["series"]] == [(2, 3), (1, 3), (3, 3)]
    assert list(columns["bytes"]) == [b"\xff", b"", b"x"]
    assert list(loaded["part"].columns["name"]) == ["bé", None]
    assert (loaded["row"]["name"], loaded["row"]["count"]) == ("bé", 2)
    assert loaded["column"] == {"0": 1, "1": 2, "2": 3}


@pytest.mark.parametrize(
    ("column", "refused"),
    [
        (pd.Categorical(["a", "b"]), r"asks for pandas\..*Categorical"),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), "asks for "),
        (pd.array([1, None], dtype="Int64"), r"asks for pandas\..*Integer"),
    ],
)
def test_columns_of_another_kind_are_refused_by_name(tmp_path, column, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(_write(tmp_path / "x.pickle", pickle.dumps(pd.DataFrame({"x": column}))))


def test_a_key_is_a_plain_value(tmp_path):
    # The hash of tuples in tuples takes a stack as deep as they are, or a time that doubles with each level.
    deep = b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s."
    doubling = b"\x80\x02}K\x01" + b"".join(b"q%ch%c\x86" % (each, each) for each in range(45)) + b"K\x01s."
    in_a_set = b"\x80\x04\x8f(K\x01\x85\x90."
    for content in (deep, doubling, in_a_set):
        with pytest.raises(UsageError, match="a key that is no plain value"):
            load_restricted(_write(tmp_path / "x.pickle", content))


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (b"\x80\x02cpandas\nDataFrame\n)\x81}U\x04_mgrK\x01sb.", "a pandas.DataFrame of another layout"),
        (b"cpandas\nDataFrame\n(I1\ntR.", "not a readable pickle"),
        (b"cpandas\nIndex\n(tR.", "a bare object"),
        (b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\ncbuiltins\nobject\nNtR.", "call of numpy.ndarray"),
        (b"cbuiltins\nslice\n(NNN(ltR.", "builtins.slice"),
        (b"cbuiltins\nbytearray\n(I1000000000000\ntR.", "builtins.bytearray"),
        (b"cpyarrow.lib\nchunked_array\n(I1\ntR.", "Arrow array"),
        (b"\x80\x02]Nb.", "a change of list"),
        (b"\x80\x02K\x01)R.", "a call of a int"),
    ],
)
def test_stand_ins_of_tables_can_not_be_misused(tmp_path, content, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(_write(tmp_path / "x.pickle", content))
