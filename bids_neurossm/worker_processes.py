"""Workers that end with the command they work for, also when it is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver, resource_tracker


def start_fork_server() -> None:
    """Start the process from which workers are forked, unless it runs already.

    Neither it nor its workers hear Ctrl-C, which a terminal sends to all of them: the command does, and ends them.
    """
    resource_tracker.ensure_running()  # unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Watch, in a thread, over the process that this one works for, and end with it.

    A worker of a process pool waits at a pipe whose other end it holds itself: without this it would wait there for
    ever once its parent has been killed, and keep the fork server with it.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()
