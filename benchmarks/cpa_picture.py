"""Draw the picture of docs/cpa.md from one simulated cohort whose truth is known (see recovery.py).

Usage: python benchmarks/cpa_picture.py docs/images/cpa.png
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from recovery import CLASSES, FOLDS, N_REGIONS, PLANTED, simulate

from bids_neurossm.attribution.checks import FRACTIONS, DeletionCurve, deletion_sets, order_of, random_orders
from bids_neurossm.attribution.cpa import concatenated
from bids_neurossm.attribution.maps import ClassMap, class_maps
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.config import Execution, ModelSpec
from bids_neurossm.estimators.map_perturbations import decisions_without
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.training.recipes import load_recipe

COLOURS = {"fast": "#D55E00", "slow": "#0072B2"}


def real_run(folder: Path) -> tuple[ClassMap, DeletionCurve, tuple[str, ...]]:
    """Train in folds, explain the held-out runs, and take regions away from the model of the last fold."""
    cohort = simulate(folder, 48, np.random.default_rng([0, 0]), False)
    settings, training = load_recipe("demo")
    splits = make_splits(cohort.runs, cohort.classes, "class", FOLDS, 0.0, "group", 0)
    parts, tested = [], []
    for fold in range(1, FOLDS + 1):
        train, test = splits.fold_indices(cohort.runs, fold)
        spec = ModelSpec("neurossm", "demo", settings)
        estimator = NeuroSSMEstimator("neurossm", spec, training, Execution(device="cpu"))
        estimator.fit(cohort, train, fold)
        parts.append(estimator.attribute(cohort, test, cohort.labels(test)))
        tested.append(test)
    found = concatenated(parts)
    who = cohort.runs["participant_id"].to_numpy()[np.concatenate(tested)]
    (discriminative,) = class_maps(found.importance, found.share, who.tolist(), None)
    orders = [order_of(discriminative.score), *random_orders(N_REGIONS)]
    kept = np.concatenate([deletion_sets(order) for order in orders])
    decisions = decisions_without(estimator, cohort, test, cohort.labels(test), kept).mean(axis=1)
    curves = decisions.reshape(len(orders), -1)
    return discriminative, DeletionCurve(np.array(FRACTIONS), curves[0], curves[1:]), found.pathways


def draw(path: Path, found: ClassMap, curve: DeletionCurve, pathways: tuple[str, ...]) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained", width_ratios=[1, 2])
    places = np.arange(len(pathways))
    low, high = found.importance_interval.T
    axes[0, 0].barh(places, found.importance, color="#8C8C8C")
    axes[0, 0].hlines(places, low, high, color="black")
    axes[0, 0].set_yticks(places, [f"{name}  (w = {w:.2f})" for name, w in zip(pathways, found.weight, strict=True)])
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_title("1  How much did each\npathway move the decision?", loc="left")
    axes[0, 0].set_xlabel("importance $\\Delta_p$ (logit), 95 % interval")
    shown = axes[0, 1].imshow(found.share, aspect="auto", cmap="viridis", interpolation="nearest")
    axes[0, 1].set_yticks(places, pathways)
    axes[0, 1].set_title("2  Where in its input did each pathway look?", loc="left")
    figure.colorbar(shown, ax=axes[0, 1], label="share $a_p[r]$")
    tones = ["#C8C8C8"] * N_REGIONS
    for label in CLASSES:
        for place in PLANTED[label]:
            tones[place] = COLOURS[label]
    axes[1, 1].bar(np.arange(N_REGIONS), found.score, color=tones)
    axes[1, 1].set_title("3  The map: shares weighted by what their pathways did", loc="left")
    axes[1, 1].set_xlabel("region; planted: fast rhythm (orange), slow rhythm (blue), nothing (grey)")
    axes[1, 1].set_ylabel("$m[r] = \\Sigma_p\\, w_p\\, a_p[r]$")
    axes[1, 1].set_xlim(-0.5, N_REGIONS - 0.5)
    axes[0, 1].set_xlim(-0.5, N_REGIONS - 0.5)
    ends = np.percentile(curve.random, [5, 95], axis=0)
    axes[1, 0].fill_between(curve.fractions, *ends, color="#C8C8C8", label="random regions, 90 %")
    axes[1, 0].plot(curve.fractions, curve.curve, "o-", color="#009E73", label="regions of the map first")
    axes[1, 0].set_title(f"4  Is it true? (p = {curve.p:.2g})", loc="left")
    axes[1, 0].set_xlabel("share of the regions taken away")
    axes[1, 0].set_ylabel("what is left of the decision (logit)")
    axes[1, 0].legend(loc="lower left", fontsize="small", frameon=False)
    axes[1, 0].set_ylim(min(ends[0].min(), curve.curve.min()) - 0.35 * curve.curve[0], None)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        draw(arguments.picture, *real_run(Path(folder)))


if __name__ == "__main__":
    main()
