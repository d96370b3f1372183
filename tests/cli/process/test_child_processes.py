"""When a command returns, none of its processes is left."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.started import Start


def participant(simulated: Path, out: Path) -> list[str | Path]:
    return [simulated, out, "participant", "--atlas", "HarvardOxford", "--nprocs", "2"]


def group(simulated: Path, results: Path, out: Path) -> list[str | Path]:
    options = "--target entity:task --recipe demo --folds 4 --baselines none --reference none --nprocs 2"
    return [results, out, "group", "-d", f"raw={simulated}", *options.split()]


@pytest.mark.parametrize("level", ["participant", "group"])
def test_none_is_left_after_a_level(
    level: str, start: Start, simulated: Path, participant_results: Path, tmp_path: Path
) -> None:
    arguments = (
        [*participant(simulated, tmp_path / "out"), "--participant-label", "01", "02"]
        if level == "participant"
        else [*group(simulated, participant_results, tmp_path / "out"), "--no-cpa"]
    )
    command = start("bids_neurossm", *arguments)
    command.wait_for(3)  # the command, the fork server, the resource tracker
    code, told, left = command.end()
    assert code == 0, told
    assert left == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("level", ["participant", "group"])
def test_none_is_left_after_a_signal(
    level: str, number: int, code: int, start: Start, simulated: Path, participant_results: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = participant(simulated, out) if level == "participant" else group(simulated, participant_results, out)
    command = start("bids_neurossm", *arguments)
    command.wait_for(5)  # two workers besides
    os.kill(command.process.pid, number)
    returned, told, left = command.end()
    assert returned == code, told
    assert left == []


def test_none_is_left_after_a_failed_run(start: Start, simulated: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "fmriprep"
    (dataset / "sub-01").parent.mkdir()
    for entry in simulated.iterdir():
        (dataset / entry.name).symlink_to(entry)
    (dataset / "sub-01").unlink()
    (dataset / "sub-01" / "func").mkdir(parents=True)
    for entry in (simulated / "sub-01" / "func").iterdir():
        content = entry.read_bytes()
        (dataset / "sub-01" / "func" / entry.name).write_bytes(content[:2000] if "_bold.nii" in entry.name else content)
    arguments = [*participant(dataset, tmp_path / "out"), "--participant-label", "01", "02", "--stop-on-first-crash"]
    code, told, left = start("bids_neurossm", *arguments).end()
    assert code == 1, told
    assert left == []


def test_none_is_left_after_an_import_and_a_demo(start: Start, tmp_path: Path) -> None:
    np.save(tmp_path / "run.npy", np.random.default_rng(0).standard_normal((64, 4)))
    options = ("--task", "rest", "--orientation", "time-roi")
    imported = start("bids_neurossm.cli.import_series", tmp_path / "run.npy", tmp_path / "out", *options)
    code, told, left = imported.end()
    assert code == 0, told
    assert left == []
    demo = start("bids_neurossm.cli.demo", tmp_path / "demo", "--participants", "5", "--nprocs", "2")
    demo.wait_for(4)  # its first command, with a fork server and a resource tracker
    os.kill(demo.process.pid, signal.SIGTERM)
    code, told, left = demo.end()
    assert code == 143, told
    assert left == []
