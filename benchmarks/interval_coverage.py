"""Do the intervals hold what they promise? Hundreds of cheap cohorts whose truth is known (docs/methods.md, section 6).

Each cohort has n people, p features and two classes that differ by a known distance (0 for the null). A linear
estimator (the difference of the classes' means) is judged as the package judges a model. Two intervals, two truths:

* *given these models*: the bootstrap on a holdout, against the AUC that this very model has on the whole population
  (known in closed form, as the features are Gaussian);
* *of the procedure*: Nadeau-Bengio over the folds, against the mean AUC of models trained on n (K - 1) / K people from
  the population (measured on fresh cohorts), for one split of five folds and for repeated re-splits.

Beside them stands what is not shipped as an interval of the procedure: the bootstrap over participants on the scores
of five folds. The interval of a difference between two estimators that are equally good should hold 0.

    python benchmarks/interval_coverage.py --cohorts 400
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from bids_neurossm.evaluation.intervals import bootstrap_interval, nadeau_bengio_interval
from bids_neurossm.evaluation.metrics import auc, binary_auc

FOLDS = 5
CLASSES = ["a", "b"]


class Population:
    """Two Gaussian classes in p dimensions, whose means are `distance` apart along the first ten features."""

    def __init__(self, p: int, distance: float) -> None:
        self.p = p
        self.mean = np.zeros(p)
        self.mean[:10] = distance / np.sqrt(10)

    def draw(self, n: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Features, shape (n, p), and labels of n people, half of each class."""
        labels = np.arange(n) % 2
        return random.normal(size=(n, self.p)) + np.outer(labels - 0.5, self.mean), labels

    def auc_of(self, weights: np.ndarray) -> float:
        """AUC of a linear score on the whole population."""
        length = float(np.linalg.norm(weights))
        return float(norm.cdf(weights @ self.mean / (np.sqrt(2) * length))) if length else 0.5


def fitted(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights of a linear score: the difference of the classes' means."""
    return features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)


def folds_of(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Deal both classes into folds 0 to K - 1."""
    fold = np.empty(len(labels), dtype=int)
    for value in (0, 1):
        rows = random.permutation(np.flatnonzero(labels == value))
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def cross_validated(features: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC per fold, shape (K,), and the score of everybody by the model that did not see them."""
    values, scores = np.empty(FOLDS), np.empty(len(labels))
    for number in range(FOLDS):
        test = fold == number
        scores[test] = features[test] @ fitted(features[~test], labels[~test])
        values[number] = binary_auc(labels[test] == 1, scores[test])
    return values, scores


def units_of(labels: np.ndarray, scores: np.ndarray, fold: np.ndarray, set_name: str) -> pd.DataFrame:
    """Lay scores out as the package does."""
    names = [f"sub-{i:04d}" for i in range(len(labels))]
    return pd.DataFrame(
        {
            "model": "means", "set": set_name, "split": 1, "fold": fold, "unit": names, "group": names,
            "participant_id": names, "site": "", "label": np.array(CLASSES)[labels], "logit_0": 0.0, "logit_1": scores,
        }
    )  # fmt: skip


def expected_auc(population: Population, n: int, random: np.random.Generator, draws: int = 1000) -> float:
    """Mean AUC on the population of models that are trained on n people."""
    return float(np.mean([population.auc_of(fitted(*population.draw(n, random))) for _ in range(draws)]))


def one_cohort(
    population: Population, n: int, repeats: int, truth: float, resamples: int, random: np.random.Generator
) -> dict[str, bool]:
    """Whether each interval of one cohort covers its truth, and whether each test finds no difference where none is."""
    features, labels = population.draw(n, random)
    seeds = random.integers(2**31, size=2).tolist()
    covered = {}
    held = np.arange(n) >= n - n // 5
    weights = fitted(features[~held], labels[~held])
    units = units_of(labels[held], features[held] @ weights, np.zeros(held.sum(), dtype=int), "holdout")
    given = bootstrap_interval(units, auc, CLASSES, resamples=resamples, seed=seeds[0])
    covered["holdout, given this model"] = given.low <= population.auc_of(weights) <= given.high
    dealt = [folds_of(labels, random) for _ in range(repeats)]
    judged = [cross_validated(features, labels, fold) for fold in dealt]
    every = np.concatenate([values for values, _ in judged])
    # Each of the two sees every other feature, and so half of those that tell something: they are equally good.
    halves = [
        np.concatenate([cross_validated(features[:, first::2], labels, fold)[0] for fold in dealt]) for first in (0, 1)
    ]
    for name, count in (("one split", 1), (f"{repeats} re-splits", repeats)):
        found = nadeau_bengio_interval(every[: count * FOLDS], 1 / (FOLDS - 1), folds=FOLDS)
        covered[f"procedure, {name}"] = found.low <= truth <= found.high
        paired = nadeau_bengio_interval((halves[0] - halves[1])[: count * FOLDS], 1 / (FOLDS - 1), folds=FOLDS)
        covered[f"difference of two equals, {name}"] = paired.low <= 0 <= paired.high
    narrow = nadeau_bengio_interval(every, 1 / (FOLDS - 1))
    covered[f"(procedure, {repeats} re-splits, J - 1 degrees of freedom)"] = narrow.low <= truth <= narrow.high
    units = units_of(labels, judged[0][1], dealt[0] + 1, "development")
    naive = bootstrap_interval(units, auc, CLASSES, resamples=resamples, seed=seeds[1])
    covered["(bootstrap over participants, taken for the procedure)"] = naive.low <= truth <= naive.high
    return covered


def settings(everything: bool) -> Iterator[tuple[str, int, int, float]]:
    """Name, people, features, distance between the classes."""
    yield "null", 200, 100, 0.0
    yield "known effect", 200, 100, 1.0
    if everything:
        yield "null, 100 people", 100, 100, 0.0
        yield "known effect, 100 people", 100, 100, 1.0
        yield "known effect, 400 people", 400, 200, 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=400, help="cohorts per setting (default: 400)")
    parser.add_argument("--repeats", type=int, default=10, help="re-splits (default: 10)")
    parser.add_argument("--resamples", type=int, default=500, help="of each bootstrap (default: 500)")
    parser.add_argument("--all", action="store_true", help="further sizes of cohorts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the table as TSV")
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    rows = []
    for name, n, p, distance in settings(options.all):
        started = time.monotonic()
        population = Population(p, distance)
        truth = expected_auc(population, n * (FOLDS - 1) // FOLDS, random) if distance else 0.5
        found = pd.DataFrame(
            [
                one_cohort(population, n, options.repeats, truth, options.resamples, random)
                for _ in range(options.cohorts)
            ]
        )
        for interval, share in found.mean().items():
            error = np.sqrt(share * (1 - share) / options.cohorts)
            rows.append((name, n, p, round(truth, 3), interval, round(share, 3), round(1.96 * error, 3)))
        print(f"{name}: {options.cohorts} cohorts in {time.monotonic() - started:.0f} s", flush=True)
    columns = ["setting", "n", "features", "true AUC", "interval", "covered", "+/-"]
    table = pd.DataFrame(rows, columns=columns)
    print(table.to_string(index=False))
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, seed {options.seed}")
    if options.out is not None:
        table.to_csv(options.out, sep="\t", index=False)


if __name__ == "__main__":
    main()
