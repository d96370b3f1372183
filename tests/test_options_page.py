"""The page on options has every option of every command, with its choices and its default, and no other."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm import config as cfg
from bids_neurossm.cli import check, demo, fetch, import_series, parser

PAGE = Path(__file__).resolve().parents[1] / "docs" / "options.md"
SECTIONS = {
    "Which runs": "main",
    "Signals": "main",
    "Model and evaluation": "main",
    "Maps": "main",
    "Running": "main",
    "Checking a machine": "check",
    "Fetching resources": "fetch",
    "bids-neurossm-import": "import",
    "bids-neurossm-demo": "demo",
}
COMMANDS: dict[str, Callable[[Sequence[str]], object]] = {
    "main": parser.parse_config,
    "check": check.run_check,
    "fetch": fetch.run_fetch,
    "import": import_series.main,
    "demo": demo.main,
}
#: Said in words on the page.
DEFAULTS_IN_WORDS = {"execution.nprocs"}


class Captured(BaseException):
    """A command came as far as its parser."""


@pytest.fixture(params=list(COMMANDS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def actions(name: str, monkeypatch: pytest.MonkeyPatch) -> list[argparse.Action]:
    """What the parser of a command takes, but for positional arguments."""
    found: list[argparse.Action] = []

    def parse_args(self: argparse.ArgumentParser, *_: Any) -> None:
        found.extend(self._actions)
        raise Captured

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    with pytest.raises(Captured):
        COMMANDS[name]([])
    return [action for action in found if action.option_strings]


@pytest.fixture
def rows(name: str) -> list[tuple[str, str, str]]:
    """Option, default and meaning: the rows of the sections of a command."""
    found = []
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        if SECTIONS.get(section.partition("\n")[0]) == name:
            for line in section.splitlines():
                if line.startswith("| `-"):
                    option, default, meaning = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:4])
                    found.append((option.replace("\\|", "|"), default, meaning))
    return found


def spelled(cell: str) -> set[str]:
    """Options that a cell names: `-w`, `--work-dir DIR` are two."""
    return set(re.findall(r"(?:^|[`\s])(--?[a-z][a-z-]*)", cell))


def test_every_option_is_on_the_page_and_nothing_else(
    name: str, actions: list[argparse.Action], rows: list[tuple[str, str, str]]
) -> None:
    # Each option has an underscore spelling too, which the page says once; so it does for --help and --version.
    known = {option for action in actions for option in action.option_strings if "_" not in option}
    if name != "main":
        known -= {"-h", "--help", "--version"}
    assert set().union(*(spelled(option) for option, _, _ in rows)) == known


def test_choices_and_defaults_are_those_of_the_program(
    name: str, actions: list[argparse.Action], rows: list[tuple[str, str, str]]
) -> None:
    sections = {field.name: field for field in dataclasses.fields(cfg.RunConfig)}
    described = {option: row for row in rows for option in spelled(row[0])}
    n_compared = 0
    for action in actions:
        option = next(each for each in action.option_strings if each.startswith("--"))
        if option not in described:  # the other test knows
            continue
        row = described[option]
        for choice in action.choices or ():
            assert str(choice) in " ".join(row), option
        section, dot, field = action.dest.partition(".")
        if dot and section in sections and action.dest not in DEFAULTS_IN_WORDS and action.nargs != 0:
            default = getattr(sections[section].default_factory(), field)  # type: ignore[misc]
            if isinstance(default, (int, float, str)):
                told = f"{default:g}" if isinstance(default, float) else str(default)
                assert row[1].strip("`") == told, option
                n_compared += 1
    assert n_compared >= 18 or name != "main"
