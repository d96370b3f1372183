"""A file is compared with the hash that its sidecar states."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.files.hashing import hash_file
from bids_neurossm.files.sidecar_hashes import OUTPUT_HASHES, is_as_stated, stated_hashes, text_hash


def test_the_hash_of_a_text_is_that_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("é\tn/a\n".encode())
    assert text_hash("é\tn/a\n") == hash_file(tmp_path / "a.tsv")


def test_a_sidecar_states_hashes_or_none() -> None:
    assert stated_hashes({OUTPUT_HASHES: {"a.tsv": "ab"}}) == {"a.tsv": "ab"}
    assert stated_hashes({}) == stated_hashes({OUTPUT_HASHES: ["ab"]}) == {}


def test_what_no_record_states_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\n")
    assert is_as_stated(path, text_hash("a\n"))
    assert not is_as_stated(path, text_hash("b\n"))
    assert is_as_stated(path, None)
