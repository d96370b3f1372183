"""What can be told without a brain: what is most common, and what is common at the site.

Sites of a collected cohort differ in whom they scanned: a model of age has to beat the site's median before it has
learned anything about brains (docs/methods.md, section 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.baselines.base import Baseline
from bids_neurossm.baselines.linear_solver import participant_weights
from bids_neurossm.checkpoint_format import Arrays
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training

#: Participants at the shares of the whole training set that are added to each site, so that no share is 0.
_PRIOR = 1.0


class SiteOnly(Baseline):
    """Predicts what is common at the site; what is common at all, where a site was not seen in training."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.scores: dict[str, list[float]] = {}
        self.elsewhere: list[float] = []

    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Count per site; every participant counts once per label."""
        runs, target = cohort.runs.iloc[indices], cohort.labels(indices)
        sites = runs["site"].to_numpy(dtype=str)
        weights = participant_weights(runs, target, len(self.classes))
        everybody = np.ones(len(sites), dtype=bool)
        if not self.classes:
            self.elsewhere = [_weighted_median(target, weights)]
            self.scores = {site: [_weighted_median(target[rows], weights[rows])] for site, rows in _by_site(sites)}
            return
        share = self._counts(target, weights, everybody)
        share = np.maximum(share, 0.5) / np.maximum(share, 0.5).sum()
        self.elsewhere = np.log(share).tolist()
        for site, rows in _by_site(sites):
            counts = self._counts(target, weights, rows) + _PRIOR * share
            self.scores[site] = np.log(counts / counts.sum()).tolist()

    def _counts(
        self, target: NDArray[np.int64], weights: NDArray[np.float64], rows: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        return np.bincount(target[rows], weights=weights[rows], minlength=len(self.classes)).astype(np.float64)

    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        sites = cohort.runs["site"].iloc[indices].to_numpy(dtype=str)
        return np.array([self.scores.get(site, self.elsewhere) for site in sites.tolist()], dtype=np.float64)

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        names = sorted(self.scores)
        arrays = {
            "scores": np.array([self.scores[name] for name in names], dtype=np.float64),
            "elsewhere": np.array(self.elsewhere, dtype=np.float64),
        }
        return arrays, {"sites": names}

    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        rows = arrays["scores"].tolist()
        self.scores = dict(zip(map(str, state["sites"]), rows, strict=True))
        self.elsewhere = arrays["elsewhere"].tolist()


def _by_site(sites: NDArray[np.str_]) -> list[tuple[str, NDArray[np.bool_]]]:
    return [(str(site), sites == site) for site in np.unique(sites)]


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Value that halves the weight; the mean of two where it falls between them."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(weights[order])
    half = passed[-1] / 2
    low = int(np.searchsorted(passed, half * (1 - 1e-12), "left"))
    high = int(np.searchsorted(passed, half * (1 + 1e-12), "right"))
    return float((values[order][low] + values[order][min(high, len(values) - 1)]) / 2)


def site_only(name: str, spec: ModelSpec, training: Training, execution: Execution) -> SiteOnly:
    """Make the baseline; nothing can be set."""
    return SiteOnly(name)


class Majority(Baseline):
    """Predicts the frequencies of the classes, or the mean, of the training participants."""

    scores: NDArray[np.float64]

    def _learn(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Count labels; every participant counts once per label."""
        target = cohort.labels(indices)
        runs = cohort.runs.iloc[indices]
        weights = participant_weights(runs, target, len(self.classes))
        if not self.classes:
            self.scores = np.array([np.average(target, weights=weights)])
            return
        shares = np.bincount(target, weights=weights, minlength=len(self.classes)) / weights.sum()
        # Half a participant keeps the logit of a class without a training run finite.
        self.scores = np.log(np.maximum(shares, 0.5 / len(runs)))

    def _predicted(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the same row for everybody, shape (n, C) or (n, 1)."""
        return np.tile(self.scores, (len(indices), 1))

    def _state(self) -> tuple[Arrays, dict[str, Any]]:
        return {"scores": self.scores}, {}

    def _take(self, arrays: Arrays, state: dict[str, Any]) -> None:
        self.scores = arrays["scores"]
        if self.scores.shape != (len(self.classes) or 1,):
            raise ValueError(f"it has {self.scores.shape} scores for {len(self.classes)} classes")


def majority(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Majority:
    """Make the majority baseline; nothing can be set."""
    return Majority(name)
