"""A file that many jobs add to loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bids_neurossm.files.shared_files import write_shared


def lines(entries: Mapping[str, str]) -> str:
    return "".join(f"{name} {value}\n" for name, value in sorted(entries.items()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "common.txt"


def add(path: Path, **mine: str) -> None:
    write_shared(path, path.parent / "entries", mine, lines)


def test_entries_of_all_jobs_are_in_the_common_file(path: Path) -> None:
    add(path, b="1")
    add(path, a="2", c="3")
    assert path.read_text() == "a 2\nb 1\nc 3\n"
    add(path, b="4")
    assert path.read_text() == "a 2\nb 4\nc 3\n"


def test_jobs_at_the_same_time_lose_no_entry(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(path, **{f"job{number:02d}": str(number)}), range(40)))
    assert path.read_text() == "".join(f"job{number:02d} {number}\n" for number in range(40))


def test_an_entry_that_came_in_while_the_file_was_written_is_in_it(path: Path) -> None:
    def meanwhile(entries: Mapping[str, str]) -> str:
        if "late" not in entries:
            (path.parent / "entries" / "late.json").write_text('"2"')
        return lines(entries)

    write_shared(path, path.parent / "entries", {"mine": "1"}, meanwhile)
    assert path.read_text() == "late 2\nmine 1\n"


def test_a_file_that_says_the_same_is_left_alone(path: Path) -> None:
    add(path, a="1")
    before = path.stat().st_mtime_ns, path.stat().st_ino
    add(path, a="1")
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_damaged_entry_of_another_job_is_none(path: Path) -> None:
    (path.parent / "entries").mkdir()
    (path.parent / "entries" / "damaged.json").write_text('"1')
    (path.parent / "entries" / "other.json").write_text("[1]")
    add(path, a="1")
    assert path.read_text() == "a 1\n"
