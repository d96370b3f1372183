"""A command that is called from a program ends its own processes, and no others."""

from __future__ import annotations

import multiprocessing
import os
import time
from multiprocessing import forkserver

import psutil

from bids_neurossm.cli.process.guard import guarded


def test_the_fork_server_of_a_program_that_calls_a_command_is_left_alone() -> None:
    forkserver.ensure_running()
    server = forkserver._forkserver._forkserver_pid
    worker = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
    worker.start()
    assert guarded(lambda: 0) == 0
    assert psutil.pid_exists(server)
    assert worker.is_alive()
    worker.kill()
    worker.join()


def test_a_worker_that_a_command_forgot_is_ended() -> None:
    started: list[multiprocessing.process.BaseProcess] = []

    def command() -> int:
        worker = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(60,))
        worker.start()
        started.append(worker)
        return 0

    assert guarded(command) == 0
    assert not started[0].is_alive()


def test_a_worker_whose_start_was_interrupted_is_ended_and_not_waited_for() -> None:
    """A signal between the fork and the first order: the worker is on no list, and waits for ever."""
    forkserver._forkserver._stop()  # that of another test
    pids: list[int] = []

    def command() -> int:
        forkserver.ensure_running()
        server = psutil.Process(forkserver._forkserver._forkserver_pid)
        reading, writing = forkserver.connect_to_new_process(())
        while not server.children():
            time.sleep(0.01)
        pids.extend([server.pid, server.children()[0].pid, reading, writing])
        return 0

    assert guarded(command) == 0
    server, worker, reading, writing = pids
    assert not psutil.pid_exists(server)
    end = time.monotonic() + 5  # init reaps it
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
    os.close(reading)
    os.close(writing)
