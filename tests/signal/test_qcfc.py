"""QC-FC: what follows motion is found, edge by edge, in one pass over the participants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bids_neurossm.signal.qcfc import MotionCorrelation, qc_fc


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
    assert found.median_absolute_r == pytest.approx(found.chance_median_absolute_r, rel=0.05)
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
        (np.zeros((5, 4, 4)), np.zeros(4), None, "5 participants are expected"),
        (np.zeros((5, 4, 4)), np.zeros(5), np.zeros((3, 3)), "do not belong to"),
        (np.zeros((5, 6)), np.zeros(5), np.zeros((4, 3)), "do not belong to"),
    ],
)
def test_shapes_that_do_not_belong_together(
    connectivity: np.ndarray, motion: np.ndarray, centroids: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        qc_fc(connectivity, motion, centroids)


def test_one_participant_after_another_gives_the_same_at_any_level_of_the_values() -> None:
    rng = np.random.default_rng(5)
    edges, motion = 1e3 + rng.normal(size=(50, 200)), 5 + rng.gamma(2, 0.1, 50)
    edges[:, :100] += 3 * motion[:, None]
    correlation = MotionCorrelation(200)
    for row, moved in zip(edges, motion, strict=True):
        correlation.add(row, float(moved))
    expected = [stats.pearsonr(edge, motion).statistic for edge in edges.T]
    np.testing.assert_allclose(correlation.correlations(), expected, rtol=1e-9)
