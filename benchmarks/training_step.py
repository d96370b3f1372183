"""One training step of each recipe: pathways together, as the package does it, against pathway by pathway.

Usage: ``python benchmarks/training_step.py [--regions 400] [--batch 16] [--repeats 10] [--threads 2]``. A step is the
forward pass, the loss, the backward pass, clipping and AdamW, on random series. The other side is the same model as its
definition reads: every pathway's input is made and embedded on its own, goes through its own convolution (a sum over
shifted copies) and its own scan, and dropout is torch's. Sides take turns. Printed: the best wall time of a step, and
the processor time of a step over all threads, which with one thread is about the same on a busy machine.
"""

from __future__ import annotations

import argparse
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

import bids_neurossm
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.ops.convolution import convolution_reference


class OneByOne(NeuroSSM):
    """The same model, pathway by pathway."""

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the features of each run; every series is a run here."""
        regions = functional.dropout(
            series.new_ones(len(series), 1, series.shape[2]), self.config.region_dropout, self.training
        )
        inputs = self.pathway_inputs(series, lengths, repetition_times)
        features = []
        for (values, valid), (stream, _), layers in zip(inputs, self.config.pathways, self.pathway_layers, strict=True):
            sequence = functional.gelu(self.embeddings[stream](values * regions))
            sequence = layers(functional.dropout(sequence, self.config.dropout, self.training), valid)
            inside = torch.arange(sequence.shape[1]) < valid[:, None]
            features.append((sequence * inside[:, :, None]).sum(dim=1) / valid[:, None])
        return functional.layer_norm(torch.stack(features, dim=1), (self.config.width,))


def step(model: NeuroSSM, optimizer: torch.optim.Optimizer, series: Tensor, lengths: Tensor, goal: Tensor) -> None:
    """Train on one batch."""
    loss = functional.cross_entropy(model(series, lengths), goal, label_smoothing=0.1)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def one_by_one() -> ExitStack:
    """Have layers convolve and drop out in plain torch while this is open."""
    stack = ExitStack()
    stack.enter_context(patch("bids_neurossm.models.mamba.causal_convolution", convolution_reference))
    stack.enter_context(patch("bids_neurossm.models.selective_layers.dropout", functional.dropout))
    stack.enter_context(patch("bids_neurossm.models.neurossm.dropout", functional.dropout))
    return stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("regions", 400), ("batch", 16), ("repeats", 10), ("threads", torch.get_num_threads())):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{torch.get_num_threads()} threads, {options.batch} runs, {options.regions} regions; ms per step")
    print(f"{'recipe':12} {'window':>6} | {'together':>9} {'one by one':>10} {'ratio':>6} | processor time, the same")
    for path in sorted((Path(bids_neurossm.__file__).parent / "data" / "recipes").glob("*.toml")):
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = {key: tuple(value) if isinstance(value, list) else value for key, value in recipe["model"].items()}
        if settings.get("scale_unit") == "seconds" or "window" not in recipe["training"]:
            continue
        window = recipe["training"]["window"]
        config = NeuroSSMConfig(n_regions=options.regions, n_outputs=2, **settings)
        series, lengths = torch.randn(options.batch, window, options.regions), torch.full((options.batch,), window)
        sides = []
        for kind in (NeuroSSM, OneByOne):
            model = kind(config).train()
            sides.append((model, torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)))
        wall, processor = [float("inf")] * 2, [float("inf")] * 2
        for number in range(options.repeats + 2):
            for side, (model, optimizer) in enumerate(sides):
                with one_by_one() if side else ExitStack():
                    start, used = time.perf_counter(), time.process_time()
                    step(model, optimizer, series, lengths, torch.arange(options.batch) % 2)
                    if number >= 2:
                        wall[side] = min(wall[side], time.perf_counter() - start)
                        processor[side] = min(processor[side], time.process_time() - used)
        columns = [f"{a * 1e3:9.1f} {b * 1e3:10.1f} {b / a:6.2f}" for a, b in (wall, processor)]
        print(f"{path.stem:12} {window:6d} | {' | '.join(columns)}")


if __name__ == "__main__":
    main()
