"""The checks beside the maps of an analysis: what the trained models, on disk, say to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bids_neurossm.analysis.cells import ATTRIBUTION_FIELDS, Analysis, Cell
from bids_neurossm.analysis.held_out import HeldOut, explaining_cells
from bids_neurossm.attribution.checks import (
    FRACTIONS,
    Check,
    DeletionCurve,
    agreement,
    agreement_check,
    completeness,
    deletion_check,
    deletion_sets,
    order_of,
    overall_check,
    random_orders,
    randomisation_check,
)
from bids_neurossm.attribution.cpa import FURTHER_TERMS, PathwayAttribution
from bids_neurossm.attribution.maps import ClassMap, pathway_weights
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.map_perturbations import decisions_without, random_shares
from bids_neurossm.estimators.neural import NeuralEstimator

#: The checks that ask the models again rest on at most so many held-out participants of a class, one run of each.
PARTICIPANTS_PER_CLASS = 10
#: Models with random weights that stand in for every trained one.
RANDOM_MODELS = 5
#: Row of the permutation control in ``controls.tsv``.
_PERMUTED = "labels permuted"
# All steps of a deletion but the first, with every region, which is the same in any order.
_LATER = slice(1, None)


@dataclass(frozen=True)
class _Asked:
    """What the models of the first seed answered about a sample of S held-out runs.

    `shares` (S, P, R) are theirs, `random_shares` (K, S, P, R) those of random weights; `whole` (S,) are decisions with
    all regions, `random` (K (F - 1), S) with regions taken away in random orders, `own` (F - 1, S) in the order of a
    map, for the runs of that map.
    """

    labels: npt.NDArray[np.str_]
    shares: npt.NDArray[np.float64]
    random_shares: npt.NDArray[np.float64]
    whole: npt.NDArray[np.float64]
    random: npt.NDArray[np.float64]
    own: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def empty(cls, labels: npt.NDArray[np.str_], shape: tuple[int, ...], n_sets: int, maps: list[str]) -> _Asked:
        """Make room for the answers; `shape` is (P, R)."""
        n = len(labels)
        own = {name: np.zeros((len(FRACTIONS) - 1, n)) for name in maps}
        shares, random = np.zeros((n, *shape)), np.zeros((RANDOM_MODELS, n, *shape))
        return cls(labels, shares, random, np.zeros(n), np.zeros((n_sets, n)), own)

    def of(self, label: str) -> npt.NDArray[np.bool_]:
        """Tell the runs that a map is of."""
        return np.ones(len(self.labels), dtype=bool) if not label else self.labels == label


def check_maps(
    analysis: Analysis, cohort: Cohort, cells: list[Cell], found: HeldOut, maps: list[ClassMap], permutation_p: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Check every map.

    Parameters
    ----------
    analysis : Analysis
        Where the checkpoints are.
    cohort : Cohort
        The runs.
    cells : list of Cell
        Of the model, all folds and seeds.
    found : HeldOut
        What the maps are made of.
    maps : list of ClassMap
        The maps that are shown.
    permutation_p : float
        Of the control with permuted labels.

    Returns
    -------
    checks : DataFrame
        ``label``, ``check``, ``value``, ``p``, ``expected``, ``n`` (runs asked again), ``verdict``.
    deletion : DataFrame
        ``label``, ``fraction``, ``map``, ``random_mean``, ``random_low``, ``random_high``, ``n``.

    Notes
    -----
    Completeness and agreement come from what the cells hold. Deletion and random weights ask the models of the first
    seed again, each about participants that it never saw: about 100 predictions of each run in the sample, whatever
    the size of the cohort (for two classes 20 runs, so as much as some 15 epochs of training on 50 runs).
    """
    asked = _ask(analysis, cohort, cells, found, maps)
    rows = [("all maps", _worst_completeness(cells), found.indices.size)]
    curves = []
    for each in maps:
        runs = asked.of(each.label)
        name = each.label or "discriminative"
        checks = [agreement_check_over(cells, cohort, each.label, what) for what in ("folds", "seeds")]
        checks.append(_randomisation(asked, each, runs))
        if each.defined:
            curve = _curve(asked, each.label, runs)
            checks.append(deletion_check(curve))
            curves.append(_curve_table(curve, name, int(runs.sum())))
        checks.append(overall_check([rows[0][1], *checks], each.defined, permutation_p))
        rows += [(name, check, int(runs.sum())) for check in checks]
    table = pd.DataFrame(
        [(name, one.check, one.value, one.p, one.expected, n, one.verdict) for name, one, n in rows],
        columns=["label", "check", "value", "p", "expected", "n", "verdict"],
    )
    columns = ["label", "fraction", "map", "random_mean", "random_low", "random_high", "n"]
    return table, pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def check_run(
    estimator: NeuralEstimator, cohort: Cohort, found: PathwayAttribution, score: npt.NDArray[np.float64]
) -> list[Check]:
    """Check the map of the one run of a cohort: completeness, and deletion of its own top regions (100 predictions).

    Agreement over models and permuted labels belong to the analysis that the checkpoint comes from.
    """
    checks = [completeness(found)]
    if not np.isfinite(score).all():
        return checks
    orders = [order_of(score), *random_orders(score.size)]
    everything = np.ones((1, score.size), dtype=bool)
    kept = np.concatenate([everything, *(deletion_sets(order)[_LATER] for order in orders)])
    answers = decisions_without(estimator, cohort, np.array([0]), found.target, kept)[:, 0]
    curves = np.concatenate([np.full((len(orders), 1), answers[0]), answers[1:].reshape(len(orders), -1)], axis=1)
    return [*checks, deletion_check(DeletionCurve(np.array(FRACTIONS), curves[0], curves[1:]))]


def permutation_p(controls: pd.DataFrame) -> float:
    """Return p of the control with permuted labels; NaN where it was not or could not be made."""
    mine = controls[controls["control"].astype(str).str.startswith(_PERMUTED)]
    return float(mine["p"].iloc[0]) if len(mine) else float("nan")


def agreement_check_over(cells: list[Cell], cohort: Cohort, label: str, over: str) -> Check:
    """Compare the maps of folds, or those of seeds, each averaged over the other as the map of the analysis is."""
    maps: dict[int, list[npt.NDArray[np.float64]]] = {}
    for cell in cells:
        if not cell.attribution:
            continue
        runs = cohort.runs.iloc[cell.indices]["label"].astype(str).to_numpy() == label if label else slice(None)
        importance, share = cell.attribution["importance"][runs], cell.attribution["share"][runs]
        if len(importance):
            drawn = np.tensordot(pathway_weights(importance.mean(axis=0)), share.mean(axis=0), axes=1)
            maps.setdefault(cell.fold if over == "folds" else cell.seed, []).append(drawn)
    return agreement_check(agreement(np.array([np.mean(several, axis=0) for several in maps.values()])), over)


def _worst_completeness(cells: list[Cell]) -> Check:
    """Completeness of the cell where the largest part is missing."""
    fields = (*ATTRIBUTION_FIELDS, *FURTHER_TERMS)
    checks = [
        completeness(
            PathwayAttribution(
                pathways=tuple(cell.attribution["pathways"].tolist()),
                localisation="stored",
                **{name: cell.attribution[name] for name in fields if name in cell.attribution},
            )
        )
        for cell in cells
        if cell.attribution
    ]
    return max(checks, key=lambda check: check.value)


def _sample(found: HeldOut, labels: npt.NDArray[np.str_], who: npt.NDArray[np.str_], seed: int) -> list[int]:
    """Choose the runs that are asked again: places in `found`, one run of each participant within a class."""
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        _, first = np.unique(who[places], return_index=True)
        chosen += places[generator.permutation(first)[:PARTICIPANTS_PER_CLASS]].tolist()
    return sorted(chosen)


def _ask(analysis: Analysis, cohort: Cohort, cells: list[Cell], found: HeldOut, maps: list[ClassMap]) -> _Asked:
    """Let the models of the first seed answer, each about the runs of the sample that it never saw."""
    runs = cohort.runs.iloc[found.indices]
    labels = (runs["label"].astype(str) if cohort.classes else pd.Series("", index=runs.index)).to_numpy(dtype=str)
    seed = analysis.execution.random_seed
    sample = _sample(found, labels, runs["participant_id"].to_numpy(dtype=str), seed)
    n_regions = found.share.shape[2]
    common = np.concatenate([deletion_sets(order)[_LATER] for order in random_orders(n_regions, seed=seed)])
    everything = np.ones((1, n_regions), dtype=bool)
    own = {each.label: deletion_sets(order_of(each.score))[_LATER] for each in maps if each.defined}
    asked = _Asked.empty(labels[sample], found.share.shape[1:], len(common), list(own))
    explaining = explaining_cells(cells)
    first = min(cell.seed for cell in explaining)
    for cell in (cell for cell in explaining if cell.seed == first):
        mine = np.array([place for place, row in enumerate(sample) if found.indices[row] in cell.indices], dtype=int)
        if not mine.size:
            continue
        rows, target = found.indices[np.array(sample)[mine]], found.target[np.array(sample)[mine]]
        estimator = load_trained(
            analysis.checkpoint_file(cell.fold, cell.seed), Execution(device=analysis.execution.device)
        )
        place = {int(row): number for number, row in enumerate(cell.indices)}
        asked.shares[mine] = cell.attribution["share"][[place[int(row)] for row in rows]]
        asked.random_shares[:, mine] = random_shares(
            estimator, cohort, rows, target, analysis.attribution.localisation, RANDOM_MODELS, seed + cell.fold
        )
        answers = decisions_without(estimator, cohort, rows, target, np.concatenate([everything, common]))
        asked.whole[mine], asked.random[:, mine] = answers[0], answers[1:]
        for label, kept in own.items():
            of_map = np.flatnonzero(asked.of(label)[mine])
            if of_map.size:
                answers = decisions_without(estimator, cohort, rows[of_map], target[of_map], kept)
                asked.own[label][:, mine[of_map]] = answers
    return asked


def _curve(asked: _Asked, label: str, runs: npt.NDArray[np.bool_]) -> DeletionCurve:
    """Average the decisions over the runs of a map."""
    inner = np.concatenate([asked.own[label][np.newaxis], asked.random.reshape(-1, len(FRACTIONS) - 1, len(runs))])
    means = inner[:, :, runs].mean(axis=2)
    curves = np.concatenate([np.full((len(means), 1), asked.whole[runs].mean()), means], axis=1)
    return DeletionCurve(np.array(FRACTIONS), curves[0], curves[1:])


def _randomisation(asked: _Asked, each: ClassMap, runs: npt.NDArray[np.bool_]) -> Check:
    """Compare the map of the sample with those of random weights, under the same weights of the pathways."""
    trained = np.tensordot(each.weight, asked.shares[runs].mean(axis=0), axes=1)
    randomised = np.einsum("p,kpr->kr", each.weight, asked.random_shares[:, runs].mean(axis=1))
    return randomisation_check(trained, randomised)


def _curve_table(curve: DeletionCurve, name: str, n: int) -> pd.DataFrame:
    low, high = np.percentile(curve.random, [5, 95], axis=0)
    columns = {"fraction": curve.fractions, "map": curve.curve, "random_mean": curve.random.mean(axis=0)}
    return pd.DataFrame({"label": name, **columns, "random_low": low, "random_high": high, "n": n})
