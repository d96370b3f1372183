"""Find what was planted: maps of CPA and of three other methods on the same models, against a known truth.

Usage: python benchmarks/recovery.py [--cohorts N] [--participants N] [--seed N]

A cohort has two classes and two runs per participant. Six regions of one class carry a slow rhythm (period 28 time
points), six of the other a fast one (period 3), as band-limited noise on top of autoregressive noise; signal and noise
have the variances that are printed. NeuroSSM is trained with the recipe `demo` in three folds, and the runs of the
third fold are explained by models that never saw their participants:

- CPA: the discriminative map of `bids_neurossm.attribution`;
- gradient x input of the whole model, mean over time, absolute, mean over runs;
- integrated gradients (captum, 32 steps from 0), summed over time, absolute, mean over runs;
- permutation importance: how much the centred logit falls when a region is taken from another run, twice.

AUROC says how well a map tells the planted regions from the others. The dominant pathway of a planted region counts as
right where the oracle AUC of that pathway's input in one such region (likelihood ratio of periodograms whose means are
known) is within .02 of the best. In cohorts with random labels the verdict has to be "nothing learned".

Needs captum (`pip install 'bids-neurossm[bench]'`); takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import lfilter
from sklearn.metrics import roc_auc_score

from bids_neurossm.attribution.checks import overall_check
from bids_neurossm.attribution.maps import ClassMap, class_maps
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec
from bids_neurossm.controls.permutation import label_permutation
from bids_neurossm.estimators.map_perturbations import centred
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.evaluation.metrics import prediction_frame, score_columns, unit_predictions
from bids_neurossm.models.neurossm import NeuroSSM
from bids_neurossm.training.recipes import load_recipe

N_REGIONS, N_TIMES, FOLDS = 48, 128, 3
CLASSES = ("fast", "slow")
PERIOD = {"fast": 3.0, "slow": 28.0}
#: Variance of the signal in a planted region; that of its noise is 1.
SIGNAL = {"fast": 0.45, "slow": 0.9}
PLANTED = {"fast": np.arange(0, 6), "slow": np.arange(6, 12)}
METHODS = ("CPA", "gradient x input", "integrated gradients", "permutation importance")


def rhythm(period: float, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Band-limited noise of variance 1 around a period, time along the first axis."""
    radius, angle = 0.93, 2 * np.pi / period
    noise = random.standard_normal((shape[0] + 200, *shape[1:]))
    series = lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], noise, axis=0)[200:]
    return series / series.std(axis=0)


def background(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Autoregressive noise of variance 1."""
    noise = random.standard_normal((shape[0] + 50, *shape[1:]))
    return lfilter([np.sqrt(1 - 0.5**2)], [1.0, -0.5], noise, axis=0)[50:]


def simulate(folder: Path, n_participants: int, random: np.random.Generator, shuffled: bool) -> Cohort:
    """Write a cohort; with shuffled labels its classes say nothing."""
    rows, series = [], []
    for participant in range(n_participants):
        shared = random.normal(0, 0.3, (3, N_REGIONS))
        for label in CLASSES:
            run = background((N_TIMES, N_REGIONS), random) + background((N_TIMES, 3), random) @ shared
            places = PLANTED[label]
            run[:, places] += np.sqrt(SIGNAL[label]) * rhythm(PERIOD[label], (N_TIMES, len(places)), random)
            name = CLASSES[random.integers(2)] if shuffled else label
            rows.append({"run": f"{participant}-{label}", "participant_id": f"{participant:03d}", "label": name})
            series.append(run)
    regions = [f"region {number}" for number in range(N_REGIONS)]
    table = pd.DataFrame(rows).assign(repetition_time=2.0)
    return Cohort.create(folder, table, series, regions, ["n/a"] * N_REGIONS, "class")


def oracle(seed: int = 0, n_runs: int = 1500) -> pd.DataFrame:
    """AUC of each pathway's input in one planted region, by the likelihood ratio of mean periodograms."""
    random = np.random.default_rng(seed)
    settings, _ = load_recipe("demo")
    rows = {}
    for label in CLASSES:
        without = background((N_TIMES, 2 * n_runs), random)
        with_signal = background((N_TIMES, 2 * n_runs), random)
        with_signal = with_signal + np.sqrt(SIGNAL[label]) * rhythm(PERIOD[label], with_signal.shape, random)
        standard = [(each - each.mean(axis=0)) / each.std(axis=0) for each in (without, with_signal)]
        for stream in settings["streams"]:
            for scale in settings["scales"]:
                powers = []
                for each in standard:
                    pooled = each[: N_TIMES // scale * scale].reshape(-1, scale, each.shape[1]).mean(axis=1)
                    pooled = np.diff(pooled, axis=0) if stream == "difference" else pooled
                    powers.append(np.abs(np.fft.rfft(pooled, axis=0)[1:]) ** 2)
                off, on = (power[:, :n_runs].mean(axis=1, keepdims=True) for power in powers)
                ratio = [(power[:, n_runs:] * (1 / off - 1 / on)).sum(axis=0) for power in powers]
                truth = np.repeat([0, 1], n_runs)
                rows[(f"{stream}-{scale}", label)] = roc_auc_score(truth, np.concatenate(ratio))
    return pd.Series(rows).unstack()


def other_maps(estimator: NeuroSSMEstimator, cohort: Cohort, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Make the maps of the methods that CPA is compared with, one row per run."""
    from captum.attr import IntegratedGradients

    model = estimator.model
    assert isinstance(model, NeuroSSM)
    target = cohort.labels(rows)
    values = torch.tensor(np.stack([cohort.standardised(int(row)) for row in rows]))
    sign = torch.tensor(np.where(target == 1, 1.0, -1.0), dtype=torch.float32)

    def decision(series: torch.Tensor) -> torch.Tensor:
        logits = model(series, torch.full((len(series),), series.shape[1]))
        # Captum puts the steps of its path one after the other along the first axis.
        return (logits[:, 1] - logits[:, 0]) * sign.repeat(len(series) // len(sign))

    leaf = values.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(decision(leaf).sum(), leaf)
    integrated = IntegratedGradients(decision).attribute(values, n_steps=32, internal_batch_size=4 * len(values))
    random = np.random.default_rng(0)
    fall = np.zeros((len(rows), N_REGIONS))
    with torch.no_grad():
        whole = decision(values)
        for region in range(N_REGIONS):
            for _ in range(2):
                changed = values.clone()
                changed[:, :, region] = values[random.permutation(len(rows)), :, region]
                fall[:, region] += (whole - decision(changed)).numpy() / 2
    return {
        "gradient x input": (leaf.detach() * gradient).mean(dim=1).abs().numpy(),
        "integrated gradients": integrated.sum(dim=1).abs().numpy(),
        "permutation importance": fall,
    }


def explained(cohort: Cohort, seed: int, others: bool) -> tuple[dict[str, np.ndarray], ClassMap, float, float]:
    """Train in folds; return the maps of all methods, the CPA map, the AUC, and p of permuted labels."""
    settings, training = load_recipe("demo")
    splits = make_splits(cohort.runs, cohort.classes, "class", FOLDS, 0.0, "group", seed)
    parts, maps, frames = [], {name: [] for name in METHODS[1:]}, []
    for fold in range(1, FOLDS + 1):
        train, test = splits.fold_indices(cohort.runs, fold)
        estimator = NeuroSSMEstimator(
            "neurossm", ModelSpec("neurossm", "demo", settings), training, Execution(device="cpu")
        )
        estimator.fit(cohort, train, seed + fold)
        scores = estimator.predict(cohort, test)
        tested = cohort.runs.iloc[test]
        frames.append(
            prediction_frame(
                tested, scores, cohort.classes, model="neurossm", set_name="development", fold=fold, seed=1
            )
        )
        parts.append((test, estimator.attribute(cohort, test, cohort.labels(test))))
        assert np.allclose(parts[-1][1].logit, centred(scores, cohort.labels(test)), atol=1e-4)
        for name, values in (other_maps(estimator, cohort, test) if others else {}).items():
            maps[name].append(values)
    units = unit_predictions(pd.concat(frames, ignore_index=True), "run")
    p = float(label_permutation(units, cohort.classes, "run", seed=seed)["p"].iloc[0])
    area = np.mean(
        [
            roc_auc_score(part["label"] == "slow", part[score_columns(cohort.classes)[1]])
            for _, part in units.groupby("fold")
        ]
    )
    runs = cohort.runs.iloc[np.concatenate([test for test, _ in parts])]
    importance, share = (np.concatenate([getattr(part, name) for _, part in parts]) for name in ("importance", "share"))
    (discriminative,) = class_maps(
        importance, share, runs["participant_id"].tolist(), None, n_bootstraps=200, seed=seed
    )
    found = {name: np.concatenate(values).mean(axis=0) for name, values in maps.items() if values}
    return {"CPA": discriminative.score, **found}, discriminative, float(area), p


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=4, help="cohorts with planted regions (default: 4)")
    parser.add_argument("--null-cohorts", type=int, default=2, help="cohorts with random labels (default: 2)")
    parser.add_argument("--participants", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    print(f"signal / noise variance: {', '.join(f'{name} {SIGNAL[name]:g} / 1' for name in CLASSES)}")
    print(f"{arguments.participants} participants x 2 runs, {N_TIMES} time points, {N_REGIONS} regions, {FOLDS} folds")
    best = oracle()
    print("\noracle AUC of one planted region, by pathway\n" + best.round(3).to_string())
    good = best >= best.max() - 0.02
    planted = np.isin(np.arange(N_REGIONS), np.concatenate(list(PLANTED.values())))
    rows, right, named = [], 0, 0
    settings, _ = load_recipe("demo")
    pathways = [f"{stream}-{scale}" for stream in settings["streams"] for scale in settings["scales"]]
    for number in range(arguments.cohorts + arguments.null_cohorts):
        null = number >= arguments.cohorts
        random = np.random.default_rng([arguments.seed, number])
        with tempfile.TemporaryDirectory() as folder:
            cohort = simulate(Path(folder), arguments.participants, random, null)
            maps, cpa_map, area, p = explained(cohort, arguments.seed + 10 * number, others=not null)
        verdict = overall_check([], cpa_map.defined, p).verdict
        row = {"cohort": f"random labels {number}" if null else str(number), "AUC": area, "p": p}
        if not null:
            row |= {name: roc_auc_score(planted, maps[name]) for name in METHODS}
            dominant = (cpa_map.weight[:, None] * cpa_map.share).argmax(axis=0)
            for label, places in PLANTED.items():
                right += sum(bool(good.loc[pathways[dominant[place]], label]) for place in places)
                named += len(places)
        rows.append(row | {"verdict": verdict.partition(",")[0]})
        print(f"cohort {number} after {time.perf_counter() - started:.0f} s", flush=True)
    table = pd.DataFrame(rows)
    print("\nAUROC of the planted regions\n" + table.round(3).to_string(index=False))
    print("\nmean\n" + table[list(METHODS)].mean().round(3).to_string())
    print(f"\ndominant pathway within .02 of the best oracle: {right} of {named} planted regions ({right / named:.0%})")


if __name__ == "__main__":
    main()
