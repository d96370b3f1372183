"""Nipype's MultiProc, made to survive the death of a worker.

Nipype shares one process pool between all workers. When the kernel kills one of them, the whole pool breaks, the
callback of the lost task raises in a thread nobody watches, and the run waits for ever. Here every worker is a pool
of its own: its death concerns the one node that it worked on, which fails with a message, and the next node gets a
fresh worker.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from pathlib import Path
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer, run_node

from bids_neurossm.errors import WorkerLostError
from bids_neurossm.interfaces.records import Record, write_record

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
    forkserver.ensure_running()


class ResilientMultiProcPlugin(MultiProcPlugin):  # type: ignore[misc]
    """MultiProc with one pool per worker, started from a fork server.

    Parameters
    ----------
    plugin_args : dict
        As for MultiProc, and ``without``: names of optional packages that workers are to do without.
    """

    def __init__(self, plugin_args: dict[str, Any] | None = None) -> None:
        plugin_args = {"mp_context": "forkserver", "raise_insufficient": False, **(plugin_args or {})}
        super().__init__(plugin_args=plugin_args)
        # The shared pool starts its processes on first use; it is never used.
        self.pool.shutdown()
        self._without = tuple(plugin_args.get("without", ()))
        self._context = multiprocessing.get_context("forkserver")
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[int, ProcessPoolExecutor] = {}

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        taskid = int(self._taskid)
        worker = self._idle.pop() if self._idle else self._new_worker()
        try:
            future = worker.submit(run_node, node, updatehash, taskid)
        except BrokenProcessPool:  # an idle worker was killed
            worker.shutdown(wait=False)
            worker = self._new_worker()
            future = worker.submit(run_node, node, updatehash, taskid)
        self._busy[taskid] = worker
        self._task_obj[taskid] = future
        future.add_done_callback(self._receiver(taskid, node))
        return taskid

    def _new_worker(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=1,
            mp_context=self._context,
            initializer=_begin_worker,
            initargs=(self._cwd, self._without),
        )

    def _receiver(self, taskid: int, node: Any) -> Callable[[Future[Any]], None]:
        def receive(future: Future[Any]) -> None:
            worker = self._busy.pop(taskid)
            try:
                result = future.result()
                self._idle.append(worker)
            except BrokenProcessPool:
                worker.shutdown(wait=False)
                result = {"result": None, "traceback": _lost(node), "taskid": taskid}
            except Exception as error:  # what a worker sends back may fail to unpickle; never wait for it
                worker.shutdown(wait=False)
                result = {"result": None, "traceback": format_exception(error), "taskid": taskid}
            self._taskresult[taskid] = result

        return receive

    def _postrun_check(self) -> None:
        self.close()

    def close(self, kill: bool = False) -> None:
        """Let the workers go; with `kill` also those that are at work."""
        workers = [*self._idle, *self._busy.values()]
        for worker in workers:
            if kill:
                for process in list((worker._processes or {}).values()):
                    process.kill()
            worker.shutdown(wait=not kill, cancel_futures=True)
        self._idle.clear()


def _begin_worker(folder: str, without: Sequence[str]) -> None:
    process_initializer(folder)
    for name in without:
        # Python takes a package that is None here for not installed. One that is there already stays.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def _lost(node: Any) -> list[str]:
    """Record the death of a worker, and phrase it as Nipype phrases errors."""
    message = (
        "the process that worked on it was killed from outside, most often by the kernel for want of memory; give "
        "--mem-mb or fewer --nprocs"
    )
    inputs = node.interface.inputs
    if hasattr(inputs, "records") and hasattr(inputs, "unit"):
        record = Record(str(inputs.unit), type(node.interface).__name__, message, WorkerLostError.exit_code)
        write_record(Path(inputs.records), record)
    return [f"{WorkerLostError.__module__}.{WorkerLostError.__name__}: {node.fullname}: {message}\n"]
