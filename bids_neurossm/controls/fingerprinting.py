"""One person under two names: other recordings of the same brain, told by their connectivity.

A copy of a recording is refused before anything is trained (:mod:`bids_neurossm.cohort.duplicates`). A second
session, a shortened copy, or the same scan denoised in another way is no copy; its owner is known by the pattern of
connectivity all the same (Finn et al., 2015, Nature Neuroscience 18:1664). Such a pair is named among the controls, not
refused: twins look alike too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.controls.permutation import AgainstNull, control_table
from bids_neurossm.evaluation.metrics import Floats

CONTROL = "identity: one participant under two names"
#: How far two participants must stand out, in standard deviations of the similarity of all pairs. Among 753 people of
#: ABIDE no pair does; the two halves of a run do in 68 % (docs/evaluation.md has both by the size of the cohort).
STANDS_OUT = 3.0
#: Fewer people have no distribution to stand out of.
_FEWEST = 10
#: Features that are looked at, evenly spread, so that ten thousand participants take a minute.
_FEATURES = 20_000
_BLOCK = 1000
#: Pairs that are named.
_NAMED = 3


class Pair(NamedTuple):
    """Two participants, each the other's most alike.

    Attributes
    ----------
    first, second : int
        Rows of the features.
    similarity : float
        Correlation of their connectivity, the mean over participants taken away.
    next_similarity : float
        Largest similarity of either to anybody else.
    distance : float
        Difference of the two, in standard deviations of the similarity of all pairs.
    """

    first: int
    second: int
    similarity: float
    next_similarity: float
    distance: float


class Likeness(NamedTuple):
    """How alike the participants of a cohort are.

    Attributes
    ----------
    pairs : list of Pair
        Those who are each the other's most alike, the most outstanding first.
    mean : float
        Mean similarity over all pairs.
    second : array, shape (n,)
        Similarity of every participant to the second most alike other.
    """

    pairs: list[Pair]
    mean: float
    second: Floats


def likeness(features: NDArray[np.floating], groups: Sequence[str]) -> Likeness:
    """Find participants who are each other's most alike, and by how much.

    Parameters
    ----------
    features : array, shape (n, p)
        Connectivity of every participant.
    groups : sequence of str
        Group of every participant (family); two of one group never stand on two sides, and are not compared.

    Returns
    -------
    Likeness
        A pair stands out where both are far more alike than either is to the next: an artefact that many share makes
        many alike, and no pair of them stands out.
    """
    values = np.asarray(features, dtype=np.float32)
    values = values - values.mean(axis=0)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    values /= np.where(lengths > 0, lengths, 1)
    codes = pd.factorize(np.asarray(groups, dtype=str))[0]
    n = len(values)
    best, following, partner = np.full(n, -np.inf), np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    moments = np.zeros(3)
    for start in range(0, n, _BLOCK):
        rows = slice(start, min(start + _BLOCK, n))
        similarity = (values[rows] @ values.T).astype(np.float64)
        related = codes[rows, None] == codes[None, :]
        moments += [np.sum(where := ~related), similarity[where].sum(), (similarity[where] ** 2).sum()]
        similarity[related] = -np.inf
        partner[rows] = similarity.argmax(axis=1)
        best[rows] = similarity.max(axis=1)
        similarity[np.arange(len(similarity)), partner[rows]] = -np.inf
        following[rows] = similarity.max(axis=1)
    count, mean = moments[0], moments[1] / max(moments[0], 1)
    spread = float(np.sqrt(max(moments[2] / max(count, 1) - mean**2, 0.0)))
    mutual = np.flatnonzero((partner[partner] == np.arange(n)) & (np.arange(n) < partner) & np.isfinite(best))
    pairs = []
    for first in mutual.tolist():
        second = int(partner[first])
        after = float(max(following[first], following[second]))
        distance = (best[first] - after) / spread if spread > 0 and np.isfinite(after) else 0.0
        pairs.append(Pair(first, second, float(best[first]), after, float(distance)))
    return Likeness(sorted(pairs, key=lambda pair: -pair.distance), float(mean), following)


def alike_participants(runs: pd.DataFrame, features: NDArray[np.floating]) -> pd.DataFrame:
    """Name participants who look like one person (docs/methods.md, section 2).

    Parameters
    ----------
    runs : DataFrame
        ``participant_id`` and ``group`` of every run.
    features : array, shape (n_runs, p)
        Connectivity of every run; averaged over the runs of a participant.

    Returns
    -------
    DataFrame
        One row of ``controls.tsv``: ``observed`` is the similarity of the pair that stands out most, ``null_mean`` the
        mean over all pairs, ``null_q95`` the 95th percentile of the similarity to the second most alike other; no p. No
        row where there are fewer than 10 participants.
    """
    names = runs["participant_id"].astype(str).to_numpy()
    people, row = np.unique(names, return_inverse=True)
    if len(people) < _FEWEST:
        return control_table([])
    columns = np.linspace(0, features.shape[1] - 1, min(_FEATURES, features.shape[1])).round().astype(int)
    means = np.stack([features[np.ix_(row == number, columns)].mean(axis=0) for number in range(len(people))])
    groups = runs.groupby(names)["group"].first().reindex(people).astype(str).tolist()
    found = likeness(means, groups)
    outstanding = [pair for pair in found.pairs if pair.distance > STANDS_OUT]
    finite = found.second[np.isfinite(found.second)]
    first = found.pairs[0].similarity if found.pairs else np.nan
    edge = float(np.quantile(finite, 0.95)) if len(finite) else np.nan
    verdict = "no two participants look like one person"
    if outstanding:
        listed = "; ".join(
            f"{people[pair.first]} and {people[pair.second]} (connectivity alike at {pair.similarity:.2f}, with the "
            f"next at {pair.next_similarity:.2f})"
            for pair in outstanding[:_NAMED]
        )
        more = f"; and {len(outstanding) - _NAMED} pairs more" if len(outstanding) > _NAMED else ""
        verdict = (
            f"warning: under two names there seems to be one person: {listed}{more}: if so, what is learned leaks from "
            "training to test; leave one out, or keep them together with --group-by"
        )
    return control_table([(CONTROL, "r", AgainstNull(first, found.mean, edge, np.nan, len(people)), verdict)])
