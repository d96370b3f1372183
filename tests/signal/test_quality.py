"""Which regions can be used, and the figures by which a run is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_neurossm.signal.parcels import ParcelSeries
from bids_neurossm.signal.quality import motion_summary, pearson_connectivity, qc_fc, region_quality


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


def test_a_single_usable_region_correlates_with_itself() -> None:
    series = np.full((40, 2), np.nan)
    series[:, 1] = np.arange(40)
    assert pearson_connectivity(series)[1, 1] == 1


@pytest.mark.parametrize("n_volumes", [0, 1, 2])
def test_too_few_volumes_give_no_correlation(n_volumes: int) -> None:
    assert np.isnan(pearson_connectivity(np.ones((n_volumes, 3)))).all()


@pytest.fixture
def cohort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sixty runs of twelve regions in which motion adds to connections, to near ones more."""
    rng = np.random.default_rng(3)
    centroids = rng.uniform(-60, 60, (12, 3))
    distance = np.linalg.norm(centroids[:, None] - centroids[None], axis=2)
    motion = rng.uniform(0.05, 0.5, 60)
    noise = rng.normal(0, 0.1, (60, 12, 12))
    matrices = motion[:, None, None] * np.exp(-distance / 60) + (noise + noise.transpose(0, 2, 1)) / 2
    return matrices, motion, centroids


def test_qc_fc_is_the_correlation_of_each_edge_with_motion(cohort: tuple[np.ndarray, ...]) -> None:
    matrices, motion, centroids = cohort
    found = qc_fc(matrices, motion, centroids)
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    expected = [stats.pearsonr(matrices[:, i, j], motion) for i, j in pairs]
    np.testing.assert_allclose(found.r, [each.statistic for each in expected], rtol=1e-10)
    np.testing.assert_allclose(found.p, [each.pvalue for each in expected], rtol=1e-8)
    assert found.n_edges == 66
    assert found.median_absolute_r == pytest.approx(np.median(np.abs(found.r)))
    assert found.share_significant == pytest.approx(np.mean([each.pvalue < 0.05 for each in expected]))
    distance = [np.linalg.norm(centroids[i] - centroids[j]) for i, j in pairs]
    assert found.distance_dependence == pytest.approx(stats.spearmanr(distance, found.r).statistic)
    assert found.distance_dependence < -0.5
    assert found.share_significant > 0.8


def test_without_any_relation_a_twentieth_of_the_edges_is_significant() -> None:
    rng = np.random.default_rng(4)
    found = qc_fc(rng.normal(size=(40, 5000)), rng.gamma(2, 0.1, 40))
    assert 0.04 < found.share_significant < 0.06
    assert found.median_absolute_r == pytest.approx(0.6745 / np.sqrt(38), rel=0.1)
    assert np.isnan(found.distance_dependence)


def test_edges_count_over_the_runs_that_have_them(cohort: tuple[np.ndarray, ...]) -> None:
    matrices, motion, _ = cohort
    matrices, motion = matrices.copy(), motion.copy()
    matrices[:20, 0, 1] = np.nan  # covered in 40 runs
    matrices[3:, 0, 2] = np.nan  # covered in three
    matrices[:, 0, 3] = 0.1  # does not vary
    motion[-1] = np.nan
    found = qc_fc(matrices, motion)
    expected = stats.pearsonr(matrices[20:-1, 0, 1], motion[20:-1])
    assert (found.r[0], found.p[0]) == pytest.approx((expected.statistic, expected.pvalue))
    assert np.isnan(found.r[1:3]).all()
    assert np.isnan(found.p[1:3]).all()
    assert found.n_edges == 64


def test_qc_fc_of_too_few_runs_says_nothing() -> None:
    found = qc_fc(np.random.default_rng(0).normal(size=(3, 4, 4)), np.array([0.1, 0.2, 0.3]), np.eye(4, 3))
    assert found.n_edges == 0
    assert np.isnan([found.median_absolute_r, found.share_significant, found.distance_dependence]).all()


@pytest.mark.parametrize(
    ("connectivity", "motion", "centroids", "message"),
    [
        (np.zeros((5, 4, 3)), np.zeros(5), None, r"connectivity has shape \(5, 4, 3\)"),
        (np.zeros((5, 4, 4)), np.zeros(4), None, "5 runs are expected"),
        (np.zeros((5, 4, 4)), np.zeros(5), np.zeros((3, 3)), "do not belong to"),
        (np.zeros((5, 6)), np.zeros(5), np.zeros((4, 3)), "do not belong to"),
    ],
)
def test_shapes_that_do_not_belong_together(
    connectivity: np.ndarray, motion: np.ndarray, centroids: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        qc_fc(connectivity, motion, centroids)


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
