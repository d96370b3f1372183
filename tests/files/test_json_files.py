"""JSON that is too deep, too long or of another kind is a sentence."""

from __future__ import annotations

import pytest

from bids_neurossm.errors import LabelError, RunError
from bids_neurossm.files.json_files import read_json, read_json_object


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' + "[" * 100_000, "it has more than 100 brackets within each other"),
        ('{"a": ' + "1" * 10_000 + "}", "4300 digits"),
        ('{"a": "' + "x" * 16 * 1024**2 + '"}', "has 16 MiB; a file of this kind has at most 16 MiB"),
    ],
)
def test_json_that_is_too_deep_or_too_long_is_a_sentence(tmp_path, text, words):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(RunError, match=words):
        read_json_object(tmp_path / "x.json", RunError)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "x.json").write_bytes(b'\xef\xbb\xbf{"a": [1, null]}')
    assert read_json_object(tmp_path / "x.json", RunError) == {"a": [1, None]}


def test_any_value_is_json_and_only_an_object_is_an_object(tmp_path):
    (tmp_path / "x.json").write_text("[1]")
    assert read_json(tmp_path / "x.json", RunError) == [1]
    with pytest.raises(LabelError, match=r"x\.json must hold a JSON object"):
        read_json_object(tmp_path / "x.json", LabelError)
    (tmp_path / "x.json").write_text("{'a': 1}")
    with pytest.raises(LabelError, match=r"x\.json is not readable JSON: "):
        read_json(tmp_path / "x.json", LabelError)
