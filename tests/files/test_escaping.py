"""What is printed cannot move the cursor of a terminal or change the direction of text."""

from __future__ import annotations

import json
import os

import pytest

from bids_neurossm.files.escaping import escaped, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sub-01\x1b[2J", "sub-01\\u001b[2J"),
        ("\x9b31m", "\\u009b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\u2066x\u2069", "\\u2066x\\u2069"),
        ("a\rb\x00\x7f", "a\\rb\\u0000\\u007f"),
        (os.fsdecode(b"sub-\xff"), "sub-\\udcff"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("é 漢字\tтекст\nעברית", "é 漢字\tтекст\nעברית"),
    ],
)
def test_unsafe_characters_are_escaped_and_others_are_kept(text, shown):
    assert escaped(text) == shown


def test_an_escaped_line_of_json_holds_the_same_text():
    text = "a\u202eb\x9b" + os.fsdecode(b"\xff")
    assert json.loads(escaped(json.dumps({"x": text}, ensure_ascii=False))) == {"x": text}


def test_the_middle_of_a_very_long_message_is_left_out():
    shown = printable("a" * 10_000 + "z")
    assert len(shown) < 4100
    assert shown.startswith("aaa")
    assert shown.endswith("az")
    assert "[... 6001 characters left out ...]" in shown
