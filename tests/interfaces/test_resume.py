"""A record vouches for the files that it was written with, and for no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.files import record_format
from bids_neurossm.files.sidecar_hashes import OUTPUT_HASHES, stated_hashes, text_hash
from bids_neurossm.interfaces import participant
from bids_neurossm.interfaces.inputs import input_hashes
from bids_neurossm.interfaces.participant import _Table, _write
from bids_neurossm.interfaces.provenance import requested_settings
from bids_neurossm.interfaces.resume import input_hash, is_finished, read_sidecar
from bids_neurossm.signal.strategy import Strategy


@pytest.fixture
def outputs(tmp_path: Path) -> RunOutputs:
    return RunOutputs(tmp_path, {"sub": "01", "task": "rest"}, {"atlas": "X"}, "none")


def tables(outputs: RunOutputs, text: str) -> dict[Path, _Table]:
    """All tables of a run, each with a text of its own."""
    names = [*outputs.described()[1:], outputs.relations("covariance"), outputs.timeseries]
    return {path: _Table(f"{text} {path.name}\n", {} if path != outputs.timeseries else None) for path in names}


def write(outputs: RunOutputs, text: str) -> None:
    """Write a run whose input hash is its text."""
    _write(outputs, tables(outputs, text), {"InputHash": text})


def finished(outputs: RunOutputs, text: str) -> bool:
    return is_finished(outputs, text, ["covariance"])


def test_the_sidecar_states_the_hash_of_every_table(outputs: RunOutputs) -> None:
    write(outputs, "one")
    stated = read_sidecar(outputs.timeseries)[OUTPUT_HASHES]
    assert stated == {path.name: text_hash(table.text) for path, table in tables(outputs, "one").items()}
    assert len(stated) == 5
    assert finished(outputs, "one")
    assert not finished(outputs, "two")


@pytest.mark.parametrize("calls", range(9))
def test_a_run_that_is_replaced_is_finished_under_neither_setting_until_the_end(
    outputs: RunOutputs, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    """The process ends before the n-th of its nine writes; the tables come with four sidecars of their own."""
    write(outputs, "one")
    left = iter([*[True] * calls, False])
    original = {name: getattr(participant, name) for name in ("write_text", "write_json")}

    def ending(name: str) -> Any:
        def writing(path: Path, content: Any) -> None:
            if not next(left):
                raise KeyboardInterrupt
            original[name](path, content)

        return writing

    for name in original:
        monkeypatch.setattr(participant, name, ending(name))
    with pytest.raises(KeyboardInterrupt):
        write(outputs, "two")
    assert not finished(outputs, "one")
    assert not finished(outputs, "two")
    monkeypatch.undo()
    write(outputs, "one")
    assert finished(outputs, "one")


def test_a_twin_that_writes_the_same_bytes_never_removes_the_sidecar(
    outputs: RunOutputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    unlink = Path.unlink

    def recorded(path: Path, missing_ok: bool = False) -> None:
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", recorded)
    sidecar = outputs.timeseries.with_suffix(".json").name
    write(outputs, "one")
    removed.clear()
    write(outputs, "one")
    assert sidecar not in removed
    write(outputs, "two")
    assert sidecar in removed


@pytest.mark.parametrize("place", range(5))
def test_a_table_that_was_cut_short_or_removed_is_not_finished(outputs: RunOutputs, place: int) -> None:
    write(outputs, "one")
    path = [*outputs.described(), outputs.relations("covariance")][place]
    path.write_text(path.read_text()[:-4])
    assert not finished(outputs, "one")
    path.unlink()
    assert not finished(outputs, "one")


def test_the_coverage_table_may_be_that_of_another_strategy(outputs: RunOutputs) -> None:
    """Strategies share it; the last one that was run wrote it."""
    other = outputs.with_strategy("simple")
    write(outputs, "one")
    write(other, "two")
    assert finished(outputs, "one")
    assert finished(other, "two")
    outputs.coverage.write_text("of neither\n")
    assert not finished(outputs, "one")
    assert not finished(other, "two")


def test_a_matrix_that_is_not_asked_for_may_be_missing_but_not_damaged(outputs: RunOutputs) -> None:
    write(outputs, "one")
    outputs.relations("covariance").write_text("cut")
    assert not is_finished(outputs, "one")
    outputs.relations("covariance").unlink()
    assert is_finished(outputs, "one")


def test_a_sidecar_of_the_first_release_states_no_hashes_and_is_taken_as_it_is(outputs: RunOutputs) -> None:
    write(outputs, "one")
    path = outputs.timeseries.with_suffix(".json")
    path.write_text(json.dumps({"InputHash": "one"}))
    assert stated_hashes(read_sidecar(outputs.timeseries)) == {}
    assert finished(outputs, "one")
    outputs.motion.unlink()
    assert not finished(outputs, "one")


def test_the_input_hash_is_the_one_that_0_1_0_wrote(run: BoldRun) -> None:
    """Computed by 0.1.0: finished runs of that version are kept."""
    atlas: Any = SimpleNamespace(sha256="a" * 64, labels=(1, 2), names=("A", "B"), space="X")
    strategy = Strategy(name="x", columns=("csf",), high_pass=0.01)
    found = input_hash(run, atlas, strategy, Extraction(fd_threshold=0.5), input_hashes(run, None))
    assert found == "672beac5bc904f3235919c9d2fde34c08fd67755fda37678c5f28e27355b721d"


def test_records_of_another_format_have_another_input_hash(run: BoldRun, monkeypatch: pytest.MonkeyPatch) -> None:
    atlas: Any = SimpleNamespace(sha256="a" * 64, labels=(1, 2), names=("A", "B"), space="X")
    inputs = (run, atlas, Strategy(name="x"), Extraction(), input_hashes(run, None))
    first = input_hash(*inputs)
    monkeypatch.setattr(record_format, "RECORD_FORMAT", 2)
    assert input_hash(*inputs) != first


def test_requested_settings_are_the_same_for_a_strategy_of_another_name() -> None:
    strategy = Strategy(name="x", description="a", columns=("csf",), high_pass=0.01)
    renamed = replace(strategy, name="y", description="b", citation="c")
    wanted = requested_settings(strategy, Extraction())
    assert wanted == requested_settings(renamed, Extraction())
    assert {name: value for name, value in wanted.items() if name != "StrategyHash"} == {
        "DummyScans": "auto",
        "FramewiseDisplacementThreshold": "n/a",
        "HighPass": 0.01,
        "LowPass": "n/a",
        "MinimumCoverage": 0.5,
        "MinimumVolumes": 50,
        "MinimumDegreesOfFreedom": 15,
        "MaximumUncovered": 0.2,
    }
    other = requested_settings(replace(strategy, columns=("csf", "white_matter")), Extraction(dummy_scans=0))
    assert [name for name in wanted if wanted[name] != other[name]] == ["DummyScans", "StrategyHash"]
