"""Where dynamics are the signal: classes with equal zero-lag covariance, for every model, with equal search.

    python benchmarks/dynamics.py search OUT.tsv           settings of every model, on generator seed 1
    python benchmarks/dynamics.py run OUT.tsv              the table, with the settings in SETTINGS, on other seeds
    python benchmarks/dynamics.py oracles                  what can be had
    python benchmarks/dynamics.py table OUT.tsv            the table as Markdown

The battery is `bids_neurossm.simulation.dynamics`. Rows are appended to OUT.tsv as they are known, and known ones are
not made again, so that a run that was interrupted goes on. Every model has four settings to choose from, one choice for
all parts; runs are evaluated whole.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from nilearn.connectome import ConnectivityMeasure
from numpy.typing import NDArray
from sklearn.covariance import EmpiricalCovariance
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from training import WindowedAttention

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.neural import NeuralEstimator
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.files.toml_files import section_from
from bids_neurossm.models.pathway_model import PathwayConfig, PathwayModel
from bids_neurossm.registry import ModelEntry, register_model
from bids_neurossm.simulation.dynamics import LENGTH, PARTS, oracle_features, simulate_part

#: Generator seeds of the search, and of the training and test runs of the table.
SEARCH, TRAIN, TEST = 1, 100, 900
#: Training runs; the last two for the parts whose classes are of fourth order in two regions.
SIZES, MORE, HARD = (200, 1000), (2000, 4000), ("dwell-times", "conjunction")
TESTED = 1000
COLUMNS = ("stage", "part", "model", "setting", "n", "seed", "test", "train", "seconds", "parameters")


@dataclass(frozen=True)
class Peer:
    """A model of the table.

    Attributes
    ----------
    label : str
        In words.
    settings : tuple of dict
        What the search chooses from.
    fit : callable
        Takes a setting, series (n, T, R), classes (n,) and a seed; returns what predicts classes, and how many
        parameters it has.
    """

    label: str
    settings: tuple[dict[str, Any], ...]
    fit: Callable[[dict[str, Any], NDArray[np.float32], NDArray[np.int64], int], tuple[Any, int]]


# --- classical peers ------------------------------------------------------------------------------------------------


def lagged_covariances(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the covariances of every pair of regions at lags 1 and 2, (n, 2 R R)."""
    found = [
        np.einsum("ntr,nts->nrs", series[:, lag:], series[:, :-lag], optimize=True) / series.shape[1] for lag in (1, 2)
    ]
    return np.concatenate(found, axis=1).reshape(len(series), -1).astype(np.float64)


def sliding_connectivity(series: NDArray[np.float32], window: int = 20) -> NDArray[np.float64]:
    """Return the standard deviation of each correlation over windows, (n, R (R - 1) / 2)."""
    first, second = np.triu_indices(series.shape[2], 1)
    found = []
    for run in series:
        pieces = np.lib.stride_tricks.sliding_window_view(run, window, axis=0)[::5]
        scores = pieces - pieces.mean(axis=2, keepdims=True)
        scores /= scores.std(axis=2, keepdims=True)
        correlations = np.einsum("wrt,wst->wrs", scores, scores, optimize=True)[:, first, second] / window
        found.append(np.arctanh(np.clip(correlations, -0.999, 0.999)).std(axis=0))
    return np.stack(found).astype(np.float64)


def kurtosis(series: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the kurtosis of each region, (n, R)."""
    return np.asarray((series.astype(np.float64) ** 4).mean(axis=1))


def logistic(setting: dict[str, Any], values: NDArray[np.float64], y: NDArray[np.int64]) -> Any:
    """Fit logistic regression to features."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=setting["C"], max_iter=2000)).fit(values, y)


def quadratic(setting: dict[str, Any], values: NDArray[np.float64], y: NDArray[np.int64]) -> Any:
    """Fit a support vector machine with a quadratic kernel to features."""
    machine = SVC(kernel="poly", degree=2, coef0=1.0, C=setting["C"], gamma=1 / values.shape[1])
    return make_pipeline(StandardScaler(), machine).fit(values, y)


def on(features: Callable[[NDArray[np.float32]], NDArray[np.float64]], machine: Any = logistic) -> Any:
    """Fit a machine to features that learn nothing themselves."""

    def fit(setting: dict[str, Any], X: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> tuple[Any, int]:
        values = features(X)
        model = machine(setting, values, y)
        return (lambda new: model.predict(features(new))), values.shape[1] + 1

    return fit


def tangent(setting: dict[str, Any], X: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> tuple[Any, int]:
    """Fit logistic regression to tangent vectors of plain covariances: shrinkage would read moments of fourth order."""
    space = ConnectivityMeasure(EmpiricalCovariance(), kind="tangent", vectorize=True, standardize=False)
    values = space.fit_transform(list(X))
    model = logistic(setting, values, y)
    return (lambda new: model.predict(space.transform(list(new)))), values.shape[1] + 1


# --- networks of this benchmark, trained by the package's loop -------------------------------------------------------


@dataclass(frozen=True)
class SequenceConfig(PathwayConfig):
    """Shape of a peer network: `kind` is ``gru`` or ``attention``."""

    n_regions: int
    n_outputs: int
    kind: str = "gru"
    width: int = 16
    blocks: int = 2
    dropout: float = 0.3

    @property
    def pathway_names(self) -> tuple[str, ...]:
        """One."""
        return ("series",)


class SequenceModel(PathwayModel):
    """A recurrent network, or blocks of windowed attention; the mean over time is read out. Runs are whole here."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.kind == "gru":
            self.gru = nn.GRU(config.n_regions, width, config.blocks, batch_first=True, dropout=config.dropout)
        else:
            self.embedding = nn.Linear(config.n_regions, width)
            self.place = nn.Parameter(torch.randn(LENGTH, width) * 0.1)
            self.blocks = nn.ModuleList(WindowedAttention(width, full=False) for _ in range(config.blocks))
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Parameter(torch.randn(1, config.n_outputs, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(config.n_outputs))
        self.register_buffer("pathway_mean", torch.zeros(1, width))

    def features(
        self, series: Tensor, lengths: Tensor, runs: Tensor | None = None, repetition_times: Tensor | None = None
    ) -> Tensor:
        """Return the mean over time, (B, 1, W)."""
        if self.config.kind == "gru":
            tokens = self.gru(series)[0]
        else:
            tokens = self.embedding(series) + self.place[: series.shape[1]]
            for block in self.blocks:
                tokens = self.dropout(block(tokens))
        return self.dropout(tokens.mean(dim=1))[:, None]


class SequenceEstimator(NeuralEstimator):
    """The peer networks in the package's training loop."""

    def _config(self, cohort: Cohort) -> SequenceConfig:
        shape = {**self.spec.settings, "n_regions": len(cohort.regions), "n_outputs": max(len(cohort.classes), 1)}
        return self._config_of(shape)

    def _config_of(self, settings: Any) -> SequenceConfig:
        return section_from(SequenceConfig, settings, "[model]")

    def _model(self, config: SequenceConfig) -> SequenceModel:
        return SequenceModel(config)


def create(name: str, spec: ModelSpec, training: Training, execution: Execution) -> SequenceEstimator:
    """Make an unfitted peer."""
    return SequenceEstimator(name, spec, training, execution)


register_model("sequence", ModelEntry(f"{__name__}:create", "peer network"))

#: Learning rates and dropout that every network chooses from.
SEARCHED = tuple({"learning_rate": rate, "dropout": dropout} for rate in (3e-3, 1e-2) for dropout in (0.1, 0.4))


def cohort_of(X: NDArray[np.float32], y: NDArray[np.int64], folder: str) -> Cohort:
    """Lay series into a cohort."""
    names = [f"run-{number}" for number in range(len(X))]
    table = pd.DataFrame({"run": names, "participant_id": names, "label": [str(label) for label in y]})
    regions = [f"region-{number + 1}" for number in range(X.shape[2])]
    return Cohort.create(folder, table, X, regions, [""] * len(regions), "class")


def estimated(name: str, shape: dict[str, Any]) -> Any:
    """Fit a model of the package with some 600 steps for 200 runs, 1,000 for 1,000 and 1,600 for 4,000."""

    def fit(setting: dict[str, Any], X: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> tuple[Any, int]:
        per_epoch = -(-len(X) // 32)
        training = Training(
            epochs=round(1000 * (len(X) / 1000) ** 0.33 / per_epoch), batch_size=32, window=X.shape[1],
            learning_rate=setting.get("learning_rate", 3e-3), weight_decay=0.05, label_smoothing=0.0,
        )  # fmt: skip
        model = dict(shape)
        if "dropout" in setting:
            model["dropout"] = setting["dropout"]
        estimator: Any = create_estimator(name, ModelSpec(name, "demo", model), training, Execution(device="cpu"))
        with tempfile.TemporaryDirectory(prefix="dynamics-") as folder:
            estimator.fit(cohort_of(X, y, folder), np.arange(len(X)), seed)

        def predict(new: NDArray[np.float32]) -> NDArray[np.int64]:
            with tempfile.TemporaryDirectory(prefix="dynamics-") as other:
                asked = cohort_of(new, np.arange(len(new)) % 2, other)
                return np.asarray(estimator.predict(asked, np.arange(len(new)))).argmax(axis=1)

        network = getattr(estimator, "model", None)
        if isinstance(network, nn.Module):
            return predict, sum(each.numel() for each in network.parameters())
        return predict, X.shape[2] * (X.shape[2] - 1) // 2 + 1

    return fit


_C = tuple({"C": float(value)} for value in (0.001, 0.01, 0.1, 1.0))
_MARGINS = tuple({"C": float(value)} for value in (0.1, 1.0, 10.0, 100.0))
_NEUROSSM = {"scales": [1, 2, 4], "streams": ["raw", "difference"], "width": 16, "state": 8, "region_dropout": 0.0}

PEERS: dict[str, Peer] = {
    "neurossm": Peer("NeuroSSM", SEARCHED, estimated("neurossm", _NEUROSSM)),
    "gru": Peer("GRU, equal width", SEARCHED, estimated("sequence", {"kind": "gru", "width": 16})),
    "gru-large": Peer("GRU, equal parameters", SEARCHED, estimated("sequence", {"kind": "gru", "width": 48})),
    "attention": Peer(
        "windowed attention, equal width", SEARCHED, estimated("sequence", {"kind": "attention", "width": 16})
    ),
    "attention-large": Peer(
        "windowed attention, equal parameters", SEARCHED, estimated("sequence", {"kind": "attention", "width": 48})
    ),
    "mean-pooled-mlp": Peer(
        "mean-pooled MLP", tuple({"learning_rate": rate} for rate in (1e-3, 3e-3, 1e-2, 3e-2)),
        estimated("mean-pooled-mlp", {}),
    ),
    "tangent": Peer("tangent connectivity", _C, tangent),
    "shrunk-tangent": Peer("tangent connectivity, Ledoit-Wolf", ({},), estimated("tangent-connectivity", {})),
    "multiscale-tangent": Peer("multiscale tangent", ({},), estimated("multiscale-tangent", {})),
    "lagged-linear": Peer("covariances at lags 1 and 2, linear", _C, on(lagged_covariances)),
    "lagged-quadratic": Peer("covariances at lags 1 and 2, quadratic", _MARGINS, on(lagged_covariances, quadratic)),
    "sliding-window": Peer("sd of sliding-window connectivity", _C, on(sliding_connectivity)),
    "kurtosis": Peer("kurtosis of each region", _C, on(kurtosis)),
}  # fmt: skip

#: What the search has chosen, by its mean over the parts; the number of a setting of each peer.
SETTINGS: dict[str, int] = {}


@dataclass
class Rows:
    """A table on disk that grows by rows."""

    path: Path
    known: set[tuple[str, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.path.exists():
            table = pd.read_csv(self.path, sep="\t", dtype=str)
            self.known = {tuple(row) for row in table[list(COLUMNS[:6])].itertuples(index=False)}
        else:
            self.path.write_text("\t".join(COLUMNS) + "\n", encoding="utf-8")

    def measure(self, stage: str, part: str, model: str, setting: int, n: int, seed: int) -> None:
        """Fit and test a model, unless it is known."""
        key = (stage, part, model, str(setting), str(n), str(seed))
        if key in self.known:
            return
        offset = SEARCH if stage == "search" else TRAIN
        X, y = simulate_part(part, n, offset + seed)
        new, truth = simulate_part(part, TESTED if stage == "run" else 500, offset + TEST + seed)
        began = time.process_time()
        predict, parameters = PEERS[model].fit(PEERS[model].settings[setting], X, y, seed)
        seconds = time.process_time() - began
        scores = [float((predict(series) == labels).mean()) for series, labels in ((new, truth), (X, y))]
        row = (*key, *(f"{score:.4f}" for score in scores), f"{seconds:.1f}", str(parameters))
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\t".join(row) + "\n")
        print(*row, flush=True)


def search(rows: Rows, models: list[str]) -> None:
    """Measure every setting of every model on every part, with 1,000 runs of the search's generator."""
    for part in PARTS:
        for model in models:
            for setting in range(len(PEERS[model].settings)):
                rows.measure("search", part, model, setting, SIZES[-1], 0)


def run(rows: Rows, models: list[str], seeds: int) -> None:
    """Measure the chosen settings."""
    for seed in range(1, seeds + 1):
        for part in PARTS:
            for n in (*SIZES, *(MORE if part in HARD else ())):
                for model in models:
                    rows.measure("run", part, model, SETTINGS.get(model, 0), n, seed)


def oracles() -> None:
    """Print what one gets who knows what was planted."""
    for part in PARTS:
        X, y = simulate_part(part, 2000, TRAIN)
        new, truth = simulate_part(part, TESTED, TRAIN + TEST)
        model = LogisticRegression(C=10, max_iter=2000).fit(oracle_features(part, X), y)
        print(part, f"{model.score(oracle_features(part, new), truth):.3f}", PARTS[part].statistics, sep="\t")


def chosen(path: Path) -> None:
    """Print the setting of each model with the best mean over parts and sizes."""
    table = pd.read_csv(path, sep="\t")
    found = table[table["stage"] == "search"].groupby(["model", "setting"])["test"].mean().unstack()
    print(found.round(3).to_string())
    print({str(model): int(row.idxmax()) for model, row in found.iterrows()})


def table(path: Path) -> None:
    """Print test accuracy (training accuracy) as Markdown, means over seeds."""
    found = pd.read_csv(path, sep="\t")
    found = found[found["stage"] == "run"]
    means = found.groupby(["model", "part", "n"])[["test", "train"]].mean()
    for n in sorted(found["n"].unique()):
        parts = [part for part in PARTS if (found["part"].eq(part) & found["n"].eq(n)).any()]
        print(f"\n{n} training runs\n\n| model | " + " | ".join(parts) + " |\n|---|" + "---|" * len(parts))
        for model, peer in PEERS.items():
            cells = []
            for part in parts:
                known = (model, part, n) in means.index
                cells.append("{:.2f} ({:.2f})".format(*means.loc[(model, part, n)]) if known else "")
            print(f"| {peer.label} | " + " | ".join(cells) + " |")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("oracles", "search", "chosen", "run", "table"))
    parser.add_argument("table", type=Path, nargs="?")
    parser.add_argument("--models", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "oracles":
        oracles()
    elif options.what == "search":
        search(Rows(options.table), options.models)
    elif options.what == "run":
        run(Rows(options.table), options.models, options.seeds)
    elif options.what == "chosen":
        chosen(options.table)
    else:
        table(options.table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
