"""A cohort with something taken away on purpose: the order of time, all but linear dynamics, labels, participants.

What a model still reaches on it says what it does not need (docs/methods.md, section 2). An altered cohort is a cohort:
every model can be trained on it and tested on it, on the same splits.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Change, Cohort
from bids_neurossm.errors import UsageError

TIME_SHUFFLE = "time-shuffle"
PHASE_RANDOMISATION = "phase-randomisation"
NULL = "null-"
TRAINED_ON = "trained-on-"

Segments = Sequence[tuple[int, int]]


def altered(cohort: Cohort, variant: str, level: Literal["participant", "run"], seed: int) -> Cohort:
    """Return the cohort that a variant of the analysis is trained and tested on.

    Parameters
    ----------
    cohort : Cohort
        As it is.
    variant : str
        ``""`` and ``trained-on-<percent>`` leave it as it is; ``time-shuffle``, ``phase-randomisation``, ``null-<k>``.
    level : {"participant", "run"}
        What the target belongs to.
    seed : int
        Of the command; every run and every null has a seed of its own.

    Raises
    ------
    UsageError
        If the variant is not known.
    """
    if not variant or variant.startswith(TRAINED_ON):
        return cohort
    if variant in (TIME_SHUFFLE, PHASE_RANDOMISATION):
        change: Change = partial(_surrogate, variant, seed)
        return replace(cohort, changes=(*cohort.changes, change), hash=f"{cohort.hash} {variant} {seed}")
    if variant.startswith(NULL):
        runs = permuted_labels(cohort.runs, level, np.random.default_rng([seed, int(variant.removeprefix(NULL))]))
        return replace(cohort, runs=runs, hash=f"{cohort.hash} {variant} {seed}")
    raise UsageError(f"The variant {variant!r} is not known.")


def _surrogate(variant: str, seed: int, cohort: Cohort, index: int, series: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the altered series of a run, (T, R); the same at every call."""
    random = np.random.default_rng([seed, zlib.crc32(str(cohort.runs["run"].iloc[index]).encode())])
    change = time_shuffled if variant == TIME_SHUFFLE else phase_randomised
    return change(series, cohort.segments(index), random)


def without_regions(cohort: Cohort, kept: NDArray[np.bool_]) -> Cohort:
    """Return a cohort in which only the regions `kept` (R,) carry a signal; the others are 0."""
    change: Change = partial(_silenced, ~kept)
    return replace(cohort, changes=(*cohort.changes, change))


def _silenced(silent: NDArray[np.bool_], _: Cohort, __: int, series: NDArray[np.float32]) -> NDArray[np.float32]:
    changed = np.array(series)
    changed[:, silent] = 0
    return changed


def time_shuffled(series: NDArray[Any], segments: Segments, random: np.random.Generator) -> NDArray[np.float32]:
    """Put the kept volumes of a run into random order.

    Connectivity is untouched, everything about time is gone. Censored volumes stay where they are: none gets into a
    segment, and the segments keep their lengths.

    Parameters
    ----------
    series : array (T, R)
        Region series.
    segments : sequence of (start, stop)
        Contiguous rows that are kept.
    random : Generator
        Source of randomness.
    """
    kept = np.concatenate([np.arange(start, stop) for start, stop in segments])
    changed = np.array(series, dtype=np.float32)
    changed[kept] = changed[random.permutation(kept)]
    return changed


def phase_randomised(series: NDArray[Any], segments: Segments, random: np.random.Generator) -> NDArray[np.float32]:
    """Give every frequency a random phase, the same for all regions, segment by segment.

    Power spectra and cross-spectra of a segment stay as they are, and with them all covariances at all lags (on the
    circle that the segment is closed to); what is not linear or not stationary is gone. Prichard & Theiler, 1994,
    Physical Review Letters 73:951, "Generating surrogate data for time series with several simultaneously measured
    variables".

    Parameters
    ----------
    series : array (T, R)
        Region series; a region with NaN stays NaN.
    segments : sequence of (start, stop)
        Contiguous rows; each has phases of its own, and none of what lies in a gap enters.
    random : Generator
        Source of randomness.
    """
    changed = np.array(series, dtype=np.float32)
    for start, stop in segments:
        length = stop - start
        spectrum = np.fft.rfft(np.asarray(series[start:stop], dtype=np.float64), axis=0)
        turn = np.exp(2j * np.pi * random.random(len(spectrum)))
        turn[0] = 1.0  # the mean is no oscillation
        if length % 2 == 0:
            turn[-1] = random.choice([-1.0, 1.0])  # the highest frequency has a sign only
        changed[start:stop] = np.fft.irfft(spectrum * turn[:, None], n=length, axis=0)
    return changed


def permuted_labels(
    runs: pd.DataFrame, level: Literal["participant", "run"], random: np.random.Generator
) -> pd.DataFrame:
    """Move labels between participants of one site, or between the runs of one participant.

    Parameters
    ----------
    runs : DataFrame
        ``participant_id``, ``label`` and ``site``.
    level : {"participant", "run"}
        What the target belongs to. The labels of a participant move as a whole.
    random : Generator
        Source of randomness.
    """
    labels = runs["label"].to_numpy(copy=True)
    participant = runs["participant_id"].astype(str).to_numpy()
    if level == "run":
        for rows in pd.Series(participant).groupby(participant, sort=True).indices.values():
            labels[rows] = labels[random.permutation(rows)]
        return runs.assign(label=labels)
    people = runs.assign(participant_id=participant).groupby("participant_id", sort=True).first()
    label = people["label"].to_numpy(copy=True)
    site = people["site"].astype(str).to_numpy()
    for rows in pd.Series(site).groupby(site, sort=True).indices.values():
        label[rows] = label[random.permutation(rows)]
    return runs.assign(label=pd.Series(label, index=people.index).reindex(participant).to_numpy())


def nested_part(runs: pd.DataFrame, percent: int, target_type: str, seed: int) -> NDArray[np.int64]:
    """Choose part of the groups of a training set: a smaller part lies inside a larger one, labels stay balanced.

    Parameters
    ----------
    runs : DataFrame
        The training runs: ``participant_id``, ``label``, ``group``.
    percent : int
        Share of the groups, 1 to 100.
    target_type : {"class", "continuous"}
        A continuous target is balanced over its quintiles.
    seed : int
        The same seed gives nested parts.

    Returns
    -------
    array of int64
        Row numbers within `runs`.
    """
    group = runs["group"].astype(str).to_numpy()
    if target_type == "class":
        stratum = runs["label"].astype(str).groupby(group).agg(lambda labels: ", ".join(sorted(set(labels))))
    else:
        rank = runs["label"].astype(float).groupby(group).mean().rank(pct=True)
        stratum = (rank * 5).round().astype(int).astype(str)
    order = stratum.to_frame("stratum").sort_index()
    order["draw"] = np.random.default_rng(seed).random(len(order))
    place = order.groupby("stratum")["draw"].rank() - 0.5
    size = order.groupby("stratum")["draw"].transform("size")
    order["place"] = place / size
    chosen = order.sort_values(["place", "draw"]).index[: max(1, round(len(order) * percent / 100))]
    return np.flatnonzero(np.isin(group, chosen)).astype(np.int64)
