"""The same recording under two names, although its bytes differ: other rounding, other units, another scaling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import LabelError

#: Runs of two people, even of one person, correlate far less, volume by volume.
SAME_RECORDING = 0.95
#: What is looked at of each run: so many of its volumes and regions, evenly spread.
_VOLUMES, _REGIONS = 64, 20
_BLOCK = 2000


def refuse_duplicates(cohort: Cohort) -> None:
    """Refuse a cohort in which two participants have the same recording.

    Runs of equal length are compared volume by volume, by the ranks within each region, so that a spike that two people
    share is not taken for a shared recording. Exact copies are found by their hash
    (:func:`bids_neurossm.cohort.split_table.check_splits`); this finds those that went through another program.

    Raises
    ------
    LabelError
        With the two names: the data would leak from training to test.
    """
    people = cohort.runs["participant_id"].astype(str).to_numpy()
    names = cohort.runs["run"].astype(str).to_numpy()
    for rows in cohort.runs.groupby("n_volumes", sort=True).indices.values():
        prints = np.stack([_fingerprint(cohort.raw(int(row))) for row in rows])
        for start in range(0, len(rows), _BLOCK):
            alike = prints[start : start + _BLOCK] @ prints.T
            for first, second in np.argwhere(alike > SAME_RECORDING):
                one, other = rows[start + first], rows[second]
                if one < other and people[one] != people[other]:
                    raise LabelError(
                        f"{names[one]} ({people[one]}) and {names[other]} ({people[other]}) are the same recording "
                        f"(their series correlate at {alike[first, second]:.3f} by ranks): the same data under two "
                        "names would leak from training to test; exclude one of them."
                    )


def _fingerprint(series: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vector of length 1: ranks of some volumes of some regions; 0 where a region is dead."""
    from scipy.stats import rankdata

    volumes = np.linspace(0, len(series) - 1, min(_VOLUMES, len(series))).round().astype(int)
    regions = np.linspace(0, series.shape[1] - 1, min(_REGIONS, series.shape[1])).round().astype(int)
    values = np.asarray(series[np.ix_(volumes, regions)], dtype=np.float64)
    values = np.where(np.isfinite(values).all(axis=0), values, 0.0)
    ranks = rankdata(values, axis=0) - (len(values) + 1) / 2
    lengths = np.sqrt((ranks**2).sum(axis=0))
    alive = lengths > 0
    ranks = ranks / np.where(alive, lengths, 1.0)
    return np.asarray(ranks.ravel() / np.sqrt(max(int(alive.sum()), 1)), dtype=np.float32)
