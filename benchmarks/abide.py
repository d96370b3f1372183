"""The panel of models on ABIDE: AUC (or mean absolute error) with intervals and paired tests, on the same folds.

Usage: python benchmarks/abide.py [FOLDER] [--cache FOLDER] [--models NAME ...] [--seeds N] [--repeats N]
                                  [--leave-site-out] [--target dx|sex|age] [--altered HOW] [--recipe NAME] [--out TSV]

FOLDER holds participants.tsv and one npz of series per site (default: $NEUROSSM_TEST_DATA/abide). The 588 participants
with 146 volumes or more enter with all their volumes. Every model is trained on the same five folds, stratified by
label and site, dealt with seed 42; --repeats deals them anew. Models that are trained by gradient descent are trained
--seeds times in each fold and their logits averaged. A trained cell is kept in the cache folder and not trained again,
so that a long run can be cut short, and several processes can share one cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bids_neurossm import __version__
from bids_neurossm.cohort.splitting import leave_out_splits, make_splits, with_resplits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import PHASE_RANDOMISATION, TIME_SHUFFLE, altered
from bids_neurossm.config import Execution, ModelSpec
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.evaluation.comparison import FoldsAre, compare, over_folds
from bids_neurossm.evaluation.intervals import bootstrap_interval
from bids_neurossm.evaluation.metric_tables import score
from bids_neurossm.evaluation.metrics import METRICS, prediction_frame, unit_predictions
from bids_neurossm.files.write import replacing
from bids_neurossm.registry import model_entry, model_names
from bids_neurossm.training.recipes import load_recipe

PANEL = (
    "covariates", "site-only", "pearson-connectivity", "tangent-connectivity", "multiscale-tangent", "linear-svm",
    "mean-pooled-mlp", "neurossm", "neurossm-static",
)  # fmt: skip
SHORTEST = 146
SEED = 42


def build_cohort(data: Path, folder: Path, target: str) -> Cohort:
    """Gather the participants with enough volumes; a cohort that is there is opened."""
    if (folder / "cohort.json").is_file():
        return Cohort.open(folder)
    table = pd.read_csv(data / "participants.tsv", sep="\t")
    table = table[(table["n_volumes"] >= SHORTEST) & table[target].notna()].sort_values("npz").reset_index(drop=True)
    files = {name: np.load(data / name) for name in table["npz"].unique()}
    series = (files[name][key].astype(np.float32) for name, key in zip(table["npz"], table["file_id"], strict=True))
    facts = table[["participant_id", "site", "mean_fd", "age", "sex"]]
    runs = facts.assign(run=table["participant_id"], label=table[target])
    n_regions = files[table["npz"][0]][table["file_id"][0]].shape[1]
    regions = [f"CC200-{number}" for number in range(1, n_regions + 1)]
    kind = "continuous" if target == "age" else "class"
    return Cohort.create(folder, runs, series, regions, [""] * n_regions, kind, {"target": target})


def splits_of(cohort: Cohort, repeats: int, leave_site_out: bool):
    if leave_site_out:
        return leave_out_splits(cohort.runs, cohort.classes, cohort.target_type, "site")
    first = make_splits(cohort.runs, cohort.classes, cohort.target_type, 5, 0.0, None, SEED)
    return with_resplits(first, cohort.runs, cohort.classes, cohort.target_type, repeats, SEED)


class Cells:
    """Predictions of single trainings, kept on disk."""

    def __init__(self, cohort: Cohort, splits, folder: Path, recipe: str) -> None:
        self.cohort, self.splits, self.folder = cohort, splits, folder
        settings, self.training = load_recipe(recipe)
        self.spec = {"by recipe": (recipe, settings), "other": ("", {})}
        self._latest = (("", 0, 0), None)

    def table(self, model: str, repeat: int, fold: int, seed: int) -> pd.DataFrame:
        """Predictions of the runs that one training did not see."""
        recipe, settings = self.spec["by recipe" if model_entry(model).by_recipe else "other"]
        spec = ModelSpec(model, recipe, settings)
        split = self.splits.repeat(repeat)
        train, test = split.fold_indices(self.cohort.runs, fold)
        made_from = [__version__, self.cohort.hash, model, settings, repr(self.training) if settings else "", seed]
        made_from += [hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest()]
        digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        path = self.folder / f"{model}_repeat-{repeat}_fold-{fold}_seed-{seed}_{digest}.npy"
        if not path.is_file():
            began, used = time.monotonic(), time.process_time()
            # What does not depend on the seed is kept by an estimator that is fitted again on the same runs.
            if self._latest[0] != (model, repeat, fold):
                estimator = create_estimator(model, spec, self.training, Execution(device="cpu", random_seed=SEED))
                self._latest = ((model, repeat, fold), estimator)
            estimator = self._latest[1]
            estimator.fit(
                self.cohort, train, int(np.random.SeedSequence([SEED, repeat, fold, seed]).generate_state(1)[0])
            )
            scores = estimator.predict(self.cohort, test)
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, scores, allow_pickle=False)
            took = f"{time.monotonic() - began:.0f} s, {time.process_time() - used:.0f} s of processor time"
            print(f"{path.stem.rsplit('_', 1)[0]}: {took}", flush=True)
        return prediction_frame(
            self.cohort.runs.iloc[test], np.load(path), self.cohort.classes, model=model, set_name="development",
            fold=fold, seed=seed, split=repeat, covariates=("mean_fd",),
        )  # fmt: skip


def results(units: pd.DataFrame, cohort: Cohort, metric: str, folds_are: FoldsAre) -> pd.DataFrame:
    """Make a row per model: the mean over folds with both intervals, and the same within sites."""
    within = "auc_within_site" if cohort.classes else "r_within_site"
    rows = []
    for model, part in units.groupby("model", sort=False):
        table = score(part, cohort.classes)
        folds = table[table["metric"] == metric]["value"].to_numpy()
        procedure = over_folds(folds, part, folds_are)
        given = bootstrap_interval(part, METRICS[metric], cohort.classes)
        rows.append(
            {
                "model": model, metric: procedure.estimate, "low": procedure.low, "high": procedure.high,
                "low_given_models": given.low, "high_given_models": given.high,
                within: float(table[table["metric"] == within]["value"].mean()), "folds": len(folds),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", "")) / "abide"
    )
    parser.add_argument("--cache", type=Path, default=Path("abide-cache"))
    parser.add_argument("--models", nargs="+", default=[name for name in PANEL if name in model_names()])
    parser.add_argument("--against", default="multiscale-tangent neurossm-static", help="models that are compared")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folds", type=int, nargs="+", help="train only these, and print nothing")
    parser.add_argument("--leave-site-out", action="store_true")
    parser.add_argument("--target", choices=("dx", "sex", "age"), default="dx")
    parser.add_argument("--altered", choices=(TIME_SHUFFLE, PHASE_RANDOMISATION), default="", help="train and test on")
    parser.add_argument("--recipe", default="multisite")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    cohort = build_cohort(options.folder, options.cache / f"cohort-{options.target}", options.target)
    splits = splits_of(cohort, options.repeats, options.leave_site_out)
    cohort = altered(cohort, options.altered, "participant", SEED)
    cells = Cells(cohort, splits, options.cache / "cells", options.recipe)
    frames = []
    for model in options.models:
        for repeat in range(1, splits.repeats + 1):
            for fold in options.folds or range(1, splits.folds + 1):
                seeds = range(1, options.seeds + 1 if model_entry(model).by_recipe else 2)
                frames += [cells.table(model, repeat, fold, seed) for seed in seeds]
    if options.folds:
        return
    units = unit_predictions(pd.concat(frames), "participant")
    units["model"] = pd.Categorical(units["model"], options.models)
    metric = "auc" if cohort.classes else "mae"
    scheme: FoldsAre = "sites" if options.leave_site_out else "random"
    found = results(units.sort_values("model", kind="stable"), cohort, metric, scheme)
    units["model"] = units["model"].astype(str)
    what = " ".join([options.target, options.altered]).strip()
    print(f"\n{what}: {len(cohort.runs)} participants, {splits.folds} folds x {splits.repeats}, {scheme}")
    for note in splits.notes:
        print(note)
    print(found.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    pairs = [
        compare(units, model, cohort.classes, [metric], folds_are=scheme)
        for model in options.against.split()
        if model in options.models
    ]
    for pair in pairs:
        print("\n" + "\n".join(pair["verdict"]))
    if options.out:
        found.assign(target=options.target, scheme=scheme, seeds=options.seeds, repeats=splits.repeats).to_csv(
            options.out, sep="\t", index=False, float_format="%.4f"
        )
        pd.concat(pairs).to_csv(options.out.with_suffix(".pairs.tsv"), sep="\t", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
