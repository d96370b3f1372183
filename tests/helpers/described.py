"""What the page on outputs says of every file, for tests that have a real output folder at hand."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "outputs.md"
SHORT = {"SERIES": "sub-*/[ses-*/]func/sub-*_atlas-*", "MAPS": "group/*/[hemi-*_]space-*_atlas-*"}


def file_table() -> dict[str, str]:
    """Return who writes a file, by the pattern of its name; a pattern has no braces any more."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## File by file\n")[2]
    table = {}
    for cells in (line.split("|") for line in section.splitlines() if line.startswith("| `")):
        for pattern in re.findall(r"`([^`]+)`", cells[1]):
            for name, full in SHORT.items():
                pattern = re.sub(rf"^{name}", lambda _, full=full: full, pattern)
            table.update(dict.fromkeys(_without_braces(pattern), cells[2].strip()))
    return table


def _without_braces(pattern: str) -> list[str]:
    parts = re.split(r"\{([^}]*)\}", pattern)
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _expression(pattern: str) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", "[^/]*").replace(r"\[", "(?:").replace(r"\]", ")?")
    return re.compile(text)


def files(out_dir: Path) -> list[str]:
    """List the files of an output folder, relative to it."""
    return sorted(path.relative_to(out_dir).as_posix() for path in out_dir.rglob("*") if path.is_file())


def undescribed(out_dir: Path) -> list[str]:
    """List the files that the page does not know."""
    expressions = [_expression(pattern) for pattern in file_table()]
    return [name for name in files(out_dir) if not any(each.fullmatch(name) for each in expressions)]


def absent(out_dir: Path, *writers: str) -> list[str]:
    """List the patterns of these writers that no file has."""
    names = files(out_dir)
    table = file_table()
    assert set(writers) <= set(table.values()), "the page has no such writer"
    return [
        pattern
        for pattern, writer in table.items()
        if writer in writers and not any(_expression(pattern).fullmatch(name) for name in names)
    ]
