"""What a command prints: for people, as JSON, and to its log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_neurossm.cli.terminal.console import Console


def test_an_event_is_a_sentence_for_people_and_a_line_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Console(log_file=tmp_path / "logs" / "run.jsonl").event("warning", "[red]x\x1b[31m", unit="sub-01")
    assert capsys.readouterr().out == "[red]x\\u001b[31m\n"
    (line,) = (tmp_path / "logs" / "run.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert (record["event"], record["message"], record["unit"]) == ("warning", "[red]x\x1b[31m", "sub-01")


def test_as_json_a_table_is_one_event_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    Console("json").table("Plan", ("what", "value"), [("runs", 3), ("atlas", "AAL3")])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["event"], each["message"], each["what"], each["value"]) for each in rows] == [
        ("row", "Plan", "runs", 3),
        ("row", "Plan", "atlas", "AAL3"),
    ]


def test_a_script_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    script = '#!/bin/bash\n[ -n "$X" ] && echo :smile: ' + "x" * 300
    Console().verbatim("script", script)
    assert capsys.readouterr().out == script + "\n"


def test_units_are_counted_and_failures_are_told_even_where_lines_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    for lines, wanted in (
        (True, ["[1/2] a done, 0 s so far", "[2/2] b failed, 0 s so far"]),
        (False, ["[2/2] b failed"]),
    ):
        console = Console()
        with console.start(2, "runs", lines=lines):
            console.advance("a")
            console.advance("b", failed=True)
        told = capsys.readouterr().out.splitlines()
        assert len(told) == len(wanted)
        for line, start in zip(told, wanted, strict=True):
            assert line.startswith(start)
