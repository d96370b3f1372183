"""Denoising is nilearn's, number for number; what is added says what was kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.signal import clean

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import Confounds, load_confounds
from bids_neurossm.signal.denoise import contiguous_segments, denoise
from bids_neurossm.signal.strategy import Strategy, load_strategy
from bids_neurossm.simulation import simulate_confounds

T, R, TR = 120, 7, 2.0
NONE, SIMPLE = load_strategy("none"), load_strategy("simple")
ALL = np.ones(R, dtype=bool)


@pytest.fixture
def series() -> np.ndarray:
    rng = np.random.default_rng(0)
    return 1000 + np.cumsum(rng.normal(size=(T, R)), axis=0) + np.linspace(0, 5, T)[:, None]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    simulate_confounds(T, TR, np.random.default_rng(1), n_dummy=2).to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path


def everything(n_volumes: int = T) -> Confounds:
    return Confounds(None, (), np.arange(n_volumes), 0, 0, None)


def expected_by_nilearn(table: Path, series: np.ndarray) -> np.ndarray:
    """`simple` as a user of nilearn would apply it."""
    image = str(table.with_name("sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"))
    confounds, sample_mask = load_confounds_strategy(image, "simple")
    return clean(
        series, confounds=confounds, sample_mask=sample_mask, detrend=True, standardize=None, filter=False, t_r=TR
    )


def test_simple_equals_nilearn(table: Path, series: np.ndarray) -> None:
    cleaned = denoise(series, ALL, load_confounds(table, SIMPLE, T), SIMPLE, TR)
    np.testing.assert_array_equal(cleaned.series, expected_by_nilearn(table, series))
    assert cleaned.series.shape == (T - 2, R)
    assert cleaned.segments == ((0, T - 2),)


@pytest.mark.parametrize(
    "name",
    ["test-v21_desc-confounds_timeseries.tsv", "no_nonsteady_desc-confounds_regressors.tsv"],
)
def test_simple_equals_nilearn_on_columns_of_real_tables(
    shared_data: Path, tmp_path: Path, series: np.ndarray, name: str
) -> None:
    """The real tables have 30 rows, fewer than `simple` has parameters: four in a row, jittered, give a whole run."""
    real = pd.read_csv(shared_data / "confounds" / name, sep="\t")
    steady = [column for column in real if column.startswith("non_steady_state")]
    rest = real.drop(columns=steady).bfill()
    long = pd.concat([rest] * 4, ignore_index=True)
    long += np.random.default_rng(2).normal(size=long.shape) * rest.std().to_numpy() * 0.3
    for column in steady:
        long[column] = np.concatenate([real[column], np.zeros(T - 30)])
    table = tmp_path / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    long.to_csv(table, sep="\t", index=False, na_rep="n/a")
    cleaned = denoise(series, ALL, load_confounds(table, SIMPLE, T), SIMPLE, TR)
    assert np.isfinite(cleaned.series).all()
    np.testing.assert_array_equal(cleaned.series, expected_by_nilearn(table, series))


def test_nothing_of_the_regressors_is_left(table: Path, series: np.ndarray) -> None:
    confounds = load_confounds(table, SIMPLE, T)
    assert confounds.regressors is not None
    cleaned = denoise(series, ALL, confounds, SIMPLE, TR).series
    kept = confounds.regressors[confounds.kept]
    for regressor in kept.T[kept.std(axis=0) > 0]:
        for region in cleaned.T:
            assert abs(np.corrcoef(regressor, region)[0, 1]) < 1e-6


def test_no_denoising_leaves_the_numbers_as_they_are(series: np.ndarray) -> None:
    confounds = Confounds(None, (), np.arange(3, T), 3, 0, None)
    cleaned = denoise(series, ALL, confounds, NONE, TR)
    np.testing.assert_array_equal(cleaned.series, series[3:])
    assert cleaned.degrees_of_freedom == T - 3


def test_filters_are_those_of_nilearn(series: np.ndarray) -> None:
    strategy = load_strategy("none", high_pass=0.01, low_pass=0.1)
    cleaned = denoise(series, ALL, everything(), strategy, TR).series
    expected = clean(
        series, detrend=False, standardize=None, filter="butterworth", high_pass=0.01, low_pass=0.1, t_r=TR
    )
    np.testing.assert_array_equal(cleaned, expected)


@pytest.mark.parametrize(("high_pass", "low_pass", "named"), [(None, 0.25, "--low-pass"), (0.3, None, "--high-pass")])
def test_a_frequency_that_the_repetition_time_can_not_show_is_refused(
    series: np.ndarray, high_pass: float | None, low_pass: float | None, named: str
) -> None:
    strategy = load_strategy("none", high_pass, low_pass)
    with pytest.raises(RunError, match=f"{named} .* Hz is not below 0.25 Hz, .* repetition time of 2.0 s"):
        denoise(series, ALL, everything(), strategy, TR)
    assert np.isfinite(denoise(series, ALL, everything(), strategy, 0.8).series).all()


def test_unusable_regions_are_nan_and_do_not_touch_the_others(table: Path, series: np.ndarray) -> None:
    confounds = load_confounds(table, SIMPLE, T)
    whole = denoise(series, ALL, confounds, SIMPLE, TR).series
    usable = ALL.copy()
    usable[[1, 4]] = False
    series[:, 1], series[:, 4] = np.nan, 0
    cleaned = denoise(series, usable, confounds, SIMPLE, TR).series
    assert np.isnan(cleaned[:, ~usable]).all()
    np.testing.assert_allclose(cleaned[:, usable], whole[:, usable], rtol=0, atol=1e-9)
    assert np.isnan(denoise(series, ~ALL, confounds, SIMPLE, TR).series).all()


def test_degrees_of_freedom_count_regressors_and_trend(table: Path, series: np.ndarray) -> None:
    confounds = load_confounds(table, SIMPLE, T, fd_threshold=0.5)
    cleaned = denoise(series, ALL, confounds, SIMPLE, TR)
    assert cleaned.degrees_of_freedom == confounds.kept.size - len(confounds.columns) - 2


def test_more_parameters_than_volumes_leave_nothing_rather_than_rounding_noise(
    shared_data: Path, tmp_path: Path
) -> None:
    table = tmp_path / "sub-01_task-rest_desc-confounds_timeseries.tsv"
    shutil.copyfile(shared_data / "confounds" / "test-v21_desc-confounds_timeseries.tsv", table)
    confounds = load_confounds(table, SIMPLE, 30)
    cleaned = denoise(np.random.default_rng(0).normal(size=(30, R)), ALL, confounds, SIMPLE, TR)
    assert cleaned.degrees_of_freedom == 27 - 27 - 2
    assert np.isnan(cleaned.series).all()


def test_censored_volumes_split_the_run_into_segments(series: np.ndarray) -> None:
    kept = np.array([t for t in range(2, T) if t not in (50, 51, 80)])
    cleaned = denoise(series, ALL, Confounds(None, (), kept, 2, 3, None), Strategy("x", detrend=True), TR)
    assert cleaned.segments == ((0, 48), (48, 76), (76, 115))
    assert cleaned.series.shape == (115, R)


@given(st.lists(st.integers(0, 60), unique=True).map(sorted))
def test_segments_cover_all_kept_volumes_and_break_at_every_gap(kept: list[int]) -> None:
    volumes = np.array(kept, dtype=np.int64)
    segments = contiguous_segments(volumes)
    assert [row for start, stop in segments for row in range(start, stop)] == list(range(len(kept)))
    for start, stop in segments:
        assert (np.diff(volumes[start:stop]) == 1).all()
    for _, stop in segments[:-1]:
        assert volumes[stop] - volumes[stop - 1] > 1
