"""A worker does not outlive the command that it works for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil

_COMMAND = """
import concurrent.futures, multiprocessing, os, time
from bids_neurossm.worker_processes import end_with_parent

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_an_idle_worker_ends_when_its_command_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "command.py"
    script.write_text(_COMMAND)
    command = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    worker = psutil.Process(int(command.stdout.readline()))
    server = worker.parent()
    assert server is not None
    command.send_signal(signal.SIGKILL)
    command.wait()
    _, alive = psutil.wait_procs([worker, server], timeout=20)
    assert alive == []
