"""One of several processes that train a model together; `bids_neurossm.estimators.data_parallel` starts it."""

from __future__ import annotations

import json
import os
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.estimators.data_parallel import INDICES, MODEL, PROGRESS, RENDEZVOUS, Job
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.training.process_group import Ranks
from bids_neurossm.training.progress import Callbacks, Epoch

# Whoever waits is ended from outside when another one fails: no waiting is too long.
_TIMEOUT = timedelta(days=30)


def main(folder: Path, rank: int) -> int:
    """Train with the others; the first one leaves the checkpoint in `folder`.

    Returns
    -------
    int
        Exit code; what was wrong stands in ``error-<rank>.json``.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job = Job.read(folder)
    if job.device == "cuda":
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(
        "nccl" if job.device == "cuda" else "gloo",
        init_method=f"file://{folder / RENDEZVOUS}",
        rank=rank,
        world_size=job.devices,
        timeout=_TIMEOUT,
    )
    with (folder / PROGRESS).open("a", encoding="utf-8", buffering=1) as stream:

        def epoch(told: Epoch) -> None:
            stream.write(json.dumps(told._asdict()) + "\n")

        def notice(text: str) -> None:
            stream.write(json.dumps({"notice": text}) + "\n")

        estimator: Any = create_estimator(job.name, job.spec, job.training, job.execution(rank))
        estimator.follow(Callbacks(epoch, notice), Path(job.keep) if job.keep else None)
        estimator.ranks = Ranks(rank, job.devices)
        try:
            estimator.fit(job.open_cohort(), np.load(folder / INDICES, allow_pickle=False), job.seed)
            if rank == 0:
                estimator.save(folder / MODEL)
        except NeuroSSMError as error:
            said = {"type": type(error).__name__, "message": str(error)}
            (folder / f"error-{rank}.json").write_text(json.dumps(said), encoding="utf-8")
            return error.exit_code
    torch.distributed.destroy_process_group()
    return 0


def _end_with_parent() -> None:
    """Wait for the end of standard input, which comes when the process that started this one is gone."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stderr.flush()
    # Not by way of the interpreter's end, which may wait for messages of processes that are gone.
    os._exit(code)
