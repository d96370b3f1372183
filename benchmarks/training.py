"""What training costs: recipes, length of runs, size of the cohort; beside attention of equal width.

Usage: ``python benchmarks/training.py [--part recipes length store] [--participants 48] [--sizes 100 1000 10000]``.

*recipes*: one epoch of each shipped recipe on simulated runs of its window, with the package's own training step, for
NeuroSSM and for a transformer of the same width whose attention is like BolT's: overlapping windows of 20 time points,
a step of 8, that also look at 24 time points on either side (zeros beyond the ends); 4 blocks. The attention is written
for this benchmark.
*length*: one step of ``hcp-rest`` on 4 runs of 100 to 4,800 time points; besides full attention, up to 1,200.
*store*: building a cohort of 600 time points x 400 regions, one run in memory at a time, and drawing a window of every
run with nothing kept in memory. 10,000 participants take 9.6 GB in the temporary folder, removed at the end.

Every line is a process of its own, so that peak memory is its own. Ratios are those of processor time, which other work
on the machine distorts less than it does the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Training
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.data import RunSet, TrainingSet
from bids_neurossm.training.process_group import ALONE
from bids_neurossm.training.recipes import load_recipe
from bids_neurossm.training.step import Stepper
from bids_neurossm.training.windows import assemble, training_window

RECIPES = {"hcp-rest": (400, 600), "hcp-task": (400, 150), "ppmi": (166, 100)}
LENGTHS = (100, 300, 600, 1200, 2400, 4800)
FULL_UP_TO = 1200


class WindowedAttention(nn.Module):
    """One block: every window of 20 tokens attends to itself and to 24 tokens on either side; overlaps are averaged.

    With `full` one window holds all tokens.
    """

    window, step, fringe = 20, 8, 24

    def __init__(self, width: int, full: bool) -> None:
        super().__init__()
        self.heads, self.full = width // 8, full
        self.norm, self.projections = nn.LayerNorm(width), nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, T, W) to (B, T, W)."""
        query, key, value = self.projections(self.norm(tokens)).chunk(3, dim=-1)
        mixed = self._attended(query, key, value) if self.full else self._windowed(query, key, value)
        tokens = tokens + self.out(mixed)
        return tokens + self.feed(tokens)

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        parts = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (query, key, value))
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)

    def _windowed(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, length, width = query.shape
        windows = max(-(-(length - self.window) // self.step), 0) + 1
        padded = (windows - 1) * self.step + self.window
        query = functional.pad(query, (0, 0, 0, padded - length)).unfold(1, self.window, self.step)
        around = (0, 0, self.fringe, padded - length + self.fringe)
        sides = (
            functional.pad(each, around).unfold(1, self.window + 2 * self.fringe, self.step) for each in (key, value)
        )
        flat = (each.transpose(2, 3).flatten(0, 1) for each in (query, *sides))
        mixed = self._attended(*flat).unflatten(0, (batch, windows))
        # Windows overlap: add them up where they belong, and divide by how many there are.
        columns = mixed.permute(0, 3, 2, 1).reshape(batch, width * self.window, windows)
        ones = torch.ones(1, self.window, windows)
        summed, counts = (
            functional.fold(each, (padded, 1), (self.window, 1), stride=(self.step, 1)) for each in (columns, ones)
        )
        return (summed / counts)[:, :, :length, 0].transpose(1, 2)


class Transformer(nn.Module):
    """Blocks of attention over time, mean over time, linear head; takes what a NeuroSSM takes."""

    def __init__(self, regions: int, width: int, blocks: int, full: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace(n_outputs=2)
        self.embedding = nn.Linear(regions, width)
        self.blocks = nn.Sequential(*(WindowedAttention(width, full) for _ in range(blocks)))
        self.head = nn.Linear(width, 2)

    def forward(self, series: Tensor, lengths: Tensor, *_: Tensor | None) -> Tensor:
        """Return logits (B, 2); the arguments are those of `NeuroSSM.forward`, one piece a run."""
        tokens = self.blocks(self.embedding(series))
        valid = (torch.arange(tokens.shape[1]) < lengths[:, None])[:, :, None]
        return self.head((tokens * valid).sum(dim=1) / lengths[:, None])


def stepper_for(side: str, recipe: str, regions: int, length: int, runs: int) -> Stepper:
    """Return the training step of one side on simulated runs."""
    settings, training = load_recipe(recipe)
    generator = np.random.default_rng(0)
    series = [generator.normal(size=(length, regions)).astype(np.float32) for _ in range(runs)]
    data = TrainingSet(RunSet.in_memory(series, [str(i) for i in range(runs)]), np.arange(runs) % 2)
    torch.manual_seed(0)
    if side == "NeuroSSM":
        settings |= {"scales": tuple(settings["scales"]), "streams": tuple(settings["streams"])}
        model: Any = NeuroSSM(NeuroSSMConfig(n_regions=regions, n_outputs=2, **settings))
    else:
        model = Transformer(regions, settings["width"], blocks=4, full=side == "full attention")
    model.train()
    own = Training(**{**vars(training), "batch_size": min(training.batch_size, runs)})
    return Stepper(model, data, own, None, 10_000, "float32", ALONE, print)


def measure_training(side: str, recipe: str, regions: int, length: int, runs: int, repeats: int) -> dict[str, float]:
    """Time epochs over the runs; the first one, with compilation, does not count."""
    stepper = stepper_for(side, recipe, regions, length, runs)
    before = memory()
    wall, processor = float("inf"), float("inf")
    for number in range(repeats + 1):
        start = time.perf_counter(), time.process_time()
        for part in torch.arange(runs).tensor_split(-(-runs // stepper.settings.batch_size)):
            stepper.step(part.tolist(), torch.Generator(), 0)
        if number:
            wall = min(wall, time.perf_counter() - start[0])
            processor = min(processor, time.process_time() - start[1])
    parameters = sum(each.numel() for each in stepper.model.parameters())
    return {"wall": wall, "processor": processor, "memory": memory() - before, "parameters": parameters}


def measure_store(participants: int, length: int, regions: int) -> dict[str, float]:
    """Build a cohort and draw a window of 150 time points of every run, in batches of 16."""
    base = np.random.default_rng(0).normal(size=(length, regions)).astype(np.float32) * 10 + 1000
    table = pd.DataFrame({"run": [f"sub-{i:05d}" for i in range(participants)]})
    table = table.assign(participant_id=table["run"], label=["a", "b"] * (participants // 2))
    before = memory()
    with tempfile.TemporaryDirectory(prefix="neurossm-store-") as folder:
        start, processor = time.perf_counter(), time.process_time()
        series = (base + np.float32(i) for i in range(participants))
        names = [f"region-{r}" for r in range(regions)]
        cohort = Cohort.create(Path(folder), table, series, names, ["-"] * regions, "class")
        built, peak = (time.perf_counter() - start, time.process_time() - processor), memory()
        start = time.perf_counter()
        cohort = Cohort.open(folder)
        opened = time.perf_counter() - start
        generator = torch.Generator().manual_seed(0)
        start, processor = time.perf_counter(), time.process_time()
        for part in torch.randperm(participants, generator=generator).split(16):
            drawn = [(i, training_window(cohort.segments(i), 150, generator)) for i in part.tolist()]
            assemble([(cohort.standardised(i), window) for i, window in drawn])
        epoch = time.perf_counter() - start, time.process_time() - processor
    return {
        **{"build": built[0], "build processor": built[1], "open": opened, "epoch": epoch[0]},
        **{"epoch processor": epoch[1], "built": peak - before, "memory": memory() - before},
    }


def memory() -> float:
    """Return the peak memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_process(what: str, *arguments: Any) -> dict[str, float]:
    """Measure in a process of its own."""
    # -P: scripts beside this one must not pass for modules of the same name.
    command = [sys.executable, "-P", __file__, "--measure", json.dumps([what, *arguments])]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def header(*names: str) -> None:
    """Print the head of a Markdown table."""
    print(f"| {' | '.join(names)} |\n|{'---|' * len(names)}", flush=True)


def recipes(participants: int) -> None:
    """Print a row for each recipe and side."""
    print(f"\n{participants} participants of one run; seconds of an epoch of 100; MB beyond what importing takes\n")
    header("recipe", "side", "parameters", "s per epoch of 100", "processor s", "participants / s", "peak MB", "ratio")
    for recipe, (regions, length) in RECIPES.items():
        ours = 0.0
        for side in ("NeuroSSM", "windowed attention"):
            found = in_process("training", side, recipe, regions, length, participants, 2)
            each = {name: found[name] / participants for name in ("wall", "processor")}
            ours = ours or each["processor"]
            print(
                f"| `{recipe}`, {regions} x {length} | {side} | {found['parameters']:,.0f} "
                f"| {100 * each['wall']:.2f} | {100 * each['processor']:.2f} | {1 / each['wall']:.0f} "
                f"| {found['memory']:.0f} | {each['processor'] / ours:.2f} |",
                flush=True,
            )


def lengths() -> None:
    """Print a row for each length."""
    print("\n`hcp-rest`, 4 runs a step: processor seconds of a step (peak MB)\n")
    header("T", "NeuroSSM", "per time point, relative to T = 100", "windowed attention", "full attention")
    first = 0.0
    for length in LENGTHS:
        cells = []
        for side in ("NeuroSSM", "windowed attention", "full attention"):
            if side == "full attention" and length > FULL_UP_TO:
                cells.append("-")
                continue
            found = in_process("training", side, "hcp-rest", 400, length, 4, 3)
            cells.append(f"{found['processor']:.3f} ({found['memory']:.0f})")
            if side == "NeuroSSM":
                per_point = found["processor"] / length
                first = first or per_point
                cells.append(f"{per_point / first:.2f}")
        print(f"| {length:,} | {' | '.join(cells)} |", flush=True)


def store(sizes: list[int]) -> None:
    """Print a row for each size."""
    print("\ncohort store, 600 time points x 400 regions; MB beyond what importing takes\n")
    per = ("processor s per 1,000: build, epoch", "peak MB: build, epoch")
    header("participants", "GB on disk", "build, s", "open, s", "epoch of windows, s", *per)
    for size in sizes:
        found = in_process("store", size, 600, 400)
        each = [1000 * found[f"{name} processor"] / size for name in ("build", "epoch")]
        print(
            f"| {size:,} | {size * 600 * 400 * 4 / 1e9:.2f} | {found['build']:.1f} | {found['open']:.2f} | "
            f"{found['epoch']:.1f} | {each[0]:.2f}, {each[1]:.2f} | {found['built']:.0f}, {found['memory']:.0f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("recipes", "length", "store")
    parser.add_argument("--part", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--participants", type=int, default=48)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, *arguments = json.loads(options.measure)
        print(json.dumps((measure_store if what == "store" else measure_training)(*arguments)))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "recipes" in options.part:
        recipes(options.participants)
    if "length" in options.part:
        lengths()
    if "store" in options.part:
        store(options.sizes)


if __name__ == "__main__":
    main()
