"""Nipype's MultiProc, made to survive the death of a worker.

Nipype shares one process pool between all workers. When the kernel kills one of them, the whole pool breaks, the
callback of the lost task raises in a thread nobody watches, and the run waits for ever. Here every worker is a pool
of its own: its death concerns the one node that it worked on. That node is tried once more, alone, since what was too
much beside others may well fit without them; if it is lost again it fails with a message. A node that takes longer
than it may is ended in the same way, and not tried again.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from bids_neurossm.errors import WorkerLostError
from bids_neurossm.interfaces.records import Record, write_record
from bids_neurossm.worker_processes import end_with_parent, start_fork_server

#: Loaded once in the server from which workers are forked: they start in milliseconds and share the pages.
_PRELOAD = ("nibabel", "nipype.pipeline.engine", "bids_neurossm.interfaces.base")


def start_server(preload: Sequence[str]) -> None:
    """Start the process from which workers are forked, and let it import while the caller goes on planning.

    Parameters
    ----------
    preload : sequence of str
        Modules that the workers will need. It counts only before the server has started.
    """
    multiprocessing.set_forkserver_preload([*_PRELOAD, *preload])
    start_fork_server()


@dataclass
class _Task:
    """A node that is at work."""

    node: Any
    updatehash: bool
    worker: ProcessPoolExecutor
    began: float
    alone: bool = False
    overdue: bool = False


class ResilientMultiProcPlugin(MultiProcPlugin):  # type: ignore[misc]
    """MultiProc with one pool per worker, started from a fork server.

    Parameters
    ----------
    plugin_args : dict
        As for MultiProc, and ``without``: names of optional packages that workers are to do without;
        ``node_seconds``: the longest that a node may take, without end by default.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        plugin_args = {"mp_context": "forkserver", "raise_insufficient": False, **(plugin_args or {})}
        super().__init__(plugin_args=plugin_args)
        # The shared pool starts its processes on first use; it is never used.
        self.pool.shutdown()
        self._without = tuple(plugin_args.get("without", ()))
        self._node_seconds = float(plugin_args.get("node_seconds", float("inf")))
        self._context = multiprocessing.get_context("forkserver")
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[int, _Task] = {}
        self._lost: dict[int, _Task] = {}  # to be tried once more when nothing else is at work

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        self._begin(int(self._taskid), node, updatehash)
        return int(self._taskid)

    def _begin(self, taskid: int, node: Any, updatehash: bool, alone: bool = False) -> None:
        worker = self._idle.pop() if self._idle and not alone else self._new_worker()
        try:
            future = worker.submit(run_node, node, updatehash, taskid)
        except BrokenProcessPool:  # an idle worker was killed
            worker.shutdown(wait=False)
            worker = self._new_worker()
            future = worker.submit(run_node, node, updatehash, taskid)
        self._busy[taskid] = _Task(node, updatehash, worker, time.monotonic(), alone)
        self._task_obj[taskid] = future
        future.add_done_callback(self._receiver(taskid))

    def _send_procs_to_workers(self, updatehash: bool = False, graph: Any = None) -> None:
        """Look after those at work, and give out more unless one has to be alone; Nipype calls this all the time."""
        for task in list(self._busy.values()):
            if not task.overdue and time.monotonic() - task.began > self._node_seconds:
                task.overdue = True
                _end(task.worker)
        if any(task.alone for task in list(self._busy.values())):
            return
        if self._lost:
            if not self._busy:
                # What sits idle has memory too, which the one that was lost may need.
                self._dismiss_idle()
                taskid, task = self._lost.popitem()
                self._begin(taskid, task.node, task.updatehash, alone=True)
            return
        super()._send_procs_to_workers(updatehash=updatehash, graph=graph)

    def _new_worker(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=self._context,
            initializer=_begin_worker,
            initargs=(self._cwd, self._without),
        )

    def _receiver(self, taskid: int) -> Callable[[Future[Any]], None]:
        def receive(future: Future[Any]) -> None:
            task = self._busy[taskid]
            result: dict[str, Any] | None = None
            try:
                result = future.result()
                self._idle.append(task.worker)
            except BrokenProcessPool:
                task.worker.shutdown(wait=False)
                if task.overdue:
                    result = _failure(task, taskid, _overdue(self._node_seconds))
                elif task.alone:
                    result = _failure(task, taskid, _LOST_TWICE)
                else:
                    self._lost[taskid] = task
                    self._tell(task.node)
            except Exception as error:  # what a worker sends back may fail to unpickle; never wait for it
                task.worker.shutdown(wait=False)
                result = {"result": None, "traceback": format_exception(error), "taskid": taskid}
            if result is not None:
                self._taskresult[taskid] = result
            del self._busy[taskid]

        return receive

    def _tell(self, node: Any) -> None:
        if self._status_callback:
            self._status_callback(node, "lost")

    def _dismiss_idle(self) -> None:
        for worker in self._idle:
            worker.shutdown(wait=False)
        self._idle.clear()

    def _postrun_check(self) -> None:
        self.close()

    def close(self, kill: bool = False) -> None:
        """Let the workers go; with `kill` also those that are at work."""
        if kill:
            self._status_callback: Any = None  # those that are killed here are no news
        workers = [*self._idle, *(task.worker for task in list(self._busy.values()))]
        for worker in workers:
            if kill:
                _end(worker)
            worker.shutdown(wait=not kill, cancel_futures=True)
        self._idle.clear()


def _end(worker: ProcessPoolExecutor) -> None:
    """Kill the process of a worker; what it has started ends with it (`bids_neurossm.estimators.data_parallel`)."""
    for process in list((worker._processes or {}).values()):
        process.kill()


def _begin_worker(folder: str, without: Sequence[str]) -> None:
    end_with_parent()
    process_initializer(folder)
    for name in without:
        # Python takes a package that is None here for not installed. One that is there already stays.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


_LOST_TWICE = (
    "the process that worked on it was killed from outside, and again when it was tried alone, most often by the "
    "kernel for want of memory: it needs more memory than this machine gives"
)


def _overdue(seconds: float) -> str:
    return (
        f"it took longer than the {seconds / 3600:g} hours that --node-hours gives each node, and was ended; if it was "
        "not hung, give more, and run the same command to go on"
    )


def _failure(task: _Task, taskid: int, message: str) -> dict[str, Any]:
    """Record why a worker is no more, and phrase it as Nipype phrases errors."""
    node = task.node
    inputs = node.interface.inputs
    if hasattr(inputs, "records") and hasattr(inputs, "unit"):
        record = Record(str(inputs.unit), type(node.interface).__name__, message, WorkerLostError.exit_code)
        write_record(Path(inputs.records), record)
    traceback = [f"{WorkerLostError.__module__}.{WorkerLostError.__name__}: {node.fullname}: {message}\n"]
    return {"result": None, "traceback": traceback, "taskid": taskid}
