"""A pickle may hold arrays and plain values; what else it asks for is refused by name, and never run."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import warnings
from collections import OrderedDict

import numpy as np
import pytest
from helpers.roi_sources import Reduced, written

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.restricted_pickle import load_restricted


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
    loaded = load_restricted(written(tmp_path / "x.pickle", pickle.dumps(content, protocol)))
    objects = loaded[0].pop("objects")
    assert [*objects[:3], objects[3].tolist()] == [1, "a", None, [0, 1]]
    for name, value in loaded[0].items():
        assert np.shape(value) == np.shape(content[0][name])
        assert np.array_equal(value, content[0][name]) if name != "plain" else value == content[0][name]
    assert len(loaded[0]) == len(content[0]) - 1


def _attacks(command: str) -> dict[str, tuple[bytes, str]]:
    """Ways in which a pickle runs a command, with the name that the refusal must tell."""
    text = command.encode()
    return {
        "REDUCE": (pickle.dumps(Reduced(os.system, (command,))), f"{os.system.__module__}.system"),
        "REDUCE, protocol 0": (pickle.dumps(Reduced(os.system, (command,)), 0), "system"),
        "REDUCE of a class": (pickle.dumps(Reduced(subprocess.Popen, (command,))), "subprocess.Popen"),
        "REDUCE of eval": (pickle.dumps(Reduced(eval, (f"__import__('os').system({command!r})",))), "builtins.eval"),
        "INST": (b"(S'" + text + b"'\nios\nsystem\n.", "os.system"),
        "OBJ": (b"(cos\nsystem\nS'" + text + b"'\no.", "os.system"),
        "NEWOBJ": (b"\x80\x02csubprocess\nPopen\nU" + bytes([len(text)]) + text + b"\x85\x81.", "subprocess.Popen"),
        "BUILD": (pickle.dumps(Reduced(eval, ("1",), {"a": 1})), "builtins.eval"),
        "attribute of an admitted name": (b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.", "numpy.ndarray.tofile"),
        "getattr": (b"cbuiltins\ngetattr\n.", "builtins.getattr"),
        "numpy.load": (pickle.dumps(np.load), "numpy.load"),
        "hidden in an array": (
            pickle.dumps(np.array([Reduced(os.system, (command,))], dtype=object)),
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
    path = written(tmp_path / f"x.{container}", content if container == "pickle" else header + content)
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
        (b"\x80\x02Nr\xff\xff\xff\x7f.", "memo entry 2147483647"),
        (b"Np2000000000\n.", "memo entry 2000000000"),
        (b"\x80\x04\x95" + (2**40).to_bytes(8, "little") + b"N.", "frame of 1099511627776 bytes"),
        (b"\x80\x04\x8e" + (2**40).to_bytes(8, "little") + b"N.", "1099511627776 bytes"),
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"N.", "1099511627776 bytes"),
    ],
)
def test_a_small_file_can_not_ask_for_much_memory(tmp_path, content, refused):
    with pytest.raises(UsageError, match=refused):
        load_restricted(written(tmp_path / "x.pickle", content))


def test_a_file_of_endless_operations_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("bids_neurossm.roi_arrays.restricted_pickle.MAX_OPERATIONS", 1000)
    with pytest.raises(UsageError, match="more than 1000 operations"):
        load_restricted(written(tmp_path / "x.pickle", b"\x80\x02" + b"]" * 2000 + b"."))


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
                load_restricted(written(tmp_path / "x.pickle", bytes(damaged[: rng.randint(1, len(damaged))])))
        except UsageError:
            refused += 1
    assert refused > 300
