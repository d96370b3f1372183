"""What the second family costs, and whether its frozen embedding knows people again.

Usage: python benchmarks/pretraining.py cost [--lengths T ...] [--regions R ...] [--steps N] [--device NAME]
       python benchmarks/pretraining.py identification [FOLDER] [--epochs N]
       python benchmarks/pretraining.py reconstruction [FOLDER] [--every N] [--epochs N] [--cache FOLDER]

``cost``: one step of pretraining and one of fine-tuning on one random run, each length and number of
regions in a process of its own, one thread: processor time per step, peak memory over that of the process before.
``identification``: FOLDER (default: $NEUROSSM_TEST_DATA/psychosis) holds one run each of 55 people. The encoder is
pretrained on half of them; each of the others is looked for by the first half of the run among the second halves of all
of these, by correlation of frozen embeddings, and of connectivity. Then the halves of people change places.
``reconstruction``: FOLDER (default: $NEUROSSM_TEST_DATA/abide); the encoder is pretrained on every Nth participant with
146 volumes or more, a tenth of them set aside, and its reconstruction of these is set against simple rules.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from abide import build_cohort

from bids_neurossm.baselines.connectivity import fisher_z_connectivity
from bids_neurossm.cohort.store import standardise
from bids_neurossm.models.lmae import LMAE, LMAEConfig, run_embedding
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, LmaeRwmoeConfig
from bids_neurossm.models.masks import Masking, homologues
from bids_neurossm.pretraining.pretrain import Pretraining, hidden_tokens, pretrain
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, cohort_run_set

BATCH = 1
WIDTH, NODES = 16, 32


def one_cost(length: int, regions: int, steps: int, device: str) -> dict[str, float]:
    """Measure one size in this process."""
    torch.manual_seed(0)
    config = LmaeRwmoeConfig(regions, width=WIDTH, nodes=NODES)
    place = torch.device(device)
    series = torch.randn(BATCH, length, regions, device=place)
    lengths = torch.full((BATCH,), length, device=place)
    found: dict[str, float] = {}
    for name, model in (("pretraining", LMAE(config).to(place)), ("fine-tuning", LmaeRwmoe(config).to(place))):
        optimizer = torch.optim.AdamW(model.parameters())
        twins, draw = homologues(np.eye(regions), 3), np.random.default_rng(0)

        def step(model=model, optimizer=optimizer, twins=twins, draw=draw) -> None:
            if isinstance(model, LMAE):
                patches, counts = model.encoder.patches(series, lengths)
                loss = model.loss(patches, counts, hidden_tokens(Masking(), twins, counts, patches.shape[2], draw))
            else:
                loss = model(series, lengths).square().mean() + model.auxiliary_loss()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        if place.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        used, begun = time.process_time(), time.monotonic()
        for _ in range(steps):
            step()
        if place.type == "cuda":
            torch.cuda.synchronize()
            found[f"{name} s"] = (time.monotonic() - begun) / steps
            found[f"{name} MB"] = torch.cuda.max_memory_allocated() / 1e6
        else:
            found[f"{name} s"] = (time.process_time() - used) / steps
            found[f"{name} MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    return found


def cost(options: argparse.Namespace) -> None:
    """Print a table of all sizes, and how time grows with length."""
    rows = []
    for regions in options.regions:
        for length in options.lengths:
            command = [sys.executable, __file__, "one", str(length), str(regions), str(options.steps), options.device]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"regions": regions, "time points": length, **json.loads(done.stdout.splitlines()[-1])})
            print(rows[-1], file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    for regions, part in table.groupby("regions"):
        for name in ("pretraining s", "fine-tuning s"):
            slope = np.polyfit(np.log(part["time points"]), np.log(part[name]), 1)[0]
            print(f"{regions} regions, {name}: grows with length to the power of {slope:.2f}")


def identification(options: argparse.Namespace) -> None:
    """Print how often people are known again."""
    runs = _psychosis(options.folder)
    people = np.random.default_rng(0).permutation(len(runs))
    halves = people[: len(people) // 2], people[len(people) // 2 :]
    rows = []
    for number, (learn, test) in enumerate((halves, halves[::-1]), start=1):
        shape = {"width": WIDTH, "nodes": NODES, "pretraining": {"epochs": options.epochs, "learning_rate": 0.005}}
        settings = Settings.of(shape)
        config = settings.encoder_config(runs[0].shape[1])
        inputs = RunSet.in_memory([runs[i] for i in learn], [f"run {i}" for i in learn])
        groups = [str(i) for i in learn]
        follow = Callbacks(lambda epoch: print(f"epoch {epoch.number}: {epoch.loss:.3f}", file=sys.stderr, flush=True))
        pretraining = Pretraining(epochs=options.epochs, batch_size=4, learning_rate=0.005)
        pretrained = pretrain(config, inputs, groups, pretraining, 96, number, torch.device("cpu"), follow)
        local = pretrained.table[pretrained.table["mask"] == "local"].groupby("predictor")["r2"].mean()
        print(f"half {number}: r2 of hidden blocks {local.round(3).to_dict()}")
        parts = [[standardise(runs[i][part]) for i in test] for part in (slice(0, 117), slice(117, None))]
        rows.append(
            {"people": len(test), "by": "connectivity", "known": _known(*(map(_edges, each) for each in parts))}
        )
        embedded = [[_embedding(pretrained.model, series) for series in each] for each in parts]
        rows.append({"people": len(test), "by": "frozen embedding", "known": _known(*embedded)})
        torch.manual_seed(number)
        untrained = [[_embedding(LMAE(config).eval(), series) for series in each] for each in parts]
        rows.append({"people": len(test), "by": "embedding with random weights", "known": _known(*untrained)})
    table = pd.DataFrame(rows).groupby("by").agg(known=("known", "sum"), looked_for=("people", lambda n: 2 * n.sum()))
    table["share"] = table["known"] / table["looked_for"]
    print(table.to_string(float_format=lambda value: f"{value:.3f}"))


def reconstruction(options: argparse.Namespace) -> None:
    """Print what an encoder reconstructs of participants set aside."""
    cohort = build_cohort(options.folder, options.cache / "cohort-age", "age")
    rows = np.arange(len(cohort.runs))[:: options.every]
    config = LMAEConfig(len(cohort.regions), width=WIDTH, nodes=NODES)
    settings = Pretraining(epochs=options.epochs, learning_rate=0.005)
    groups = cohort.runs["participant_id"].to_numpy()[rows].tolist()
    used = time.process_time()
    found = pretrain(config, cohort_run_set(cohort, rows, config), groups, settings, 64, 1, torch.device("cpu"))
    print(f"{found.n_runs} runs, {options.epochs} epochs: {time.process_time() - used:.0f} s of processor time")
    print(found.table.to_string(index=False, float_format=lambda value: f"{value:.3f}"))


def _psychosis(folder: Path) -> list[np.ndarray]:
    """Read the runs, standardised, (T, R)."""
    with np.load(folder / "dt_AROMA_8Phys_bpf_419_ses-1.npz") as stored:
        return [standardise(stored[name].T) for name in stored.files]


def _edges(series: np.ndarray) -> np.ndarray:
    return fisher_z_connectivity(series)


def _embedding(model: LMAE, series: np.ndarray) -> np.ndarray:
    """Mean token of every region, laid out."""
    with torch.no_grad():
        patches, counts = model.encoder.patches(torch.from_numpy(series)[None], torch.tensor([len(series)]))
        tokens = model.encoder(patches, counts)
        return run_embedding(tokens, counts, torch.tensor([0]))[0].flatten().numpy()


def _known(first: object, second: object) -> int:
    """Count people whose other half correlates most with their own, looked for both ways."""
    one, two = (np.stack(list(each)) for each in (first, second))
    # What all have in common tells nobody apart.
    one, two = one - one.mean(axis=0), two - two.mean(axis=0)
    likeness = np.corrcoef(one, two)[: len(one), len(one) :]
    own = np.arange(len(one))
    return int((likeness.argmax(axis=1) == own).sum() + (likeness.argmax(axis=0) == own).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    sizes = commands.add_parser("cost")
    sizes.add_argument("--lengths", nargs="+", type=int, default=[150, 300, 600, 1200])
    sizes.add_argument("--regions", nargs="+", type=int, default=[100, 200, 400])
    sizes.add_argument("--steps", type=int, default=3)
    sizes.add_argument("--device", default="cpu")
    people = commands.add_parser("identification")
    people.add_argument(
        "folder", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", "")) / "psychosis"
    )
    people.add_argument("--epochs", type=int, default=12)
    told = commands.add_parser("reconstruction")
    told.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", "")) / "abide")
    told.add_argument("--every", type=int, default=1)
    told.add_argument("--epochs", type=int, default=10)
    told.add_argument("--cache", type=Path, default=Path("age-panel-cache"))
    one = commands.add_parser("one")
    for name in ("length", "regions", "steps"):
        one.add_argument(name, type=int)
    one.add_argument("device")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "one":
        print(json.dumps(one_cost(options.length, options.regions, options.steps, options.device)))
    else:
        {"cost": cost, "identification": identification, "reconstruction": reconstruction}[options.command](options)


if __name__ == "__main__":
    main()
