"""Running a Nipype workflow and coming back with what failed, whatever happened to the workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bids_neurossm.config import Execution
from bids_neurossm.errors import UsageError
from bids_neurossm.files.safe_reading import MAX_TOML_BYTES, read_utf8
from bids_neurossm.interfaces.records import INTERRUPTED, Record, read_records

_STATUS = Callable[[str, str, bool], None]


def run_workflow(
    workflow: Any,
    execution: Execution,
    records: Path,
    on_end: _STATUS,
    without: Sequence[str] = (),
) -> list[Record]:
    """Run a workflow to its end.

    Parameters
    ----------
    workflow : nipype Workflow
        Its nodes leave records when they fail.
    execution : Execution
        Workers, memory, plugin.
    records : Path
        Folder of the records.
    on_end : callable
        Called with the node's name, the unit it worked on, and whether it failed.
    without : sequence of str
        Optional packages that workers on this machine are to do without.

    Returns
    -------
    list of Record
        One or more for every unit that failed.
    """
    # Crash files are for people; they belong with the scratch of this command.
    workflow.config["execution"]["crashdump_dir"] = str(workflow.base_dir)
    plugin, arguments = _plugin(execution, without)
    arguments["status_callback"] = _status_callback(on_end, records)
    os.environ.setdefault("LOGNAME", "unknown")  # Nipype's batch plugins ask for it
    runner: Any = plugin if isinstance(plugin, str) else plugin(plugin_args=arguments)
    try:
        workflow.run(plugin=runner, plugin_args=arguments)
    except Exception as error:
        # Nodes that failed left records; anything else is a fault of the run as a whole.
        found = read_records(records)
        if not found:
            message = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            found = [Record("workflow", "run", message, 70, str(error))]
        return found
    finally:
        if hasattr(runner, "close"):
            runner.close(kill=True)  # workers that have nothing to do any more, or that were interrupted
    return read_records(records)


def _pass_interrupts_on(records: Path) -> None:
    """Raise again what Nipype took for the failure of a node: the whole command was told to end."""
    from bids_neurossm.cli.process.signals import Terminated

    for record in read_records(records):
        if record.message == INTERRUPTED:
            raise KeyboardInterrupt if record.exit_code == 130 else Terminated


def _plugin(execution: Execution, without: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    if execution.use_plugin is not None:
        return read_plugin_file(execution.use_plugin)
    from bids_neurossm.workflows.worker_pool import ResilientMultiProcPlugin

    arguments: dict[str, Any] = {"n_procs": execution.nprocs, "without": without}
    arguments["node_seconds"] = 3600 * execution.node_hours
    if execution.mem_mb is not None:
        arguments["memory_gb"] = execution.mem_mb / 1000
    return ResilientMultiProcPlugin, arguments


def read_plugin_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Read the name and the arguments of a Nipype plugin.

    Raises
    ------
    UsageError
        If the file is no such table, or Nipype has no plugin of that name.
    """
    import yaml
    from nipype.pipeline import plugins

    try:
        content = yaml.safe_load(read_utf8(path, UsageError, MAX_TOML_BYTES))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"--use-plugin {path} is not readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("plugin"), str):
        raise UsageError(f"--use-plugin {path} must hold `plugin: NAME` and, where wanted, `plugin_args:`.")
    if not hasattr(plugins, f"{content['plugin']}Plugin"):
        known = sorted(name.removesuffix("Plugin") for name in vars(plugins) if name.endswith("Plugin"))
        raise UsageError(f"--use-plugin {path}: Nipype has no plugin {content['plugin']!r}; it has {', '.join(known)}.")
    arguments = content.get("plugin_args") or {}
    if not isinstance(arguments, dict):
        raise UsageError(f"--use-plugin {path}: plugin_args must be a table.")
    return content["plugin"], arguments


def _status_callback(on_end: _STATUS, records: Path) -> Callable[..., None]:
    def callback(node: Any, status: str, *_: Any) -> None:
        if status == "exception":
            _pass_interrupts_on(records)
        if status in ("end", "exception"):
            unit = getattr(getattr(node.interface, "inputs", None), "unit", None)
            on_end(str(node.name), str(unit or node.name), status == "exception")
        elif status == "lost":
            unit = getattr(node.interface.inputs, "unit", node.name)
            print(f"{unit}: its process was killed from outside; it is tried once more, alone.", file=sys.stderr)

    return callback
