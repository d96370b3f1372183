"""Data-parallel training of one model: one process per device of this machine, started by `torch.multiprocessing`.

The launcher of ``torch.distributed.run`` is made for several machines: its agent opens ports on all network interfaces
and replaces the signal handlers of the command. Here the processes find each other through a file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.multiprocessing.spawn import ProcessException, start_processes

from bids_neurossm import errors
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import DeviceUnavailableError, NeuroSSMError, RunError, WorkerLostError
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_json
from bids_neurossm.training.callbacks import Callbacks, Epoch
from bids_neurossm.training.process_group import Ranks
from bids_neurossm.worker_processes import end_with_parent

#: Names of the files that the processes exchange.
MODEL, PROGRESS, RENDEZVOUS, ERROR, LOG = "model.safetensors", "progress.jsonl", "store", "error-{}.json", "rank-{}.log"
_POLL_SECONDS = 0.1
# A process that waits for another one is ended from outside when that one fails, so no wait is too long.
_TIMEOUT = timedelta(days=30)
_STARTING = threading.Lock()


@dataclass(frozen=True)
class Job:
    """What every process receives.

    Attributes
    ----------
    cohort, indices : Cohort, array (n,) of int64
        The training runs; their series stay on disk.
    seed : int
        Of the training.
    name, spec, training, execution : str, ModelSpec, Training, Execution
        Of the estimator. The device is ``cpu`` or ``cuda``; with the latter, each process takes the GPU of its number.
    state_file : Path or None
        Where the training state is kept after every epoch.
    """

    cohort: Cohort
    indices: NDArray[np.int64]
    seed: int
    name: str
    spec: ModelSpec
    training: Training
    execution: Execution
    state_file: Path | None


def check_devices(device: str, wanted: int) -> None:
    """Refuse more GPUs than there are.

    Raises
    ------
    DeviceUnavailableError
        With the number that was found.
    """
    found = torch.cuda.device_count()
    if device == "cuda" and found < wanted:
        raise DeviceUnavailableError(f"--devices {wanted}: {found} usable GPU{'s' * (found != 1)} found here.")


@contextlib.contextmanager
def trained_together(job: Job, follow: Callbacks) -> Iterator[Path]:
    """Train, and give the checkpoint while the context lasts.

    Raises
    ------
    NeuroSSMError
        What one of the processes raised.
    WorkerLostError
        If one of them was killed.
    RunError
        If one of them failed in another way.
    """
    check_devices(job.execution.device, job.execution.devices)
    with tempfile.TemporaryDirectory(prefix="bids-neurossm-ranks-") as name:
        folder = Path(name)
        for file in (PROGRESS, *map(LOG.format, range(job.execution.devices))):
            (folder / file).touch()
        _run(job, folder, follow)
        yield folder / MODEL


def _run(job: Job, folder: Path, follow: Callbacks) -> None:
    """Run the processes to their end and relay their progress; none of them outlives this call."""
    # What torch logs about processes that fail is in the error that is raised.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    with _main_script_hidden():
        started = start_processes(  # type: ignore[no-untyped-call]
            _process, (job, folder), job.execution.devices, join=False, daemon=True
        )
    try:
        with (folder / PROGRESS).open(encoding="utf-8") as stream:
            ended, partial = False, ""
            while not ended:
                ended = started.join(_POLL_SECONDS)
                *lines, partial = (partial + stream.read()).split("\n")
                _relay(lines, follow)
    except ProcessException as error:
        raise failure(folder, [each.exitcode for each in started.processes], error.error_index) from None
    finally:
        for process in started.processes:
            process.kill()
            process.join()


@contextlib.contextmanager
def _main_script_hidden() -> Iterator[None]:
    """Keep new processes from running the main script again; those that Nipype submits to clusters have no guard."""
    with _STARTING:
        main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _relay(lines: Sequence[str], follow: Callbacks) -> None:
    """Pass on what the first process reports."""
    for line in lines:
        told: dict[str, Any] = json.loads(line)
        if "notice" in told:
            follow.notice(told["notice"])
        else:
            follow.epoch(Epoch(**told))


def failure(folder: Path, codes: Sequence[int], first: int) -> NeuroSSMError:
    """Return the error to raise: what a process raised, else which one was killed, else the last line of a log.

    Parameters
    ----------
    folder : Path
        With the files of the processes.
    codes : sequence of int
        Exit code of each process; torch ends those that are left with SIGTERM.
    first : int
        The process that was seen to fail first.
    """
    for rank in range(len(codes)):
        said = folder / ERROR.format(rank)
        if said.is_file():
            table = read_json_object(said, RunError)
            kind: type[NeuroSSMError] = getattr(errors, table["type"])
            return kind(table["message"])
    killed = [rank for rank, code in enumerate(codes) if code < 0 and (rank == first or code != -signal.SIGTERM)]
    if killed:
        return WorkerLostError(
            f"The process of device {killed[0] + 1} of {len(codes)} was killed from outside "
            f"({signal.Signals(-codes[killed[0]]).name}), most likely by the out-of-memory killer; the others were "
            "stopped. Rerun the same command to resume from the last complete epoch."
        )
    log = (folder / LOG.format(first)).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = log[-1] if log else "it left no message"
    return RunError(f"The process of device {first + 1} of {len(codes)} failed: {reason}; the others were stopped.")


def _process(rank: int, job: Job, folder: Path) -> None:
    """Be one of the processes: train, and leave with an exit code, and a file that says what was wrong."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with (folder / LOG.format(rank)).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    code = 1
    try:
        _train(rank, job, folder)
        code = 0
    except NeuroSSMError as error:
        write_json(folder / ERROR.format(rank), {"type": type(error).__name__, "message": str(error)})
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    # Not through the normal end of the interpreter, which may wait for messages from processes that are gone.
    os._exit(code)


def _train(rank: int, job: Job, folder: Path) -> None:
    """Train with the others; the first process reports progress and leaves the checkpoint in `folder`."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    device, size, backend = job.execution.device, job.execution.devices, "gloo"
    if device == "cuda":
        torch.cuda.set_device(rank)
        device, backend = f"cuda:{rank}", "nccl"
    rendezvous = f"file://{folder / RENDEZVOUS}"
    torch.distributed.init_process_group(backend, init_method=rendezvous, rank=rank, world_size=size, timeout=_TIMEOUT)
    with (folder / PROGRESS).open("a", encoding="utf-8", buffering=1) as stream:

        def epoch(told: Epoch) -> None:
            stream.write(json.dumps(told._asdict()) + "\n")

        def notice(text: str) -> None:
            stream.write(json.dumps({"notice": text}) + "\n")

        execution = replace(job.execution, device=device)
        estimator: Any = create_estimator(job.name, job.spec, job.training, execution)
        estimator.follow(Callbacks(epoch, notice), job.state_file)
        estimator.ranks = Ranks(rank, size)
        estimator.fit(job.cohort, job.indices, job.seed)
        if rank == 0:
            estimator.save(folder / MODEL)
    torch.distributed.destroy_process_group()
