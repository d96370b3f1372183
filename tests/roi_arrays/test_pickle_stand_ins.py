"""What stands in for types and functions that a pickle asks for can not be changed or misused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from helpers.roi_sources import Reduced, written

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.restricted_pickle import load_restricted


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
        load_restricted(written(tmp_path / "x.pickle", content))


def test_a_pickle_can_not_change_the_types_of_the_process(tmp_path):
    state = (3, ">", None, None, None, -1, -1, 0)
    load_restricted(written(tmp_path / "x.pickle", pickle.dumps(Reduced(np.dtype, ("f8", False, False), state))))
    assert np.dtype("f8").isnative
    fields = (3, "|", None, ("a",), {"a": (1, 0)}, 8, 1, 16)
    with pytest.raises(UsageError, match="dtype with fields"):
        load_restricted(written(tmp_path / "x.pickle", pickle.dumps(Reduced(np.dtype, ("f8", False, True), fields))))


def test_an_array_is_filled_once_and_wholly(tmp_path):
    reconstruct, arguments, state = np.arange(3.0).__reduce__()
    short = (*state[:1], (10**9,), *state[2:])
    with pytest.raises(UsageError, match="does not fill its shape"):
        load_restricted(written(tmp_path / "x.pickle", pickle.dumps(Reduced(reconstruct, arguments, short))))
    _, _, objects = np.array([None], dtype=object).__reduce__()
    pointers = (*objects[:-1], b"12345678")
    with pytest.raises(UsageError, match="does not fill its shape"):
        load_restricted(written(tmp_path / "x.pickle", pickle.dumps(Reduced(reconstruct, arguments, pointers))))
    twice = pickle.dumps(Reduced(reconstruct, arguments, state), 2)[:-1] + b"(I1\nI2\nI3\nI4\nI5\ntb."
    with pytest.raises(UsageError, match="second change"):
        load_restricted(written(tmp_path / "x.pickle", twice))


def test_a_key_is_a_plain_value(tmp_path):
    # The hash of tuples in tuples takes a stack as deep as they are, or a time that doubles with each level.
    deep = b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s."
    doubling = b"\x80\x02}K\x01" + b"".join(b"q%ch%c\x86" % (each, each) for each in range(45)) + b"K\x01s."
    in_a_set = b"\x80\x04\x8f(K\x01\x85\x90."
    for content in (deep, doubling, in_a_set):
        with pytest.raises(UsageError, match="a key that is no plain value"):
            load_restricted(written(tmp_path / "x.pickle", content))
