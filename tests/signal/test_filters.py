"""Filtering together with dropped volumes: bridged, filtered, dropped, and counted."""

from __future__ import annotations

import numpy as np
import pytest
from nilearn.signal import butterworth, clean
from scipy.interpolate import CubicSpline

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import Confounds
from bids_neurossm.signal.denoise import degrees_of_freedom, denoise
from bids_neurossm.signal.strategy import Strategy, load_strategy

T, R, TR = 300, 5, 2.0
ALL = np.ones(R, dtype=bool)
BAND = {"high_pass": 0.01, "low_pass": 0.1}
GAPS = {
    "start": [0, 1, 2],
    "middle": [40, 41, 150],
    "start and middle": [0, 1, 40, 41],
    "mirrored": [40, 259],  # T - 1 - 40
    "both ends": [0, 1, 2, 297, 298, 299],
    "end": [298, 299],
}
#: nilearn 0.13 leaves mirrored gaps as they are, and shifts the rows where volumes at both ends are dropped.
RIGHT_IN_NILEARN = ("start", "middle", "start and middle")


@pytest.fixture
def series() -> np.ndarray:
    return 1000 + np.cumsum(np.random.default_rng(0).normal(size=(T, R)), axis=0)


def confounds_of(dropped: list[int], n_regressors: int = 0, seed: int = 1) -> Confounds:
    regressors = np.cumsum(np.random.default_rng(seed).normal(size=(T, n_regressors)), axis=0)
    names = tuple(f"x{index}" for index in range(n_regressors))
    kept = np.setdiff1d(np.arange(T), dropped)
    return Confounds(regressors if names else None, names, kept, 0, len(dropped), None)


def strategy_of(n_regressors: int, high_pass: float | None = None, low_pass: float | None = None) -> Strategy:
    return Strategy("x", columns=("x*",) * (n_regressors > 0), detrend=True, high_pass=high_pass, low_pass=low_pass)


@pytest.mark.parametrize("where", RIGHT_IN_NILEARN)
@pytest.mark.parametrize("n_regressors", [0, 6])
def test_filtering_with_gaps_is_that_of_nilearn(series: np.ndarray, where: str, n_regressors: int) -> None:
    confounds = confounds_of(GAPS[where], n_regressors)
    expected = clean(
        series,
        confounds=confounds.regressors,
        sample_mask=confounds.kept.copy(),
        detrend=True,
        standardize=None,
        filter="butterworth",
        t_r=TR,
        **BAND,
    )
    cleaned = denoise(series, ALL, confounds, strategy_of(n_regressors, **BAND), TR)
    np.testing.assert_allclose(cleaned.series, expected, rtol=0, atol=1e-9 * np.abs(series).max())


@pytest.mark.parametrize("n_regressors", [0, 6])
@pytest.mark.parametrize("cuts", [BAND, {"high_pass": 0.01}, {"low_pass": 0.1}], ids=str)
def test_filtering_without_gaps_is_that_of_nilearn_digit_for_digit(
    series: np.ndarray, n_regressors: int, cuts: dict[str, float]
) -> None:
    confounds = confounds_of([], n_regressors)
    options = {"detrend": True, "standardize": None, "filter": "butterworth", "t_r": TR, **cuts}
    expected = clean(series, confounds=confounds.regressors, **options)
    cleaned = denoise(series, ALL, confounds, strategy_of(n_regressors, **cuts), TR)
    np.testing.assert_array_equal(cleaned.series, expected)


@pytest.mark.parametrize("where", GAPS)
def test_gaps_are_bridged_wherever_they_are(series: np.ndarray, where: str) -> None:
    confounds = confounds_of(GAPS[where])
    kept = confounds.kept
    times = np.arange(kept[0], kept[-1] + 1)
    bridged = CubicSpline(kept, series[kept])(times)
    expected = butterworth(bridged, sampling_rate=1 / TR, low_pass=0.1)[np.isin(times, kept)]
    strategy = Strategy("x", low_pass=0.1)
    cleaned = denoise(series, ALL, confounds, strategy, TR)
    np.testing.assert_allclose(cleaned.series, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("where", GAPS)
def test_what_a_dropped_volume_holds_does_not_matter(series: np.ndarray, where: str) -> None:
    confounds, strategy = confounds_of(GAPS[where], 6), strategy_of(6, **BAND)
    before = denoise(series, ALL, confounds, strategy, TR).series
    spoiled = series.copy()
    spoiled[GAPS[where]] += 1e4
    after = denoise(spoiled, ALL, confounds, strategy, TR).series
    np.testing.assert_array_equal(after, before)


def test_nothing_is_changed_in_what_is_handed_in(series: np.ndarray) -> None:
    confounds = confounds_of(GAPS["both ends"], 6)
    assert confounds.regressors is not None
    copies = series.copy(), confounds.kept.copy(), confounds.regressors.copy()
    denoise(series, ALL, confounds, strategy_of(6, **BAND), TR)
    for now, before in zip((series, confounds.kept, confounds.regressors), copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_segments_are_those_of_the_kept_volumes_with_a_filter_too(series: np.ndarray) -> None:
    cleaned = denoise(series, ALL, confounds_of([0, 1, 40, 41]), strategy_of(0, **BAND), TR)
    assert cleaned.segments == ((0, 38), (38, 296))


@pytest.mark.parametrize(
    ("n_regressors", "cuts", "expected"),
    [
        (0, {}, 298),
        (30, {}, 268),
        (0, {"low_pass": 0.125}, 148),  # half of 0 to Nyquist, 0.25 Hz
        (30, {"low_pass": 0.125}, 118),
        (0, {"high_pass": 0.01}, 288),
        (0, BAND, 108),
        (30, BAND, 78),
    ],
)
def test_degrees_of_freedom_count_what_the_filter_takes(
    n_regressors: int, cuts: dict[str, float], expected: int
) -> None:
    assert degrees_of_freedom(confounds_of([], n_regressors), strategy_of(n_regressors, **cuts), TR) == expected


@pytest.mark.parametrize("n_regressors", [0, 30])
@pytest.mark.parametrize("cuts", [{}, BAND, {"high_pass": 0.01}, {"low_pass": 0.1}], ids=str)
def test_the_count_is_the_variance_that_denoising_leaves_to_white_noise(
    n_regressors: int, cuts: dict[str, float]
) -> None:
    """Cleaning is linear: its matrix P turns white noise into noise of total variance trace(P P')."""
    confounds, strategy = confounds_of([], n_regressors), strategy_of(n_regressors, **cuts)
    cleaned = denoise(np.eye(T), np.ones(T, dtype=bool), confounds, strategy, TR)
    left = (cleaned.series**2).sum()
    # Butterworth is no ideal filter: some of each band goes, and some beside it stays.
    assert cleaned.degrees_of_freedom == pytest.approx(left, rel=1e-9 if not cuts else 0.1)


def test_a_regressor_that_does_not_vary_over_the_kept_volumes_costs_nothing() -> None:
    confounds = confounds_of([7], 2)
    assert confounds.regressors is not None
    confounds.regressors[:, 1] = np.eye(T)[7]  # a spike in a volume that is dropped anyway
    assert degrees_of_freedom(confounds, strategy_of(2), TR) == 299 - 1 - 2


@pytest.mark.parametrize(("cuts", "longest"), [({"low_pass": 0.1}, 18), ({"high_pass": 0.05}, 18), (BAND, 33)])
def test_a_run_no_longer_than_the_padding_of_the_filter_has_nothing_left(
    series: np.ndarray, cuts: dict[str, float], longest: int
) -> None:
    strategy = Strategy("x", **cuts)
    for n_volumes in (longest, longest + 1):
        # The stretch from first to last counts, not how many of it are kept.
        kept = np.array([10, *range(12, 10 + n_volumes)])
        confounds = Confounds(None, (), kept, 10, T - 10 - kept.size, None)
        cleaned = denoise(series, ALL, confounds, strategy, TR)
        assert cleaned.series.shape == (n_volumes - 1, R)
        assert np.isfinite(cleaned.series).all() == (n_volumes > longest)
        assert (cleaned.degrees_of_freedom > 0) == (n_volumes > longest)
    with pytest.raises(ValueError, match="padlen"):
        clean(series[:longest], detrend=False, standardize=None, filter="butterworth", t_r=TR, **cuts)


@pytest.mark.parametrize("kept", [[], [5], [5, 6], [5, 90]])
@pytest.mark.parametrize("name", ["none", "simple", "36p"])
@pytest.mark.parametrize("cuts", [{}, {"low_pass": 0.1}, BAND], ids=str)
def test_a_run_of_which_next_to_nothing_is_kept_is_no_error(
    series: np.ndarray, kept: list[int], name: str, cuts: dict[str, float]
) -> None:
    strategy = load_strategy(name, **cuts)
    few = np.array(kept, dtype=np.int64)
    regressors = confounds_of([], 3).regressors if strategy.needs_confounds else None
    columns = ("cosine00", "x", "y") if strategy.needs_confounds else ()
    cleaned = denoise(series, ALL, Confounds(regressors, columns, few, 0, T - few.size, None), strategy, TR)
    assert cleaned.series.shape == (len(kept), R)
    assert (cleaned.degrees_of_freedom > 0) == (strategy.name == "none" and not cuts and len(kept) > 0)
    assert np.isnan(cleaned.series).all() == (cleaned.degrees_of_freedom <= 0)


def test_a_long_run_without_cosines_is_never_left_unfiltered(series: np.ndarray) -> None:
    strategy = load_strategy("24p")
    confounds = confounds_of([], 24)
    with pytest.raises(RunError, match=r"no cosine\* columns, though the run is 600 s long, and --denoise 24p filters"):
        denoise(series, ALL, confounds, strategy, TR)
    # fMRIPrep itself writes none for a run of less than its 128 s.
    assert np.isfinite(denoise(series, ALL, confounds, strategy, 0.4).series).all()
    assert np.isfinite(denoise(series, ALL, confounds, strategy_of(24), TR).series).all()
