"""Plain threads for compiled kernels, which release the interpreter lock.

Not OpenMP: they survive a fork, and two of them may call the kernels at once.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch


def in_threads(work: Callable[[slice], None], n_units: int, worth: bool) -> None:
    """Spread units of work over as many threads as torch may use, the caller's among them.

    Parameters
    ----------
    work : callable
        Does the units of a slice.
    n_units : int
        How many there are.
    worth : bool
        Whether there is so much to do that starting a thread pays.
    """
    threads = min(torch.get_num_threads(), n_units) if worth else 1
    edges = np.linspace(0, n_units, threads + 1).astype(int)
    own, *others = (slice(a, b) for a, b in pairwise(edges))
    if not others:
        work(own)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        parts = [pool.submit(work, part) for part in others]
        work(own)
        for part in parts:
            part.result()
