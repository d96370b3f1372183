"""Thousands of small pieces of work in one process: memory and open files must not grow."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from reliability.cohort import SPACE, write_atlas, write_dataset
from reliability.commands import all_of, start
from reliability.kills import Cohort, into
from reliability.outcome import Row, row

PART = "soak"
#: What grows by less than this is flat: numpy and the allocator move a little.
FLAT_KB = 2.0
#: In a short trial caches are still filling.
FEW_KB = 100.0


def rows(folder: Path, full: bool) -> list[Row]:
    """Runs and folds."""
    found = [runs(folder / "runs", 2000 if full else 60)]
    if full:
        found.append(folds(folder / "folds", 500))
    return found


def slope(samples: Sequence[tuple[int, float]]) -> float:
    """Fit the growth of a figure per piece of work, without the first quarter, in which caches fill."""
    later = np.array(samples[len(samples) // 4 :], dtype=np.float64)
    return float(np.polyfit(later[:, 0], later[:, 1], 1)[0])


def runs(folder: Path, n: int) -> Row:
    """Extract, denoise and write a run over and over, as the three nodes of a run do it."""
    from bids_neurossm.atlas import load_parcellation
    from bids_neurossm.config import Extraction, Selection
    from bids_neurossm.dataset.query import find_bold_runs
    from bids_neurossm.interfaces.participant import DenoiseSeries, ExtractParcels, WriteDerivatives
    from bids_neurossm.signal.strategy import load_strategy

    dataset = write_dataset(folder / "fmriprep", (atlas := write_atlas(folder)), 2)
    found = find_bold_runs(dataset, Selection(space=SPACE), "preproc")
    parcellations = [load_parcellation(atlas, SPACE)]
    strategy, extraction = load_strategy("simple", None, None), Extraction()
    process, memory, files = psutil.Process(), [], []
    cwd = folder / "cwd"
    for index in range(n):
        cwd.mkdir()
        run = found[index % len(found)]
        common = {"unit": run.key, "records": str(folder / "records")}
        extract = ExtractParcels(run=run, parcellations=parcellations, hash_cache=str(folder / "hashes"), **common)
        extract._work(cwd)
        clean = DenoiseSeries(
            run=run, parcels=extract._results["parcels"], dataset=str(dataset), strategy=strategy,
            extraction=extraction, **common,
        )  # fmt: skip
        clean._work(cwd)
        write = WriteDerivatives(
            run=run, clean=clean._results["clean"], parcellations=parcellations, strategy=strategy,
            extraction=extraction, bold_hash=extract._results["bold_hash"], dataset=str(dataset),
            out_dir=str(folder / "out"), hash_cache=str(folder / "hashes"), **common,
        )  # fmt: skip
        write._work(cwd)
        shutil.rmtree(cwd)
        memory.append((index, process.memory_info().rss / 1e3))
        files.append((index, float(process.num_fds())))
    return _flat(f"{n} runs, one after the other in one process", memory, files)


def folds(folder: Path, n: int) -> Row:
    """Train hundreds of folds in the process of one group command."""
    cohort = Cohort(folder, 3)
    cohort.extract(folder / "out")
    command = [*into(cohort.group(), folder / "out"), "--retrained-nulls", str(n // 2)]
    said = folder / "said-soak"
    memory, files = [], []
    with all_of([start(command, said)]) as (child,):
        process = psutil.Process(child.pid)
        while child.poll() is None:
            counted = re.findall(r"^\[(\d+)/\d+\]", said.read_text(encoding="utf-8") if said.exists() else "", re.M)
            if counted and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                memory.append((int(counted[-1]), process.memory_info().rss / 1e3))
                files.append((int(counted[-1]), float(process.num_fds())))
            time.sleep(0.2)
    result = _flat(f"{n} fold nodes in one process", [each for each in memory if each[0] <= n], files)
    if child.code != 0:
        result.faults = [f"exit code {child.code}: {child.said()[-500:]}"]
        result.survived = 0
    return result


def _flat(what: str, memory: Sequence[tuple[int, float]], files: Sequence[tuple[int, float]]) -> Row:
    kilobytes, descriptors = slope(memory), slope(files)
    faults = [f"{kilobytes:.2f} kB more for each"] * (kilobytes > (FLAT_KB if len(memory) >= 500 else FEW_KB))
    faults += [f"{descriptors:.4f} open files more for each"] * (abs(descriptors) > 0.01)
    measured = (
        f"memory {memory[-1][1] / 1e3:.0f} MB in the end, slope {kilobytes:+.2f} kB each; "
        f"open files {files[-1][1]:.0f}, slope {descriptors:+.4f} each"
    )
    return row(PART, what, [faults], measured)
