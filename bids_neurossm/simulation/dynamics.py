"""A battery of classes that differ in their dynamics alone: zero-lag covariance has the same distribution in each.

A run is X = Z (1.5 M + 0.15 G)' + E over T time points and R regions. The sources Z (T, K) of a run are centred and
whitened exactly, G is drawn anew for every run whatever its class, and the noise E is projected off Z and whitened
exactly, so that X'X / T = (1.5 M + 0.15 G) (1.5 M + 0.15 G)' + I holds to rounding, whatever the sources do in time.
Every region is then z-scored. A model that looks at zero-lag covariance alone is at chance by construction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.cohort.surrogates import phase_randomised
from bids_neurossm.simulation.confounds import autoregressive

Floats = NDArray[np.float64]
Random = np.random.Generator

#: Regions, and time points of a run.
REGIONS, LENGTH = 20, 200
#: Planted regions; what is known of a part is in these two sets.
A, B = range(4), range(4, 8)
#: Coefficient of the autoregressive nuisance sources of the other regions, and how many sources there are.
NUISANCE, N_NUISANCE = 0.45, 4
#: What a source counts in its regions, and the spread of each run's own loadings.
STRENGTH, SPREAD = 1.5, 0.15
#: Length of the window that holds the burst.
BURST = 24


@dataclass(frozen=True)
class Part:
    """One question of the battery.

    Attributes
    ----------
    name : str
        A word for it.
    question : str
        What the classes differ in.
    statistics : str
        The lowest order of statistics that separates them.
    planted : tuple of int
        Regions that carry the difference.
    """

    name: str
    question: str
    statistics: str
    planted: tuple[int, ...]


_BOTH = (*A, *B)
PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part("spectra", "autoregression of .3 or .6 in A and in B", "second, lagged", _BOTH),
        Part("lead-lag", "A leads B by one point, or B leads A", "second, lagged across regions", _BOTH),
        Part("dwell-times", "coupling of A and B changes its sign every 8 or every 32 points", "fourth", _BOTH),
        Part("conjunction", "slow rhythm in A exclusive-or fast rhythm in B", "products of two second ones", _BOTH),
        Part("burst", "a carrier in one window, or its phase randomisation", "fourth", tuple(A)),
        Part("chirp", "a rising chirp, or its reversal in time", "third and higher, or phases", tuple(A)),
    )
}


def simulate_part(
    name: str, n: int, seed: int, regions: int = REGIONS, length: int = LENGTH
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw runs of a part of the battery.

    Parameters
    ----------
    name : str
        Of `PARTS`.
    n : int
        Runs; half of them of each class.
    seed : int
        The same seed gives the same runs.
    regions, length : int
        R and T; the first eight regions are planted ones.

    Returns
    -------
    array (n, T, R) float32, array (n,)
        Z-scored series, and their classes.
    """
    labels = np.arange(n) % 2
    runs = np.empty((n, length, regions), dtype=np.float32)
    for number, label in enumerate(labels):
        random = np.random.default_rng([seed, list(PARTS).index(name), number])
        if name == "burst":
            run = _mixed(_burst(length, random), _loadings(1, regions), random)
            run = run if label else phase_randomised(run, [(0, length)], random).astype(np.float64)
        else:
            planted, layout = _SOURCES[name](int(label), length, random)
            run = _mixed(planted, _loadings(layout, regions), random)
        runs[number] = (run - run.mean(axis=0)) / run.std(axis=0)
    return runs, labels.astype(np.int64)


def _loadings(layout: int, regions: int) -> Floats:
    """Lay out which source drives which region, (R, K); the nuisance sources share the regions after the eighth.

    With `layout` 1 a source drives all of A, with 2 a second one all of B, with 8 each of the eight has its own.
    """
    planted = np.zeros((regions, layout))
    for region in _BOTH:
        place = {1: 0 if region in A else None, 2: int(region in B), 8: region}[layout]
        if place is not None:
            planted[region, place] = 1
    rest = np.zeros((regions, N_NUISANCE))
    first = len(_BOTH) if layout > 1 else len(A)
    for number, region in enumerate(range(first, regions)):
        rest[region, number % N_NUISANCE] = 1
    return np.hstack([planted, rest])


def _mixed(planted: Floats, loadings: Floats, random: Random) -> Floats:
    """Mix whitened sources and whitened noise, (T, R): the covariance of the result is known to rounding."""
    length = len(planted)
    nuisance = autoregressive(length, N_NUISANCE, NUISANCE, random)
    sources = whitened(np.column_stack([planted, nuisance]))
    noise = random.standard_normal((length, len(loadings)))
    noise -= noise.mean(axis=0)
    noise -= sources @ (sources.T @ noise) / length
    own = STRENGTH * loadings + SPREAD * random.standard_normal(loadings.shape)
    return np.asarray(sources @ own.T + whitened(noise))


def whitened(values: Floats) -> Floats:
    """Centre columns and make their covariance the identity, Z (Z'Z / T)^(-1/2)."""
    centred = values - values.mean(axis=0)
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    return np.asarray(centred @ (vectors / np.sqrt(eigenvalues)) @ vectors.T)


def _spectra(label: int, length: int, random: Random) -> tuple[Floats, int]:
    return autoregressive(length, 2, (0.3, 0.6)[label], random), 2


def _lead_lag(label: int, length: int, random: Random) -> tuple[Floats, int]:
    first = random.standard_normal(length + 1)
    second = 0.8 * first[:-1] + 0.6 * random.standard_normal(length)
    pair = np.column_stack([first[1:], second])
    return (pair if label else pair[:, ::-1]), 2


def _dwell_times(label: int, length: int, random: Random) -> tuple[Floats, int]:
    signs = dwelling((8, 32)[label], length, random)
    first = random.standard_normal(length)
    second = signs * 0.9 * first + np.sqrt(1 - 0.9**2) * random.standard_normal(length)
    return np.column_stack([first, second]), 2


def dwelling(mean: int, length: int, random: Random) -> Floats:
    """Draw signs that alternate in segments of a mean length, exactly half of the points in each state."""
    half = length // 2
    pieces = max(round(half / mean), 1)
    lengths = [
        np.diff([0, *np.sort(random.choice(np.arange(1, half), pieces - 1, replace=False)), half]) for _ in range(2)
    ]
    state = random.choice([-1.0, 1.0])
    signs = [np.full(n, state * (-1) ** side) for pair in zip(*lengths, strict=True) for side, n in enumerate(pair)]
    return np.concatenate(signs)


def _conjunction(label: int, length: int, random: Random) -> tuple[Floats, int]:
    slow = int(random.integers(2))
    fast = slow ^ label
    time = np.arange(length)
    columns = []
    for is_on, period in ((slow, 28), (fast, 3)):
        for _ in range(len(A)):
            rhythm = np.sqrt(2) * np.sin(2 * np.pi * (time / period + random.random()))
            noise = random.standard_normal(length)
            columns.append(np.sqrt(0.5) * (rhythm + noise) if is_on else noise)
    return np.column_stack(columns), 8


def _burst(length: int, random: Random) -> Floats:
    """Draw white noise with a narrow-band carrier in one window."""
    start = int(random.integers(length - BURST + 1))
    series = 0.5 * random.standard_normal(length)
    frequency = random.uniform(0.15, 0.2)
    window = np.hanning(BURST + 2)[1:-1]
    series[start : start + BURST] += 3 * window * np.sin(2 * np.pi * (frequency * np.arange(BURST) + random.random()))
    return series[:, None]


def _chirp(label: int, length: int, random: Random) -> tuple[Floats, int]:
    chirp = np.sqrt(2) * np.sin(2 * np.pi * (_chirp_cycles(np.arange(length)) + random.random()))
    series = chirp + 0.5 * random.standard_normal(length)
    return (series if label else series[::-1])[:, None], 1


_SOURCES: dict[str, Callable[[int, int, Random], tuple[Floats, int]]] = {
    "spectra": _spectra,
    "lead-lag": _lead_lag,
    "dwell-times": _dwell_times,
    "conjunction": _conjunction,
    "chirp": _chirp,
}


def oracle_features(name: str, series: NDArray[np.float32]) -> Floats:
    """Return what somebody measures who knows what was planted where, (n, k); a line through it tells the classes."""
    a, b = (series[:, :, list(regions)].mean(axis=2, dtype=np.float64) for regions in (A, B))
    if name == "spectra":
        return np.hstack([_autocorrelation(each) for each in (a, b)])
    if name == "lead-lag":
        return np.column_stack([(a[:, :-1] * b[:, 1:]).mean(axis=1), (b[:, :-1] * a[:, 1:]).mean(axis=1)])
    if name == "dwell-times":
        return _dwelling_evidence(a, b)
    if name == "conjunction":
        slow, fast = (_power(series[:, :, list(each)], period) > 30 for each, period in ((A, 28), (B, 3)))
        return (slow ^ fast).astype(np.float64)[:, None]
    if name == "burst":
        return _concentration(a)
    time = np.arange(series.shape[1])
    wave = np.exp(-2j * np.pi * _chirp_cycles(time))
    return np.column_stack([np.log(np.abs(a @ wave)), np.log(np.abs(a @ wave[::-1]))])


def _autocorrelation(values: Floats, lags: int = 5) -> Floats:
    centred = values - values.mean(axis=1, keepdims=True)
    products = [(centred[:, lag:] * centred[:, : -lag or None]).mean(axis=1) for lag in range(lags + 1)]
    return np.column_stack([each / products[0] for each in products[1:]])


def _dwelling_evidence(a: Floats, b: Floats) -> Floats:
    """Compare the likelihood of short and of long segments, by the forward algorithm on the sign of the coupling."""
    first, second = ((each - each.mean(axis=1, keepdims=True)) / each.std(axis=1, keepdims=True) for each in (a, b))
    coupling = 0.81  # 0.9 x 1.5^2 over the variance of a mean over four regions
    evidence = coupling * first * second / (1 - coupling**2)
    found = []
    for mean in (8, 32):
        positive, total = np.full(len(a), 0.5), np.zeros(len(a))
        for column in evidence.T:
            positive = positive * (1 - 1 / mean) + (1 - positive) / mean
            both = positive * np.exp(column) + (1 - positive) * np.exp(-column)
            positive = positive * np.exp(column) / both
            total += np.log(both)
        found.append(total)
    return (found[0] - found[1])[:, None]


def _power(series: NDArray[np.float32], period: float) -> Floats:
    """Return the power at a period, summed over regions, (n,)."""
    wave = np.exp(-2j * np.pi * np.arange(series.shape[1]) / period)
    return np.asarray((np.abs(np.einsum("ntr,t->nr", series, wave)) ** 2).sum(axis=1) / series.shape[1])


def _concentration(values: Floats) -> Floats:
    """Measure how much of the power of the carrier's band lies in a single window, (n, 2)."""
    pieces = np.lib.stride_tricks.sliding_window_view(values, BURST, axis=1) * np.hanning(BURST)
    band = (np.abs(np.fft.rfft(pieces, 64, axis=2)) ** 2)[:, :, 8:15].sum(axis=2)
    mean = band.mean(axis=1)
    return np.column_stack([np.log(band.max(axis=1) / mean), np.log((band**2).mean(axis=1) / mean**2)])


def _chirp_cycles(time: NDArray[np.int64]) -> Floats:
    """Return the cycles that a chirp has made at each time point: from 0.02 to 0.2 cycles per point."""
    low, high = 0.02, 0.2
    return np.asarray(low * time + (high - low) * time**2 / (2 * len(time)))
