"""The log folder of a command: its settings, its events, and tracebacks of bugs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from bids_neurossm.cli.terminal.logs import begin, write_crashes
from bids_neurossm.config import Extraction, RunConfig
from bids_neurossm.interfaces.records import Record


def test_settings_are_written_before_the_first_event(tmp_path: Path) -> None:
    config = RunConfig(tmp_path / "in", tmp_path / "out", "participant", extraction=Extraction(("AAL3",)))
    console, folder = begin(config)
    assert folder.parent == tmp_path / "out" / "logs"
    assert folder.name.split("_")[1] == "participant"
    assert tomllib.loads((folder / "config.toml").read_text())["extraction"]["atlas"] == ["AAL3"]
    assert [path.name for path in folder.iterdir()] == ["config.toml"]
    console.event("note", "begun")
    assert (folder / "run.jsonl").is_file()
    assert begin(config)[1] != folder


def test_only_tracebacks_are_kept_under_names_that_are_safe(tmp_path: Path) -> None:
    records = [Record("fold 1/seed 2", "TrainCell", "bug", 70, "Traceback ..."), Record("sub-01", "x", "no mask", 1)]
    write_crashes(tmp_path, records)
    (path,) = tmp_path.iterdir()
    assert path.name == "crash-fold_1_seed_2.txt"
    assert path.read_text() == "fold 1/seed 2: TrainCell\n\nTraceback ..."
