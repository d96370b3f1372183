"""Workflows are run by the plugin that was asked for, and their failures are gathered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bids_neurossm.cli.process.signals import Terminated
from bids_neurossm.cli.workflow_engine import read_plugin_file, run_workflow
from bids_neurossm.config import Execution
from bids_neurossm.errors import UsageError
from bids_neurossm.interfaces.records import INTERRUPTED, Record, read_records, write_record


def plugin_file(folder: Path, text: str = "plugin: Linear\n") -> Path:
    path = folder / "plugin.yml"
    path.write_text(text)
    return path


def test_a_plugin_has_a_name_and_arguments(tmp_path: Path) -> None:
    assert read_plugin_file(plugin_file(tmp_path)) == ("Linear", {})
    text = "plugin: SLURM\nplugin_args:\n  sbatch_args: --time=1:00:00\n"
    assert read_plugin_file(plugin_file(tmp_path, text)) == ("SLURM", {"sbatch_args": "--time=1:00:00"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plugin: [", "is not readable YAML"),
        ("- Linear\n", "must hold `plugin: NAME`"),
        ("plugin: 3\n", "must hold `plugin: NAME`"),
        ("plugin: Lineal\n", "Nipype has no plugin 'Lineal'; it has .*Linear, .*MultiProc"),
        ("plugin: Linear\nplugin_args: 4\n", "plugin_args must be a table"),
        ("plugin: !!python/object/apply:os.system ['true']\n", "is not readable YAML"),
    ],
)
def test_a_plugin_file_that_can_not_be_used_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_plugin_file(plugin_file(tmp_path, text))


class Workflow:
    """It ends as it is told, after it has called back for one node."""

    def __init__(self, folder: Path, status: str = "end", error: BaseException | None = None) -> None:
        self.base_dir = folder
        self.config: dict[str, dict[str, str]] = {"execution": {}}
        self._status, self._error = status, error

    def run(self, plugin: Any, plugin_args: dict[str, Any]) -> None:
        node = SimpleNamespace(name="extract", interface=SimpleNamespace(inputs=SimpleNamespace(unit="sub-01")))
        plugin_args["status_callback"](node, self._status)
        if self._error is not None:
            raise self._error


def run(folder: Path, **how: Any) -> tuple[list[Record], list[tuple[str, str, bool]]]:
    ended: list[tuple[str, str, bool]] = []
    execution = Execution(use_plugin=plugin_file(folder))
    found = run_workflow(Workflow(folder, **how), execution, folder / "records", lambda *told: ended.append(told))
    return found, ended


@pytest.mark.parametrize(("status", "failed"), [("end", False), ("exception", True)])
def test_each_node_that_ends_is_told_with_its_unit(tmp_path: Path, status: str, failed: bool) -> None:
    assert run(tmp_path, status=status) == ([], [("extract", "sub-01", failed)])


def test_nodes_that_failed_left_records_and_anything_else_is_a_fault_of_the_whole(tmp_path: Path) -> None:
    error = RuntimeError("many lines\nthe last one")
    assert run(tmp_path, error=error)[0] == [Record("workflow", "run", "the last one", 70, "many lines\nthe last one")]
    write_record(tmp_path / "records", Record("sub-01", "extract", "no mask", 1))
    assert run(tmp_path, error=error)[0] == [Record("sub-01", "extract", "no mask", 1)]


@pytest.mark.parametrize(("code", "raised"), [(130, KeyboardInterrupt), (143, Terminated)])
def test_an_interrupt_that_nipype_took_for_a_failed_node_is_raised_again(
    tmp_path: Path, code: int, raised: type[BaseException]
) -> None:
    write_record(tmp_path / "records", Record("sub-01", "extract", INTERRUPTED, code))
    with pytest.raises(raised):
        run(tmp_path, status="exception")
    assert len(read_records(tmp_path / "records")) == 1


def test_a_worker_that_was_killed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, status="lost")[1] == []
    assert capsys.readouterr().err == "sub-01: its process was killed from outside; it is tried once more, alone.\n"
