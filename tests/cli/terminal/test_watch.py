"""What trainings tell is seen while the command waits: quietly, and once."""

import io
import json

import pytest
from rich.console import Console as RichConsole

from bids_neurossm.cli.terminal import console as module
from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.cli.terminal.watch import TrainingWatch
from bids_neurossm.interfaces.training_progress import ProgressFile


def _told(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_json_has_a_line_now_and_then_and_every_notice(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "_QUIET_SECONDS", 0.0)
    ProgressFile(tmp_path, "fold-1").epoch(3, 30, 0.7, 58.0)
    ProgressFile(tmp_path, "fold-2").epoch(9, 30, 0.7, 41.2)
    ProgressFile(tmp_path, "fold-2").notice("smaller batches")
    console = Console("json")
    with console.start(10, "models"):
        watch = TrainingWatch(tmp_path, console)
        watch.look()
        watch.ended("fold-1")
        watch.look()
        monkeypatch.setattr(module, "_QUIET_SECONDS", 30.0)
        watch.look()
    notice, both, one = _told(capsys)
    assert (notice["event"], notice["unit"], notice["message"]) == ("warning", "fold-2", "fold-2: smaller batches")
    assert both["event"] == "training"
    assert both["message"] == "fold-1: epoch 3/30, 58 s left; fold-2: epoch 9/30, 41 s left"
    assert one["units"] == ["fold-2: epoch 9/30, 41 s left"]


def test_on_a_terminal_it_stands_behind_the_bar(tmp_path):
    ProgressFile(tmp_path, "fold-1").epoch(15, 30, 0.7, 58.0)
    ProgressFile(tmp_path, "fold-2").epoch(3, 30, 0.7, 41.2)
    console, screen = Console(), io.StringIO()
    console._rich = RichConsole(file=screen, force_terminal=True, width=140)
    with console.start(4, "models"), TrainingWatch(tmp_path, console) as watch:
        watch.look()
        (task,) = console._progress.tasks
        assert task.completed == pytest.approx(0.6)
        console._progress.refresh()
        console.advance("fold-1")
        assert task.completed == 1
    assert "fold-1: epoch 15/30, 58 s left and 1 more" in screen.getvalue()
