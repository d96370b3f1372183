"""Which regions can be used, and the figures by which a run is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import LedoitWolf

from bids_neurossm.signal.parcels import ParcelSeries
from bids_neurossm.signal.quality import motion_summary, pearson_connectivity, region_quality, shrunk_connectivity


@pytest.fixture
def parcels() -> ParcelSeries:
    """Four regions: whole, half covered, without voxels, and constant."""
    rng = np.random.default_rng(0)
    series = 1000 + 10 * rng.normal(size=(50, 4))
    series[:, 2] = np.nan
    series[:, 3] = 1000.0
    return ParcelSeries(series, np.array([10, 10, 0, 10]), np.array([10, 5, 0, 10]))


def test_coverage_is_the_share_of_voxels(parcels: ParcelSeries) -> None:
    assert parcels.coverage.tolist() == [1.0, 0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("least", "used"),
    [(0.0, [True, True, False, False]), (0.5, [True, True, False, False]), (0.51, [True, False, False, False])],
)
def test_a_region_needs_coverage_and_must_move(parcels: ParcelSeries, least: float, used: list[bool]) -> None:
    assert region_quality(parcels, np.arange(50), least).used.tolist() == used


def test_mean_and_tsnr_are_those_of_the_kept_volumes(parcels: ParcelSeries) -> None:
    kept = np.arange(10, 50)
    quality = region_quality(parcels, kept, 0.5)
    series = parcels.series[kept, 0]
    assert quality.mean[0] == pytest.approx(series.mean())
    assert quality.tsnr[0] == pytest.approx(series.mean() / series.std())
    assert np.isnan(quality.tsnr[2:]).all()
    assert quality.mean[3] == 1000


def test_a_region_that_moves_by_rounding_alone_is_constant(parcels: ParcelSeries) -> None:
    parcels.series[:, 3] += np.tile([1e-7, -1e-7], 25)
    assert not region_quality(parcels, np.arange(50), 0.5).used[3]


def test_a_region_that_moves_only_in_dropped_volumes_is_constant(parcels: ParcelSeries) -> None:
    parcels.series[:2, 3] = 1300
    assert region_quality(parcels, np.arange(50), 0.5).used[3]
    assert not region_quality(parcels, np.arange(2, 50), 0.5).used[3]


def test_without_any_volume_nothing_is_used(parcels: ParcelSeries) -> None:
    quality = region_quality(parcels, np.array([], dtype=np.int64), 0.5)
    assert not quality.used.any()
    assert np.isnan(quality.tsnr).all()
    assert quality.coverage.tolist() == [1.0, 0.5, 0.0, 1.0]


def test_connectivity_is_pearson_with_nan_for_unusable_regions() -> None:
    series = np.random.default_rng(1).normal(size=(40, 4))
    expected = np.corrcoef(series[:, [0, 1, 3]], rowvar=False)
    series[:, 2] = np.nan
    matrix = pearson_connectivity(series)
    np.testing.assert_allclose(matrix[np.ix_([0, 1, 3], [0, 1, 3])], expected, rtol=1e-12)
    assert np.isnan(matrix[2]).all()
    assert np.isnan(matrix[:, 2]).all()


def test_partial_correlation_is_that_of_the_shrunk_precision_of_standardised_series() -> None:
    """More regions than volumes, at scales that differ, and one that is not usable."""
    rng = np.random.default_rng(1)
    series = np.cumsum(rng.normal(size=(30, 50)), axis=0) * rng.uniform(0.1, 100, 50)
    series[:, 2] = np.nan
    usable = np.delete(np.arange(50), 2)
    standardised = (series[:, usable] - series[:, usable].mean(axis=0)) / series[:, usable].std(axis=0, ddof=1)
    precision = LedoitWolf().fit(standardised).precision_
    scale = np.sqrt(np.diag(precision))
    expected = -precision / np.outer(scale, scale)
    np.fill_diagonal(expected, 1)
    matrix = shrunk_connectivity(series, "partial-correlation")
    np.testing.assert_allclose(matrix[np.ix_(usable, usable)], expected, atol=1e-8)
    np.testing.assert_allclose(shrunk_connectivity(series * 7, "partial-correlation"), matrix, atol=1e-8)
    covariance = shrunk_connectivity(series, "covariance")
    np.testing.assert_allclose(covariance[np.ix_(usable, usable)], LedoitWolf().fit(series[:, usable]).covariance_)
    for each in (matrix, covariance):
        assert np.isnan(each[2]).all()
        assert np.isnan(each[:, 2]).all()
    assert np.isnan(shrunk_connectivity(series[:2], "covariance")).all()


def test_a_single_usable_region_correlates_with_itself() -> None:
    series = np.full((40, 2), np.nan)
    series[:, 1] = np.arange(40)
    assert pearson_connectivity(series)[1, 1] == 1


@pytest.mark.parametrize("n_volumes", [0, 1, 2])
def test_too_few_volumes_give_no_correlation(n_volumes: int) -> None:
    assert np.isnan(pearson_connectivity(np.ones((n_volumes, 3)))).all()


def test_motion_of_a_real_run_is_summed_up(shared_data: Path) -> None:
    table = shared_data / "confounds" / "test-v21_desc-confounds_timeseries.tsv"
    content = pd.read_csv(table, sep="\t")
    found = motion_summary(table, 30)
    assert found.mean_displacement == pytest.approx(content["framewise_displacement"].mean())
    assert found.max_displacement == pytest.approx(7.250588)
    assert found.mean_std_dvars == pytest.approx(content["std_dvars"].mean())
    # fMRIPrep marked these itself, one column each.
    marked = content[[name for name in content if name.startswith("motion_outlier")]].to_numpy().any(axis=1)
    above = (content["framewise_displacement"] > 0.5) | (content["std_dvars"] > 1.5)
    assert found.n_outliers == above.sum()
    assert marked[~above].sum() == 0


def test_motion_that_is_not_known_is_not_zero(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("csf\n" + "1\n" * 5)
    for found in (motion_summary(None, 5), motion_summary(tmp_path / "a.tsv", 5)):
        assert np.isnan([found.mean_displacement, found.max_displacement, found.mean_std_dvars]).all()
        assert found.n_outliers is None
