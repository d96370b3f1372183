"""One command at a time makes an analysis, with one set of settings; cells of an array run side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from helpers.cubes import group_options, make_dataset, participant_options

from bids_neurossm.cli import analysis_lock as module
from bids_neurossm.cli.analysis_lock import analysis_folder, analysis_lock
from bids_neurossm.errors import UsageError


def locks(out: Path) -> list[str]:
    return sorted(path.name for path in analysis_folder(out, "g").glob("*.lock"))


def left_by(out: Path, name: str, **changed: object) -> Path:
    """Leave a lock as another process would have."""
    path = analysis_folder(out, "g") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**module._this_process(), "started": "2026-01-01", "key": "other", **changed}))
    return path


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False)])
def test_a_second_command_is_refused_while_the_first_is_alive(tmp_path: Path, first: bool, second: bool) -> None:
    with analysis_lock(tmp_path, "g", first):
        held = locks(tmp_path)
        words = rf"analysis g \(process {os.getpid()} on .*wait until it has ended, or give another --analysis-id"
        with pytest.raises(UsageError, match=words), analysis_lock(tmp_path, "g", second):
            pass
        assert locks(tmp_path) == held
    assert locks(tmp_path) == []
    with analysis_lock(tmp_path, "g", second):
        assert len(locks(tmp_path)) == 1


def test_cells_run_side_by_side_and_so_do_other_analyses(tmp_path: Path) -> None:
    with analysis_lock(tmp_path, "g", cell=True), analysis_lock(tmp_path, "g", cell=True):
        assert len(locks(tmp_path)) == 2
        with analysis_lock(tmp_path, "other"):
            pass


def test_the_lock_goes_when_the_command_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), analysis_lock(tmp_path, "g"):
        raise KeyboardInterrupt
    assert locks(tmp_path) == []


@pytest.mark.parametrize("name", ["group.lock", "cell-1.lock"])
def test_the_lock_of_a_dead_process_is_taken_over_at_once(tmp_path: Path, dead_pid: int, name: str) -> None:
    left_by(tmp_path, name, pid=dead_pid)
    with analysis_lock(tmp_path, "g"):
        assert locks(tmp_path) == ["group.lock"]
    left_by(tmp_path, name, born="another process had this number")
    with analysis_lock(tmp_path, "g"):
        assert locks(tmp_path) == ["group.lock"]


def test_a_damaged_lock_is_taken_over(tmp_path: Path) -> None:
    left_by(tmp_path, "group.lock").write_text("{")
    with analysis_lock(tmp_path, "g"):
        assert json.loads((analysis_folder(tmp_path, "g") / "group.lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("elsewhere", [{"host": "node2"}, {"processes": "another container"}])
def test_of_another_machine_the_heartbeat_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, str]
) -> None:
    monkeypatch.setattr(module, "_BEAT", 0.05)
    lock = left_by(tmp_path, "group.lock", **elsewhere)
    ended = threading.Event()
    beating = threading.Thread(target=module._beat, args=(lock, ended))
    beating.start()
    for cell in (False, True):
        with (
            pytest.raises(UsageError, match="Another command is making the analysis"),
            analysis_lock(tmp_path, "g", cell),
        ):
            pass
    ended.set()
    beating.join()
    with analysis_lock(tmp_path, "g"):
        assert json.loads(lock.read_text())["host"] == module._this_process()["host"]


def test_a_lock_that_is_held_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT", 0.05)
    with analysis_lock(tmp_path, "g"):
        assert module._is_touched(analysis_folder(tmp_path, "g") / "group.lock")


def test_a_lock_that_was_taken_over_in_the_meantime_is_put_back(tmp_path: Path) -> None:
    lock = left_by(tmp_path, "group.lock", key="fresh")
    module._remove_dead(lock, {"key": "the one that was read before"})
    assert json.loads(lock.read_text())["key"] == "fresh"
    assert [path.name for path in lock.parent.iterdir()] == ["group.lock"]


@pytest.mark.parametrize(("error", "runs"), [(None, True), (PermissionError(), True), (ProcessLookupError(), False)])
def test_without_proc_a_process_of_another_user_counts_as_alive(
    monkeypatch: pytest.MonkeyPatch, error: OSError | None, runs: bool
) -> None:
    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (7, 0)
        if error is not None:
            raise error

    monkeypatch.setattr(os, "kill", kill)
    assert bool(module._runs(7)) == runs


def test_two_group_commands_at_once_leave_one_analysis(command, environment: dict[str, str], tmp_path: Path) -> None:
    make_dataset(tmp_path, 8)
    done = command(tmp_path / "fmriprep", tmp_path / "out", "participant", *participant_options(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "longer.toml").write_text((tmp_path / "own.toml").read_text().replace("epochs = 1", "epochs = 2"))
    arguments = [str(tmp_path / "out"), str(tmp_path / "results"), "group", *group_options(tmp_path)]
    others = [each.replace("own.toml", "longer.toml") for each in arguments]
    started = [
        subprocess.Popen([sys.executable, "-m", "bids_neurossm", *each], env=environment, stderr=subprocess.PIPE)
        for each in (arguments, others)
    ]
    told = [process.communicate(timeout=300)[1].decode() for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 2], told
    assert "Another command is making the analysis g" in told[codes.index(2)]
    recipe, epochs = (("own.toml", 1), ("longer.toml", 2))[codes.index(0)]
    assert json.loads((tmp_path / "results/group/g/summary.json").read_text())["recipe"] == recipe
    models = list((tmp_path / "results/models/g").glob("*.toml"))
    assert len(models) == 3
    assert all(tomllib.loads(path.read_text())["metrics"]["epochs"] == epochs for path in models)
    refused = command(*(others, arguments)[codes.index(0)])
    assert refused.returncode == 2
    assert "was made with other settings" in refused.stderr
