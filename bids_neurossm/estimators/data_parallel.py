"""Training one model on several devices of a machine: one process for each, and this one that watches over them.

The processes read the cohort from disk and hand over files; they end with the process that started them, and all of
them end when one does not end well.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import bids_neurossm
from bids_neurossm import errors
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import DeviceUnavailableError, NeuroSSMError, RunError, WorkerLostError
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.training.progress import Callbacks, Epoch

#: Names of the files that the processes hand over.
MODEL, INDICES, JOB, PROGRESS, RENDEZVOUS = "model.safetensors", "indices.npy", "job.json", "progress.jsonl", "store"
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Job:
    """What the processes are to do.

    Attributes
    ----------
    cohort, cohort_hash : str
        Folder and identity of the cohort; which of its runs are meant stands in a file of its own.
    classes : tuple of str
        Of the cohort.
    name, seed : str, int
        Of the estimator and the training.
    keep : str
        File that the state is kept in after every epoch; empty for none.
    device : {"cpu", "cuda"}
        With ``cuda`` each process takes the GPU of its own number.
    precision : str
        Of the matrix products.
    devices : int
        How many processes.
    spec, training : ModelSpec, Training
        Of the estimator.
    """

    cohort: str
    cohort_hash: str
    classes: tuple[str, ...]
    name: str
    seed: int
    keep: str
    device: str
    precision: str
    devices: int
    spec: ModelSpec
    training: Training

    def write(self, folder: Path) -> None:
        """Lay the job into a folder."""
        (folder / JOB).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read what `write` wrote."""
        table = json.loads((folder / JOB).read_text(encoding="utf-8"))
        spec = section_from(ModelSpec, table.pop("spec"), "model")
        training = section_from(Training, table.pop("training"), "training")
        return cls(**{**table, "classes": tuple(table["classes"])}, spec=spec, training=training)

    def open_cohort(self) -> Cohort:
        """Open the cohort under its own identity."""
        return replace(Cohort.open(self.cohort), hash=self.cohort_hash, classes=list(self.classes))

    def execution(self, rank: int) -> Execution:
        """Return where one of the processes works."""
        device = f"cuda:{rank}" if self.device == "cuda" else self.device
        return Execution(device=device, precision=self.precision)


def stored(cohort: Cohort, indices: NDArray[np.int64], scratch: Path) -> tuple[Path, NDArray[np.int64]]:
    """Return a folder where other processes find the runs `indices`, and which rows of it they are.

    A cohort that was altered in memory (time shuffled, labels permuted) is written out to `scratch`.
    """
    if type(cohort) is Cohort and Cohort.open(cohort.folder).hash == cohort.hash:
        return cohort.folder.absolute(), indices
    series = (cohort.raw(int(index)) for index in indices)
    runs = cohort.runs.iloc[indices]
    Cohort.create(scratch, runs, series, cohort.regions, cohort.networks, cohort.target_type, cohort.extra)
    return scratch, np.arange(len(indices))


def check_devices(device: str, wanted: int) -> None:
    """Refuse more GPUs than there are.

    Raises
    ------
    DeviceUnavailableError
        With the number that was found.
    """
    import torch

    found = torch.cuda.device_count()
    if device == "cuda" and found < wanted:
        raise DeviceUnavailableError(f"--devices {wanted}: {found} usable GPU{'s' * (found != 1)} found here.")


@contextlib.contextmanager
def trained_together(job: Job, indices: NDArray[np.int64], follow: Callbacks) -> Iterator[Path]:
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
    check_devices(job.device, job.devices)
    with tempfile.TemporaryDirectory(prefix="bids-neurossm-ranks-") as name:
        folder = Path(name)
        np.save(folder / INDICES, indices, allow_pickle=False)
        job.write(folder)
        (folder / PROGRESS).touch()
        _watched(folder, job.devices, follow)
        yield folder / MODEL


def _watched(folder: Path, devices: int, follow: Callbacks) -> None:
    """Start the processes and wait for them; the failure of one ends all."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        # One by one, so that those that have been started are ended when the next one can not be.
        processes.extend(_started(folder, rank) for rank in range(devices))
        with (folder / PROGRESS).open(encoding="utf-8") as told:
            begun = ""
            while True:
                codes = [process.poll() for process in processes]
                # The last line may still be under way.
                *whole, begun = (begun + told.read()).split("\n")
                _relay(whole, follow)
                if any(codes):
                    time.sleep(_POLL_SECONDS)  # the first that is seen to fail need not be the first that did
                    raise failure(folder, [process.poll() for process in processes])
                if all(code == 0 for code in codes):
                    return
                time.sleep(_POLL_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _started(folder: Path, rank: int) -> subprocess.Popen[bytes]:
    """Start one process; it ends when the pipe to its standard input does, and so with us."""
    package = str(Path(bids_neurossm.__file__).parents[1])
    environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ}
    environment["PYTHONPATH"] = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with (folder / f"rank-{rank}.log").open("wb") as log:
        return subprocess.Popen(
            # -P: what lies in the working folder must not pass for a module.
            [sys.executable, "-P", "-m", "bids_neurossm.estimators.data_parallel_worker", str(folder), str(rank)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=environment,
        )


def _relay(lines: Sequence[str], follow: Callbacks) -> None:
    """Pass on what the first process tells."""
    for line in lines:
        told: dict[str, Any] = json.loads(line)
        if "notice" in told:
            follow.notice(told["notice"])
        else:
            follow.epoch(Epoch(**told))


def failure(folder: Path, codes: Sequence[int | None]) -> NeuroSSMError:
    """Say why they did not end well: what one of them said, else who was killed, else the last line of a log."""
    for rank in range(len(codes)):
        said = folder / f"error-{rank}.json"
        if said.is_file():
            table = json.loads(said.read_text(encoding="utf-8"))
            kind: type[NeuroSSMError] = getattr(errors, table["type"])
            return kind(table["message"])
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            return WorkerLostError(
                f"The process of device {rank + 1} of {len(codes)} was killed from outside "
                f"({signal.Signals(-code).name}), most often by the kernel for want of memory; the others were ended. "
                "Run the same command to go on with the last whole epoch."
            )
    rank = next(rank for rank, code in enumerate(codes) if code)
    log = (folder / f"rank-{rank}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = log[-1] if log else "it left no message"
    return RunError(f"The process of device {rank + 1} of {len(codes)} failed: {reason}; the others were ended.")
