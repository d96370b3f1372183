"""Plant a leak of each kind in cohorts that hold nothing else, and see whether the software says so.

Usage: python benchmarks/leaks.py [--seeds N] [--clean N] [--kinds NAME ...]

Every cohort has people with a connectivity of their own. In a cohort with a leak nothing in the series tells the
classes apart but the leak; in a clean one facts are drawn at random, and the classes differ in their connectivity
("signal") or not ("noise"). Each goes through what `group` does: splits, refusal of copies, models on the same folds,
permuted labels, probes, confounds, identity, comparison with the covariates.

Printed are the naive score (AUC out of fold), the same within sites, the AUC of the covariates alone, and in how many
cohorts each alarm is raised; then the sentence that a user reads. An alarm that is no business of a cohort is a false
one: its nominal rate is .05.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.splitting import wanted_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Evaluation, Execution, ModelSpec, Training
from bids_neurossm.controls.confounds import confounds
from bids_neurossm.controls.fingerprinting import CONTROL as IDENTITY
from bids_neurossm.controls.fingerprinting import alike_participants
from bids_neurossm.controls.permutation import label_permutation
from bids_neurossm.controls.probes import probes
from bids_neurossm.errors import LabelError
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.evaluation.comparison import compare
from bids_neurossm.evaluation.metric_tables import score
from bids_neurossm.evaluation.metrics import prediction_frame, unit_predictions
from bids_neurossm.interfaces.cohort import refuse_leaks

N_PEOPLE, N_TIMES, N_REGIONS = 80, 120, 30
CLASSES = ["control", "patient"]
PERMUTATIONS = 200
#: People who come again under another name.
AGAIN = 20


class People:
    """The facts and the series of one simulated cohort.

    Parameters
    ----------
    random : Generator
        Of everything.

    Attributes
    ----------
    table : DataFrame
        One row per run.
    couplings : list of (first, second, strength)
        For pairs of regions, how strongly the second follows the first in every person, (n,).
    growing : list of (first, second)
        Pairs of regions that couple more and more during a run, as people grow tired.
    own : ndarray, shape (n, R, R)
        How the regions of a person mix: its connectivity of its own.
    """

    def __init__(self, random: np.random.Generator) -> None:
        n = N_PEOPLE
        self.random = random
        self.table = pd.DataFrame({"participant_id": [f"sub-{i:03d}" for i in range(n)]})
        self.table["label"] = random.permutation(np.array(CLASSES)[np.arange(n) % 2])
        self.table["site"] = random.permutation(np.array(["A", "B"])[np.arange(n) % 2])
        self.table["mean_fd"] = random.gamma(4, 0.05, n)
        self.table["age"] = random.normal(40, 10, n).round(1)
        self.table["n_volumes"] = N_TIMES
        self.couplings: list[tuple[int, int, np.ndarray]] = []
        self.growing: list[tuple[int, int]] = []
        self.own = np.eye(N_REGIONS) + 0.12 * random.normal(size=(n, N_REGIONS, N_REGIONS))

    @property
    def patient(self) -> np.ndarray:
        """Who is a patient, (n,) of 0 and 1."""
        return (self.table["label"] == "patient").to_numpy().astype(float)

    def couple(self, value: np.ndarray, strength: float, pairs: int = 6) -> None:
        """Write a fact into the connectivity of some pairs of regions, standardised."""
        standard = (value - value.mean()) / value.std()
        for _ in range(pairs):
            first, second = self.random.choice(N_REGIONS, 2, replace=False)
            self.couplings.append((int(first), int(second), strength * standard))

    def series(self, person: int, n_volumes: int) -> np.ndarray:
        """Draw a run of a person, (T, R): autoregressive noise, mixed."""
        noise = self.random.standard_normal((n_volumes + 20, N_REGIONS))
        run = lfilter([1.0], [1.0, -0.5], noise, axis=0)[20:] @ self.own[person]
        for first, second, strength in self.couplings:
            run[:, second] += strength[person] * run[:, first]
        for first, second in self.growing:
            run[:, second] += np.arange(n_volumes) / N_TIMES * run[:, first]
        return np.asarray(1000 + 20 * run)

    def cohort(self, folder: Path) -> Cohort:
        """Write the cohort; a run whose column `copy_of` is set is a copy of another."""
        table = self.table.copy()
        table["run"] = table["participant_id"] + "_task-rest"
        runs = [self.series(number % N_PEOPLE, int(length)) for number, length in enumerate(table["n_volumes"])]
        for number, text in enumerate(table.get("copy", pd.Series("", index=table.index)).fillna("")):
            if text:
                runs[number] = COPIES[text](runs[number - N_PEOPLE])
        table = table.drop(columns="copy", errors="ignore").assign(n_volumes=[len(run) for run in runs])
        names = [f"r{number}" for number in range(N_REGIONS)]
        return Cohort.create(folder, table, runs, names, names, "class", {"target": "dx"})

    def come_again(self, copy: str = "") -> None:
        """Let some people come again under another name, with the same label: another run of theirs, or a copy."""
        again = self.table.head(AGAIN).assign(copy=copy)
        again["participant_id"] = [f"sub-{900 + number}" for number in range(AGAIN)]
        self.table = pd.concat([self.table.assign(copy=""), again], ignore_index=True)


#: What is done to a copy.
COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exact": lambda run: run,
    "other units": lambda run: np.round(0.37 * run - 12, 1),
    "first volumes dropped": lambda run: run[8:],
}


def noise(people: People) -> None:
    """Let nothing tell the classes apart."""


def signal(people: People) -> None:
    """Let the classes differ honestly."""
    people.couple(people.patient, 0.35)


def site(people: People) -> None:
    """Scan nine in ten patients at one site, which the series show."""
    stays = people.random.random(N_PEOPLE) < 0.9
    people.table["site"] = np.where((people.patient == 1) == stays, "A", "B")
    people.couple((people.table["site"] == "A").to_numpy(float), 0.35)


def site_is_class(people: People) -> None:
    """Scan every class at a site of its own."""
    people.table["site"] = np.where(people.patient == 1, "A", "B")
    people.couple(people.patient, 0.35)


def motion(people: People) -> None:
    """Let patients move more, and motion show."""
    people.table["mean_fd"] = people.random.gamma(4, 0.05 + 0.04 * people.patient)
    people.couple(people.table["mean_fd"].to_numpy(), 0.3, 12)


def length(people: People) -> None:
    """Make runs of patients shorter: they have less time to grow tired in them."""
    people.table["n_volumes"] = np.where(people.patient == 1, 70, 130) + people.random.integers(-10, 11, N_PEOPLE)
    people.growing = [(2 * number, 2 * number + 1) for number in range(6)]


def age(people: People) -> None:
    """Make patients older, and let age show."""
    people.table["age"] = people.random.normal(40 + 15 * people.patient, 10).round(1)
    people.couple(people.table["age"].to_numpy(), 0.3, 12)


KINDS: dict[str, Callable[[People], None]] = {
    "clean, signal": signal,
    "clean, noise": noise,
    "site decides": site,
    "site is the class": site_is_class,
    "motion decides": motion,
    "run length decides": length,
    "age decides": age,
    "second session, other name": lambda people: people.come_again(),
    "exact copy, other name": lambda people: people.come_again("exact"),
    "copy in other units": lambda people: people.come_again("other units"),
    "shortened copy": lambda people: people.come_again("first volumes dropped"),
}
ALARMS = {
    "refused": "refused",
    "site probe": "probe: site",
    "motion probe": "probe: mean_fd",
    "class and site": "confound: class and site",
    "class and motion": "confound: class and mean_fd",
    "class and length": "confound: class and n_volumes",
    "class and age": "confound: class and age",
    "two names": IDENTITY,
    "nothing learned": "labels permuted",
    "not above covariates": "comparison",
}
#: What has to be raised by each kind: any of these.
EXPECTED = {
    "site decides": ["site probe", "class and site"],
    "site is the class": ["site probe", "class and site"],
    "motion decides": ["motion probe", "class and motion"],
    "run length decides": ["class and length"],
    "age decides": ["class and age"],
    "second session, other name": ["two names"],
    "exact copy, other name": ["refused"],
    "copy in other units": ["refused"],
    "shortened copy": ["refused", "two names"],
}


def predictions(cohort: Cohort, splits: Splits, models: tuple[str, ...]) -> pd.DataFrame:
    """Out-of-fold units of cheap models."""
    frames = []
    for name in models:
        for fold in range(1, splits.folds + 1):
            train, test = splits.fold_indices(cohort.runs, fold)
            model = create_estimator(name, ModelSpec(name, "", {}), Training(), Execution(device="cpu"))
            model.fit(cohort, train, fold)
            scores, rows = model.predict(cohort, test), cohort.runs.iloc[test]
            frames.append(
                prediction_frame(rows, scores, cohort.classes, model=name, set_name="development", fold=fold, seed=1)
            )
    return unit_predictions(pd.concat(frames, ignore_index=True), "participant")


def judged(cohort: Cohort, seed: int) -> tuple[dict[str, float], dict[str, str]]:
    """Figures of a cohort, and the sentence behind every alarm that was raised."""
    splits = wanted_splits(Evaluation(holdout=0.0), cohort.runs, cohort.classes, "class", seed)
    said: dict[str, str] = {}
    try:
        refuse_leaks(splits, cohort)
    except LabelError as error:
        said["refused"] = str(error)
    model = "pearson-connectivity"
    units = predictions(cohort, splits, (model, "covariates"))
    means = score(units, cohort.classes).groupby(["model", "metric"])["value"].mean()
    figures = {
        "AUC": means[model, "auc"],
        "within sites": means[model, "auc_within_site"],
        "covariates": means["covariates", "auc"],
    }
    if said:
        # Here `group` stops, so that nothing else is said; the figures show what would have been believed.
        return figures, said
    own = units[units["model"] == model]
    features = pearson_features(cohort, np.arange(len(cohort.runs)))
    drawn = {"permutations": PERMUTATIONS, "seed": seed}
    permuted = label_permutation(own, cohort.classes, "participant", **drawn).assign(control="labels permuted")
    blind = label_permutation(own.assign(site=""), cohort.classes, "participant", **drawn)
    figures |= {"p, sites ignored": blind["p"].item(), "p within sites": permuted["p"].item()}
    table = pd.concat(
        [permuted, probes(cohort, splits, features=features, **drawn), confounds(cohort, splits, **drawn),
         alike_participants(cohort.runs, features)]
    ).set_index("control")  # fmt: skip
    for control, verdict in table["verdict"].items():
        if verdict.startswith(("warning", "nothing learned", "can not be tested")):
            said[str(control)] = verdict
    both = units[units["model"].isin([model, "covariates"])]
    sentence = compare(both, model, cohort.classes, ["auc"])["verdict"].item()
    if " beats " not in sentence:
        said["comparison"] = sentence
    return figures, {name: said[row] for name, row in ALARMS.items() if row in said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="cohorts of every kind of leak (default: 20)")
    parser.add_argument("--clean", type=int, default=20, help="clean cohorts of each kind (default: 20)")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()
    started = time.process_time()
    figures, alarms, sentences = [], [], {}
    for kind in arguments.kinds:
        n = arguments.clean if kind.startswith("clean") else arguments.seeds
        for seed in range(n):
            people = People(np.random.default_rng([seed, list(KINDS).index(kind)]))
            KINDS[kind](people)
            with tempfile.TemporaryDirectory() as folder:
                found, said = judged(people.cohort(Path(folder)), seed)
            figures.append({"kind": kind, **found})
            raised = {name: name in said for name in ALARMS}
            caught = any(name in said for name in EXPECTED.get(kind, []))
            alarms.append({"kind": kind, **raised, "caught": caught if kind in EXPECTED else np.nan})
            sentences.setdefault(kind, said)
        print(f"{kind}: {n} cohorts, {time.process_time() - started:.0f} s of processor time", flush=True)
    settings = {"display.width": 250, "display.max_columns": 20, "display.float_format": "{:.3f}".format}
    with pd.option_context(*(item for pair in settings.items() for item in pair)):
        print("\nmean figures\n", pd.DataFrame(figures).groupby("kind", sort=False).mean())
        print("\nshare of cohorts in which an alarm is raised\n")
        print(pd.DataFrame(alarms).groupby("kind", sort=False).mean().T)
    print("\nwhat is said in the first cohort")
    for kind, said in sentences.items():
        for name in [*EXPECTED.get(kind, []), "nothing learned", "not above covariates"]:
            if name in said:
                print(f"{kind} | {name}: {said[name]}")


if __name__ == "__main__":
    main()
