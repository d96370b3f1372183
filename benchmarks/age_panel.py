"""The second family on ABIDE: age and full-scale IQ against the panel on the same folds, and the ablation of the mask.

Usage: python benchmarks/age_panel.py [FOLDER] [--cache FOLDER] [--models NAME ...] [--target age|fiq] [--every N]
                                      [--against NAME ...] [--seeds N] [--shortest N] [--out TSV]

FOLDER holds participants.tsv and one npz of series per site (default: $NEUROSSM_TEST_DATA/abide). Participants with 146
volumes or more enter, or as many as --shortest says; with --every N each Nth of every site. Patches are of four time
points, since the repetition time differs by site and is not in the table. Five folds, balanced over the target's
quantiles and sites, dealt with seed 42, the same for all models. The variants of the second family are ``lmae-rwmoe``
(local mask), ``lmae-rwmoe-static`` (with the static term), ``lmae-rwmoe-random`` (as many tokens at random) and ``lmae-
rwmoe-scratch`` (no pretraining); the encoder sees training folds only. A trained cell is kept in the cache folder and
not trained again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from abide import SEED, SHORTEST, results

from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.evaluation.comparison import compare
from bids_neurossm.evaluation.metric_tables import score
from bids_neurossm.evaluation.metrics import prediction_frame, unit_predictions
from bids_neurossm.files.write import replacing, write_tsv
from bids_neurossm.registry import model_entry, model_names
from bids_neurossm.training.recipes import load_recipe

PANEL = (
    "majority",
    "site-only",
    "covariates",
    "pearson-connectivity",
    "kernel-ridge",
    "mean-pooled-mlp",
    "neurossm",
    "tangent-connectivity",
)
VARIANTS = {
    "lmae-rwmoe": {"pretrain": True},
    "lmae-rwmoe-static": {"pretrain": True},
    "lmae-rwmoe-random": {"pretrain": True, "kind": "random"},
    "lmae-rwmoe-scratch": {"pretrain": False},
}
#: Small enough for one core; a recipe for a cluster is camcan-age.
SHAPE = {"width": 16, "nodes": 32, "state": 4, "dropout": 0.0, "region_dropout": 0.2, "predictor_dropout": 0.3}
STAGES = {"frozen_epochs": 6, "rate": 0.5}
PRETRAINING = {"epochs": 3, "batch_size": 8, "learning_rate": 0.005}
TRAINING = Training(epochs=12, batch_size=8, learning_rate=0.003, weight_decay=1.0, window=144)


def build_cohort(data: Path, folder: Path, target: str, every: int, shortest: int) -> Cohort:
    """Gather every Nth participant of each site that has enough volumes and a value of the target."""
    if (folder / "cohort.json").is_file():
        return Cohort.open(folder)
    table = pd.read_csv(data / "participants.tsv", sep="\t")
    table = table[table["n_volumes"] >= shortest].sort_values(["npz", "participant_id"])
    table = table[table.groupby("site").cumcount() % every == 0]
    table = table[table[target].notna()].reset_index(drop=True)
    files = {name: np.load(data / name) for name in table["npz"].unique()}
    series = (files[name][key].astype(np.float32) for name, key in zip(table["npz"], table["file_id"], strict=True))
    facts = ["participant_id", "site", "mean_fd", "sex", *(["age"] if target != "age" else [])]
    runs = table[facts].assign(run=table["participant_id"], label=table[target])
    n_regions = files[table["npz"][0]][table["file_id"][0]].shape[1]
    regions = [f"CC200-{number}" for number in range(1, n_regions + 1)]
    return Cohort.create(folder, runs, series, regions, [""] * n_regions, "continuous", {"target": target})


def specification(model: str, cohort: Cohort) -> tuple[str, ModelSpec, Training]:
    """Return the registered name, the settings and the training of a model of the panel."""
    if model in VARIANTS:
        asked = dict(VARIANTS[model])
        pretraining = {**PRETRAINING, "kind": asked.pop("kind", "local")}
        settings = {**SHAPE, "stages": STAGES, "pretraining": pretraining, **asked}
        name = model if model in model_names() else "lmae-rwmoe"
        return name, ModelSpec(name, "", settings), TRAINING
    settings, training = load_recipe("multisite")
    if model_entry(model).by_recipe:
        return model, ModelSpec(model, "multisite", settings), training
    known = [name for name in ("age", "sex", "site") if name in cohort.runs]
    return model, ModelSpec(model, "", {"covariates": known}), training


def cell(
    model: str, cohort: Cohort, train: np.ndarray, test: np.ndarray, fold: int, seed: int, folder: Path
) -> pd.DataFrame:
    """Return the predictions of the runs that one training did not see."""
    name, spec, training = specification(model, cohort)
    made_from = [cohort.hash, asdict(spec), asdict(training), hashlib.sha256(train.tobytes()).hexdigest()]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{model}_fold-{fold}_seed-{seed}_{digest}.npy"
    if not path.is_file():
        began, used = time.monotonic(), time.process_time()
        estimator = create_estimator(name, spec, training, Execution(device="cpu", random_seed=SEED))
        estimator.fit(cohort, train, int(np.random.SeedSequence([SEED, fold, seed]).generate_state(1)[0]))
        scores = estimator.predict(cohort, test)
        if getattr(estimator, "reconstruction", None) is not None:
            write_tsv(path.with_suffix(".reconstruction.tsv"), estimator.reconstruction.assign(fold=fold))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, scores, allow_pickle=False)
        took = f"{time.monotonic() - began:.0f} s, {time.process_time() - used:.0f} s of processor time"
        print(f"{model} fold {fold} seed {seed}: {took}", flush=True)
    return prediction_frame(
        cohort.runs.iloc[test], np.load(path), [], model=model, set_name="development", fold=fold, seed=seed, split=1,
        covariates=tuple(column for column in ("mean_fd", "age") if column in cohort.runs),
    )  # fmt: skip


def panel_table(units: pd.DataFrame, cohort: Cohort) -> pd.DataFrame:
    """Make a row per model: mean absolute error with its interval, r with its own, both over folds."""
    error, correlation = (results(units, cohort, metric, "random") for metric in ("mae", "r"))
    table = error.merge(correlation[["model", "r", "low", "high"]], on="model", suffixes=("", "_r"))
    if "age" in cohort.runs:
        partial = [
            float(found[found["metric"] == "partial_r"]["value"].mean())
            for _, part in units.groupby("model", sort=False)
            for found in [score(part, [], ["age"])]
        ]
        table["partial_r"] = partial
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("NEUROSSM_TEST_DATA", "")) / "abide"
    parser.add_argument("folder", nargs="?", type=Path, default=data)
    parser.add_argument("--cache", type=Path, default=Path("age-panel-cache"))
    parser.add_argument("--models", nargs="+", default=[*PANEL, *VARIANTS])
    parser.add_argument("--against", nargs="+", default=["lmae-rwmoe"], help="models that are compared with the others")
    parser.add_argument("--target", choices=("age", "fiq"), default="age")
    parser.add_argument("--every", type=int, default=1, help="take each Nth participant of every site")
    parser.add_argument("--seeds", type=int, default=1, help="trainings that are averaged, of models that need one")
    parser.add_argument("--shortest", type=int, default=SHORTEST, help="volumes that a run has to have")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    name = f"cohort-{options.target}-{options.every}" + (f"-{options.shortest}" if options.shortest != SHORTEST else "")
    cohort = build_cohort(options.folder, options.cache / name, options.target, options.every, options.shortest)
    splits = make_splits(cohort.runs, [], "continuous", 5, 0.0, None, SEED)
    frames = []
    for model in options.models:
        for fold in range(1, splits.folds + 1):
            train, test = splits.fold_indices(cohort.runs, fold)
            seeds = range(1, 1 + (options.seeds if model_entry(model).by_recipe else 1))
            frames += [cell(model, cohort, train, test, fold, seed, options.cache / "cells") for seed in seeds]
    units = unit_predictions(pd.concat(frames), "participant")
    units["model"] = pd.Categorical(units["model"], options.models)
    units = units.sort_values("model", kind="stable")
    found = panel_table(units, cohort)
    units["model"] = units["model"].astype(str)
    print(f"\n{options.target}: {len(cohort.runs)} participants, 5 folds")
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    for model in options.against:
        if model in options.models:
            pair = compare(units, model, [], ["mae", "r"], folds_are="random")
            print("\n" + "\n".join(pair["verdict"]))
            if options.out:
                write_tsv(options.out.with_suffix(f".{model}.tsv"), pair)
    if options.out:
        write_tsv(options.out, found)


if __name__ == "__main__":
    main()
