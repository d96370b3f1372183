"""Attributions of held-out runs, gathered from the cells of an analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bids_neurossm.analysis.cells import FINAL, Cell
from bids_neurossm.attribution.cpa import FURTHER_TERMS


@dataclass(frozen=True)
class HeldOut:
    """Attributions of held-out runs, averaged over seeds.

    Parameters
    ----------
    indices : ndarray of int64, shape (n,)
        Rows of the cohort.
    target : ndarray of int64, shape (n,)
        The class that was explained, the true one; for a continuous target the direction, 1 or -1.
    importance : ndarray, shape (n, P)
    share : ndarray, shape (n, P, R)
    logit : ndarray, shape (n,)
        Centred logit of the true class; positive where two classes are told apart rightly.
    correct : ndarray of bool, shape (n,)
        Whether the mean prediction is right; for a continuous target, whether its direction is.
    pathways : tuple of str
        P names.
    further_terms : mapping of str to ndarray, shape (n,)
        Importance of the terms that are no pathways.
    """

    indices: npt.NDArray[np.int64]
    target: npt.NDArray[np.int64]
    importance: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    logit: npt.NDArray[np.float64]
    correct: npt.NDArray[np.bool_]
    pathways: tuple[str, ...]
    further_terms: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def explaining_cells(cells: list[Cell]) -> list[Cell]:
    """Return the cells whose attributions make the maps: those of the holdout where there is one, else out of fold."""
    explained = [cell for cell in cells if cell.attribution]
    return [cell for cell in explained if cell.fold == FINAL] or explained


def held_out_attributions(cells: list[Cell]) -> HeldOut | None:
    """Gather attributions; None where no cell has any."""
    chosen = explaining_cells(cells)
    if not chosen:
        return None
    rows = np.concatenate([cell.indices for cell in chosen])
    indices, owner = np.unique(rows, return_inverse=True)
    weights = (owner == np.arange(indices.size)[:, None]).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)

    def mean(name: str) -> npt.NDArray[np.float64]:
        stacked = np.concatenate([cell.attribution[name] for cell in chosen])
        return np.tensordot(weights, stacked, axes=1)

    scores = weights @ np.concatenate([cell.scores for cell in chosen])
    target, logit = mean("target").round().astype(np.int64), mean("logit")
    correct = scores.argmax(axis=1) == target if scores.shape[1] > 1 else logit > 0
    pathways = tuple(str(name) for name in chosen[0].attribution["pathways"])
    further = {name: mean(name) for name in FURTHER_TERMS if all(name in cell.attribution for cell in chosen)}
    return HeldOut(indices, target, mean("importance"), mean("share"), logit, correct, pathways, further)
