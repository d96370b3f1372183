"""The experts of the second family over the cells of an analysis: matched, counted, written, painted.

Experts have no order: the first one of a model may be the third one of another. Before anything is averaged over folds
and seeds, the experts of every cell are matched to those of the first by the regions that they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import linear_sum_assignment

from bids_neurossm.analysis.cells import Analysis, Cell
from bids_neurossm.analysis.held_out import explaining_cells
from bids_neurossm.analysis.map_images import Painter
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.files.write import write_json, write_tsv

Floats = npt.NDArray[np.float64]

#: Arrays of a cell with experts: their weights by region (n, R, E), and by patch (n, N, E), NaN behind the last.
OF_REGIONS, OF_TIME = "experts_of_regions", "experts_of_time"
#: An expert that gets less than this share of an even split is not used: the router has collapsed.
COLLAPSED = 0.1
#: Fields of an attribution over experts, and the axis of the experts.
_OVER_EXPERTS = {"importance": 1, "importance_zero": 1, "score": 1, "share": 1, "gap": 1, OF_REGIONS: 2}

_COLUMNS = {
    "index": {"Description": "Value of the region in the label image."},
    "dominant": {"Description": "Expert with the largest mean weight."},
    "expert-*": {
        "Description": "Mean weight of the expert over held-out participants; the weights of a region sum to 1."
    },
}


class Usage(NamedTuple):
    """How the experts of a mixture are used.

    Attributes
    ----------
    share : array (E,)
        Of the weight.
    entropy : float
        Of the shares, over that of an even split: 1 is even, 0 is one expert.
    collapsed : bool
        Whether an expert gets less than a tenth of what an even split would give it.
    """

    share: Floats
    entropy: float
    collapsed: bool


def expert_usage(weights: Floats) -> Usage:
    """Sum the weights (n, ..., E) of experts up; NaN is what was not routed."""
    total = np.nansum(weights.reshape(-1, weights.shape[-1]), axis=0)
    share = total / total.sum()
    positive = share[share > 0]
    entropy = float(-(positive * np.log(positive)).sum() / np.log(max(len(share), 2)))
    return Usage(share, entropy, bool((share < COLLAPSED / len(share)).any()))


def matched_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Put the experts of every cell into the order of the first that has some; other cells are left as they are."""
    reference: Floats | None = None
    found = []
    for cell in cells:
        if OF_REGIONS not in cell.attribution:
            found.append(cell)
            continue
        own = _maps(cell)
        reference = own if reference is None else reference
        order = matched(reference, own)
        arrays = {
            name: np.take(values, order, axis=_OVER_EXPERTS[name]) if name in _OVER_EXPERTS else values
            for name, values in cell.attribution.items()
        }
        found.append(replace(cell, attribution=arrays))
    return found


def matched(reference: Floats, others: Floats) -> npt.NDArray[np.int64]:
    """Return the order of the experts of `others` (E, R) in which they correlate most with those of `reference`.

    The assignment is the best one of all together (Hungarian method).
    """
    rows, columns = linear_sum_assignment(-_correlations(reference, others))
    order = np.empty(len(rows), dtype=np.int64)
    order[rows] = columns
    return order


def agreement_over_seeds(cells: Sequence[Cell]) -> pd.DataFrame:
    """Correlate the maps of matched experts between models of one fold that differ in their seed.

    Returns
    -------
    DataFrame
        ``fold``, ``seed``, ``other_seed``, ``expert``, ``correlation``; no row where there is one seed.
    """
    rows = []
    own = [cell for cell in cells if OF_REGIONS in cell.attribution]
    for one, other in combinations(own, 2):
        if one.fold != other.fold:
            continue
        mine, theirs = _maps(one), _maps(other)
        order = matched(mine, theirs)
        for number, correlation in enumerate(_correlations(mine, theirs[order]).diagonal(), start=1):
            place = {"fold": one.fold, "seed": one.seed, "other_seed": other.seed}
            rows.append({**place, "expert": f"expert-{number}", "correlation": correlation})
    return pd.DataFrame(rows, columns=["fold", "seed", "other_seed", "expert", "correlation"])


def usage_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """Say how much each expert of each model is used.

    Returns
    -------
    DataFrame
        ``mixture`` (regions, time), ``fold``, ``seed``, ``expert``, ``share`` of the weight, ``entropy`` of the shares
        over that of an even split, ``collapsed`` (1 where an expert of the mixture gets less than a tenth of an even
        share).
    """
    rows = []
    for cell in cells:
        for mixture, name in (("regions", OF_REGIONS), ("time", OF_TIME)):
            if name not in cell.attribution:
                continue
            usage = expert_usage(cell.attribution[name])
            place = {"mixture": mixture, "fold": cell.fold, "seed": cell.seed}
            verdict = {"entropy": usage.entropy, "collapsed": int(usage.collapsed)}
            rows += [
                {**place, "expert": f"expert-{number}", "share": part, **verdict}
                for number, part in enumerate(usage.share, start=1)
            ]
    return pd.DataFrame(rows, columns=["mixture", "fold", "seed", "expert", "share", "entropy", "collapsed"])


def write_experts(
    analysis: Analysis, cells: Sequence[Cell], cohort: Cohort, labels: Sequence[int], painter: Painter | None
) -> list[str]:
    """Write which experts the regions and the times of held-out runs were given, and how alike seeds are.

    Parameters
    ----------
    analysis : Analysis
        Names of the files.
    cells : sequence of Cell
        What `matched_cells` gives.
    cohort : Cohort
        Names of the regions.
    labels : sequence of int
        Value of each region in the label image.
    painter : Painter or None
        For one image per expert; None where there is no atlas.

    Returns
    -------
    list of str
        What the report should say; nothing where the model has no experts.
    """
    chosen = [cell for cell in explaining_cells(list(cells)) if OF_REGIONS in cell.attribution]
    if not chosen:
        return []
    outputs = analysis.outputs
    weights = np.concatenate([cell.attribution[OF_REGIONS] for cell in chosen]).mean(axis=0)
    names = [f"expert-{number}" for number in range(1, weights.shape[1] + 1)]
    table = pd.DataFrame({"index": list(labels), "name": cohort.regions, "network": cohort.networks})
    table["dominant"] = [names[number] for number in weights.argmax(axis=1)]
    table[names] = weights
    write_tsv(outputs.named("regions", ".tsv", "expertweight"), table)
    write_json(outputs.named("regions", ".json", "expertweight"), _COLUMNS)
    write_tsv(outputs.table("experts_over_time"), _over_time(chosen))
    usage, agreement = usage_table(chosen), agreement_over_seeds(chosen)
    write_tsv(outputs.table("experts"), usage)
    write_tsv(outputs.table("experts_over_seeds"), agreement)
    if painter is not None:
        _paint(analysis, painter, weights, names, sum(len(cell.indices) for cell in chosen))
    return _notes(usage, agreement)


def routing_arrays(estimator: Any, cohort: Cohort, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Return what the routers of a model gave held-out runs, for the cell; nothing where it has none."""
    if not hasattr(estimator, "routing"):
        return {}
    of_regions, of_time = estimator.routing(cohort, rows)
    return {OF_REGIONS: of_regions, OF_TIME: of_time}


def _maps(cell: Cell) -> Floats:
    """Mean weight of each expert by region, (E, R)."""
    weights: Floats = cell.attribution[OF_REGIONS].mean(axis=0).T
    return weights


def _correlations(reference: Floats, others: Floats) -> Floats:
    """Correlate maps (E, R) with maps (E, R); 0 where one does not vary."""

    def scores(maps: Floats) -> Floats:
        away = maps - maps.mean(axis=1, keepdims=True)
        size = np.linalg.norm(away, axis=1, keepdims=True)
        return np.asarray(np.divide(away, size, out=np.zeros_like(away), where=size > 1e-12))

    return np.asarray(scores(reference) @ scores(others).T)


def _over_time(cells: Sequence[Cell]) -> pd.DataFrame:
    """Mean weights of the experts of time by patch, of each model: they have no regions to be matched by."""
    frames = []
    for cell in cells:
        weights = cell.attribution[OF_TIME]
        there = np.isfinite(weights[:, :, 0]).sum(axis=0)
        mean = np.nansum(weights, axis=0) / np.maximum(there, 1)[:, None]
        frame = pd.DataFrame(mean, columns=[f"expert-{number}" for number in range(1, mean.shape[1] + 1)])
        frame.insert(0, "fold", cell.fold)
        frame.insert(1, "seed", cell.seed)
        frame.insert(2, "patch", range(1, len(mean) + 1))
        frames.append(frame.assign(n_runs=there))
    return pd.concat(frames, ignore_index=True)


def _paint(analysis: Analysis, painter: Painter, weights: Floats, names: Sequence[str], n_runs: int) -> None:
    """Paint one image per expert."""
    for number, name in enumerate(names):
        text = f"Mean weight of {name} by region over {n_runs} held-out runs; experts are matched over models."

        def named(entities: Mapping[str, str | None], extension: str, desc: str = name.replace("-", "")) -> Any:
            outputs = analysis.outputs
            own = {key: value for key, value in {**outputs.entities, **entities}.items() if value is not None}
            return replace(outputs, entities=own).named("boldmap", extension, "expertweight", None, desc)

        painter.paint(named, weights[:, number], "score", {"Description": text, "Expert": name})


def _notes(usage: pd.DataFrame, agreement: pd.DataFrame) -> list[str]:
    """Say what the tables show."""
    notes = []
    models = usage.drop_duplicates(["mixture", "fold", "seed"])
    for mixture, rows in models.groupby("mixture", sort=True):
        fallen = int(rows["collapsed"].sum())
        if fallen:
            notes.append(
                f"The router over {mixture} has collapsed in {fallen} of {len(rows)} models: an expert gets less than "
                "a tenth of an even share, so that its map means little; raise model.balance, or take fewer experts."
            )
    if len(agreement):
        mean = agreement["correlation"].mean()
        notes.append(
            f"Maps of experts correlate by {mean:.2f} over seeds on average, matched one to one; below .5 single "
            "experts should not be read."
        )
    return notes
