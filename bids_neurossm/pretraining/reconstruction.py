"""What a masked autoencoder reconstructs, against what simple rules do, on participants that it never saw.

The rules (docs/methods.md, section 5): the mean of what is shown of the region; interpolation in time; a first-order
autoregressive process given what is shown before and after; ridge regression on the visible regions of the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from bids_neurossm.models.lmae import LMAE
from bids_neurossm.models.masks import Masking
from bids_neurossm.training.data import RunSet
from bids_neurossm.training.inference import evaluation_batches

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LMAE_NAME = "lmae"
#: Candidates for the penalty of the spatial ridge, of which the one that does best on training runs is taken.
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_RUNS_FOR_PENALTY = 10
_BATCH = 8
_BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Rules:
    """What the simple rules know from training runs.

    Attributes
    ----------
    autocorrelation : array (R,)
        Of neighbouring samples.
    covariance : array (R, R)
        Between regions.
    penalty : float
        Of the spatial ridge.
    """

    autocorrelation: Floats
    covariance: Floats
    penalty: float

    def predictors(self) -> dict[str, Callable[[Floats, Mask], Floats]]:
        """Return the rules by name; each maps samples (R, S) and what is hidden of them to what all would be."""
        return {
            "region mean": region_mean,
            "interpolation": interpolation,
            "AR(1)": lambda samples, hidden: autoregression(samples, hidden, self.autocorrelation),
            "spatial ridge": lambda samples, hidden: spatial_ridge(samples, hidden, self.covariance, self.penalty),
        }


def reconstruction_table(
    model: LMAE,
    rules: Rules,
    aside: RunSet,
    whose: Sequence[str],
    twins: NDArray[np.int64],
    masking: Masking,
    window: int,
    seed: int,
) -> pd.DataFrame:
    """Compare the reconstruction of held-out runs with the rules, for each length of the hidden blocks.

    Parameters
    ----------
    model : LMAE
        Pretrained.
    rules : Rules
        What the rules know from training runs.
    aside : RunSet
        Runs that nothing was learnt from.
    whose : sequence of str
        Participant of each run set aside.
    twins : array (R, 1 + homologues)
        See `bids_neurossm.models.masks.homologues`.
    masking : Masking
        Share and homologues; each of its block lengths is judged, and random tokens besides.
    window : int
        Time points per window.
    seed : int
        Of the masks and of the bootstrap over participants.

    Returns
    -------
    DataFrame
        ``mask``, ``patches`` and ``length`` of a block, ``unit``, ``predictor``, ``mse``, ``r2`` (share of the hidden
        samples' sum of squares that is told) with its 95 % interval, ``gain`` (the autoencoder's r2 less this one) with
        its interval, ``n`` participants.
    """
    config = model.config
    unit = "s" if config.in_seconds else "time points"
    wanted = [replace(masking, kind="local", blocks=(blocks,)) for blocks in sorted(set(masking.blocks))]
    wanted.append(replace(masking, kind="random"))
    rows = []
    for number, mask in enumerate(wanted):
        errors, squares, samples = _errors(model, aside, twins, mask, rules, window, seed)
        local = mask.kind == "local"
        blocks = mask.blocks[0] if local else 1
        common = {"mask": mask.kind, "patches": blocks, "length": blocks * config.patch_length, "unit": unit}
        table = _compared(errors, squares, samples, np.asarray(whose, dtype=np.str_), seed + number)
        rows += [{**common, **row} for row in table]
    return pd.DataFrame(rows)


def fit_rules(model: LMAE, learnt: RunSet, twins: NDArray[np.int64], masking: Masking, window: int, seed: int) -> Rules:
    """Learn from training runs what the rules need."""
    n_regions = len(twins)
    products, lagged, squares, count = np.zeros((n_regions, n_regions)), np.zeros(n_regions), np.zeros(n_regions), 0
    kept: list[Floats] = []
    for _, patches in _pieces(model, learnt, window):
        samples = patches.reshape(n_regions, -1)
        if samples.shape[1] < 2:
            continue
        products += samples @ samples.T
        lagged += (samples[:, 1:] * samples[:, :-1]).sum(axis=1)
        squares += (samples[:, 1:] ** 2).sum(axis=1)
        count += samples.shape[1]
        if len(kept) < _RUNS_FOR_PENALTY:
            kept.append(patches)
    autocorrelation = np.clip(lagged / np.maximum(squares, 1e-12), 0.0, 0.999)
    covariance = products / max(count, 1)
    generator = np.random.default_rng([seed, 2])
    shown = [(patches, masking.draw(patches.shape[1], twins, generator)) for patches in kept]

    def error(penalty: float) -> float:
        return float(
            sum(
                _squared(spatial_ridge(*_samples(patches, hidden), covariance, penalty), patches, hidden)
                for patches, hidden in shown
            )
        )

    return Rules(autocorrelation, covariance, min(PENALTIES, key=error))


def region_mean(samples: Floats, hidden: Mask) -> Floats:
    """Return the mean of what is shown of each region; 0 where nothing is."""
    shown = ~hidden
    mean = (samples * shown).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)
    return np.broadcast_to(mean[:, None], samples.shape)


def interpolation(samples: Floats, hidden: Mask) -> Floats:
    """Interpolate linearly between the samples shown before and after; hold the one where there is one only."""
    before, after, back, ahead = _around(samples, hidden)
    only_before, only_after = np.isinf(ahead), np.isinf(back)
    with np.errstate(invalid="ignore"):
        between = (before * ahead + after * back) / np.maximum(ahead + back, 1)
    found = np.where(only_before, before, np.where(only_after, after, between))
    return np.where(only_before & only_after, 0.0, found)


def autoregression(samples: Floats, hidden: Mask, autocorrelation: Floats) -> Floats:
    """Return the expectation of a first-order autoregressive process given the samples shown before and after.

    For a stationary process with coefficient a, i samples after the one and j before the other:
    (a^i (1 - a^2j) x + a^j (1 - a^2i) y) / (1 - a^2(i+j)).
    """
    before, after, back, ahead = _around(samples, hidden)
    a = autocorrelation[:, None]
    near, far = a**back, a**ahead
    found = (near * (1 - far**2) * before + far * (1 - near**2) * after) / np.maximum(1 - (near * far) ** 2, 1e-12)
    return np.where(hidden, found, samples)


def spatial_ridge(samples: Floats, hidden: Mask, covariance: Floats, penalty: float) -> Floats:
    """Predict hidden regions from those that are visible at the same time, by the covariance of training runs."""
    found = np.zeros_like(samples)
    patterns, which = np.unique(hidden, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        visible = ~pattern
        if pattern.any() and visible.any():
            columns = which.ravel() == number
            inner = covariance[np.ix_(visible, visible)] + penalty * np.eye(int(visible.sum()))
            solved = np.linalg.solve(inner, samples[np.ix_(visible, columns)])
            found[np.ix_(pattern, columns)] = covariance[np.ix_(pattern, visible)] @ solved
    return found


def _around(samples: Floats, hidden: Mask) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the samples shown before and after each, and how far away they are (infinitely, where there is none)."""
    n = samples.shape[1]
    places = np.arange(n)
    last = np.maximum.accumulate(np.where(hidden, -1, places), axis=1)
    following = np.minimum.accumulate(np.where(hidden, n, places)[:, ::-1], axis=1)[:, ::-1]
    before = np.where(last >= 0, np.take_along_axis(samples, np.maximum(last, 0), axis=1), 0.0)
    after = np.where(following < n, np.take_along_axis(samples, np.minimum(following, n - 1), axis=1), 0.0)
    back = np.where(last >= 0, places - last, np.inf)
    ahead = np.where(following < n, following - places, np.inf)
    return before, after, back, ahead


def _pieces(model: LMAE, inputs: RunSet, window: int) -> Iterator[tuple[int, Floats]]:
    """Yield the patches (R, N, P) of every piece of every window of runs, and which run it is of."""
    device = next(model.parameters()).device
    for batch, of_window in evaluation_batches(inputs, window, _BATCH):
        here = batch.to(device)
        patches, counts = model.encoder.patches(here.series, here.lengths, here.repetition_times)
        for piece, count, owner in zip(patches.cpu().double().numpy(), counts.tolist(), batch.owners, strict=True):
            if count:
                yield int(of_window[int(owner)]), piece[:, :count]


def _samples(patches: Floats, hidden: Mask) -> tuple[Floats, Mask]:
    """Lay patches (R, N, P) out in time, (R, N P), and what is hidden of them."""
    return patches.reshape(len(patches), -1), np.repeat(hidden, patches.shape[2], axis=1)


def _squared(found: Floats, patches: Floats, hidden: Mask) -> float:
    """Sum the squared errors over hidden samples of regions that have a signal."""
    samples, where = _samples(patches, hidden)
    asked = where & samples.any(axis=1, keepdims=True)
    return float((((found - samples) ** 2) * asked).sum())


def _errors(
    model: LMAE,
    aside: RunSet,
    twins: NDArray[np.int64],
    masking: Masking,
    rules: Rules,
    window: int,
    seed: int,
) -> tuple[dict[str, Floats], Floats, Floats]:
    """Return each predictor's squared errors by run, the sums of squares of what is hidden, and how many samples."""
    predictors = rules.predictors()
    errors = {name: np.zeros(len(aside)) for name in (LMAE_NAME, *predictors)}
    squares, count = np.zeros(len(aside)), np.zeros(len(aside))
    generator = np.random.default_rng([seed, 3])
    device = next(model.parameters()).device
    for run, patches in _pieces(model, aside, window):
        hidden = masking.draw(patches.shape[1], twins, generator)
        shown = torch.from_numpy(patches).float().to(device)[None]
        with torch.no_grad():
            told = model(
                shown, torch.tensor([patches.shape[1]], device=device), torch.from_numpy(hidden)[None].to(device)
            )
        samples, where = _samples(patches, hidden)
        errors[LMAE_NAME][run] += _squared(told[0].cpu().double().numpy().reshape(samples.shape), patches, hidden)
        for name, predict in predictors.items():
            errors[name][run] += _squared(predict(samples, where), patches, hidden)
        squares[run] += _squared(np.zeros_like(samples), patches, hidden)
        count[run] += (where & samples.any(axis=1, keepdims=True)).sum()
    return errors, squares, count


def _compared(
    errors: dict[str, Floats], squares: Floats, count: Floats, whose: NDArray[np.str_], seed: int
) -> list[dict[str, object]]:
    """Turn sums into shares, with intervals from a bootstrap over participants."""
    names, owner = np.unique(whose, return_inverse=True)
    draws = np.random.default_rng([seed, 4]).multinomial(
        len(names), np.full(len(names), 1 / len(names)), size=_BOOTSTRAPS
    )

    def by_person(values: Floats) -> Floats:
        return np.bincount(owner, weights=values, minlength=len(names)).astype(np.float64)

    total = by_person(squares)
    shares, drawn = {}, {}
    for name, error in errors.items():
        of_person = by_person(error)
        shares[name] = 1 - of_person.sum() / max(total.sum(), 1e-12)
        drawn[name] = 1 - (draws @ of_person) / np.maximum(draws @ total, 1e-12)
    rows = []
    for name, error in errors.items():
        low, high = np.percentile(drawn[name], [2.5, 97.5])
        gains = np.percentile(drawn[LMAE_NAME] - drawn[name], [2.5, 97.5])
        gain = shares[LMAE_NAME] - shares[name]
        rows.append(
            {
                "predictor": name, "mse": error.sum() / max(count.sum(), 1), "r2": shares[name], "r2_low": low,
                "r2_high": high, "gain": gain, "gain_low": gains[0], "gain_high": gains[1], "n": len(names),
            }
        )  # fmt: skip
    return rows
