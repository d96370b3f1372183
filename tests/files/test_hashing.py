"""Hashes decide on resume: they follow the content, and are remembered while size and time stay."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.files import hashing
from bids_neurossm.files.hashing import hash_content, hash_file, known_hash, remember_hash


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths whose content was really read."""
    seen: list[Path] = []
    whole = hashing._sha256

    def counted(path: Path) -> str:
        seen.append(path)
        return whole(path)

    monkeypatch.setattr(hashing, "_sha256", counted)
    return seen


def test_it_is_the_sha_256_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"bold")
    assert hash_file(tmp_path / "a") == hashlib.sha256(b"bold").hexdigest()


def test_an_unchanged_file_is_read_once(tmp_path: Path, reads: list[Path]) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"bold")
    assert hash_file(path, cache) == hash_file(path, cache) == hashlib.sha256(b"bold").hexdigest()
    assert reads == [path]


def test_another_size_or_time_makes_it_read_again(tmp_path: Path, reads: list[Path]) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"bold")
    os.utime(path, ns=(10**18, 10**18))
    first = hash_file(path, cache)
    path.write_bytes(b"BOLD")
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert hash_file(path, cache) == hashlib.sha256(b"BOLD").hexdigest() != first
    path.write_bytes(b"BOLD ")
    os.utime(path, ns=(10**18, 10**18 + 1))
    assert hash_file(path, cache) == hashlib.sha256(b"BOLD ").hexdigest()
    assert len(reads) == 3


def test_the_work_folder_may_be_deleted(tmp_path: Path, reads: list[Path]) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"bold")
    first = hash_file(path, cache)
    for entry in cache.iterdir():
        entry.unlink()
    cache.rmdir()
    assert hash_file(path, cache) == first
    assert len(reads) == 2


def test_a_hash_from_elsewhere_is_remembered_unless_the_file_has_changed(tmp_path: Path) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"bold")
    before = path.stat()
    assert known_hash(path, cache) is None
    remember_hash(path, before, "f" * 64, cache)
    assert known_hash(path, cache) == hash_file(path, cache) == "f" * 64
    path.write_bytes(b"other bold")
    remember_hash(path, before, "e" * 64, cache)
    assert known_hash(path, cache) is None
    assert hash_file(path, cache) == hashlib.sha256(b"other bold").hexdigest()


def test_a_damaged_entry_is_not_believed(tmp_path: Path) -> None:
    path, cache = tmp_path / "a", tmp_path / "cache"
    path.write_bytes(b"bold")
    first = hash_file(path, cache)
    (entry,) = cache.iterdir()
    entry.write_text("")
    assert hash_file(path, cache) == first
    assert entry.read_text() == first + "\n"


def test_settings_hash_alike_in_any_order_and_differ_in_any_value() -> None:
    settings = {"atlas": "Schaefer400", "high_pass": 0.01, "path": Path("/data"), "list": [1, 2]}
    assert hash_content(settings) == hash_content(dict(reversed(settings.items())))
    for name, value in (("atlas", "AAL3"), ("high_pass", 0.02), ("list", [2, 1])):
        assert hash_content(settings) != hash_content({**settings, name: value})


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "series.tsv")
    with pytest.raises(RunError, match="is a pipe, not a file; save it to a file first"):
        hash_file(tmp_path / "series.tsv")
