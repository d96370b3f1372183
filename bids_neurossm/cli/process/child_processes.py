"""Leave no process behind: the helpers of multiprocessing outlive, for a moment or longer, the command they serve."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from bids_neurossm.worker_processes import end_with_parent, start_fork_server


@contextlib.contextmanager
def no_process_left() -> Iterator[None]:
    """End every process that was started within, and wait until it is gone.

    Workers that are still there are killed, and the fork server is stopped; those of a program that calls a command as
    a function are left alone. The resource tracker has to stay until semaphores are released, so it is stopped when
    the interpreter exits.
    """
    before = set(multiprocessing.active_children())
    server: Any = forkserver._forkserver
    was_running = server._forkserver_pid is not None
    try:
        yield
    finally:
        _end_workers(before)
        if not was_running:
            _stop_server(server)
            atexit.register(_stop_tracker)


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of processes from the fork server, which are killed where the caller is interrupted or fails.

    Leaving a plain pool waits for what its workers are doing.
    """
    start_fork_server()
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def kill_descendants() -> None:
    """Kill what this process has started, and what that has started, without waiting for it."""
    for worker in multiprocessing.active_children():
        worker.kill()
    found = _children(os.getpid())
    for pid in found:  # grows
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP)  # it starts no other one meanwhile
        found += _children(pid)
    for pid in reversed(found):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _end_workers(but: set[BaseProcess]) -> None:
    left = set(multiprocessing.active_children()) - but
    for worker in left:
        worker.kill()
    for worker in left:
        worker.join()


def _stop_server(server: Any) -> None:
    """End the fork server and what it has forked.

    It would wait for its workers; one whose start a signal interrupted is on no list here, and waits for orders.
    """
    pid = server._forkserver_pid
    if pid is None:
        return
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGSTOP)  # it forks no other one meanwhile
        for child in _children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    _stop(server)


def _children(pid: int) -> list[int]:
    """List the children of a process where the system says so; else they end when the command does."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        with contextlib.suppress(OSError, ValueError):
            found += map(int, (thread / "children").read_text(encoding="ascii").split())
    return found


def _stop_tracker() -> None:
    # Semaphores that are still there would start another tracker when they are released.
    util._run_finalizers()  # type: ignore[attr-defined]
    _stop(resource_tracker._resource_tracker)


def _stop(helper: Any) -> None:
    """Stop a helper of multiprocessing and wait for it; does nothing where it does not run."""
    with contextlib.suppress(OSError):  # ended by somebody else
        helper._stop()
