"""Scores are partial correlations, and chance is what smooth unrelated maps reach."""

from __future__ import annotations

import numpy as np
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.reference.nulls import fitted_covariances, freedman_lane_correlations, one_sided_p
from bids_neurossm.reference.regions import region_geometry
from bids_neurossm.reference.scoring import score_maps

N_REGIONS = 160
TASKS = ["emotion", "gambling", "language", "motor", "wm"]


@pytest.fixture(scope="module")
def centroids(request: pytest.FixtureRequest) -> np.ndarray:
    labels, affine, values = request.getfixturevalue("schaefer200")
    return region_geometry(labels, affine, values)[1][:N_REGIONS]


def smooth_maps(centroids: np.ndarray, n_maps: int, seed: int, scale: float = 30.0) -> np.ndarray:
    distance = np.linalg.norm(centroids[:, None] - centroids[None], axis=-1)
    root = np.linalg.cholesky(np.exp(-((distance / scale) ** 2) / 2) + 1e-3 * np.eye(len(centroids)))
    return np.random.default_rng(seed).standard_normal((n_maps, len(centroids))) @ root.T


def sizes(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 900, N_REGIONS)


def residual(values: np.ndarray, *covariates: np.ndarray) -> np.ndarray:
    design = np.stack([np.ones_like(values), *covariates], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def z(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=-1, keepdims=True)) / values.std(axis=-1, keepdims=True)


def test_three_classes_condition_on_the_other_classes_and_size(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 6, 1).reshape(2, 3, -1)
    maps = maps + references
    scores = score_maps(maps, references, sizes(), centroids, TASKS[:3], n_surrogates=100)
    table = scores.table.set_index(["row_class", "column_class"])
    standard_maps, standard_references = z(maps), z(references)
    for row in range(3):
        for column in range(3):
            others = np.delete(standard_maps, row, 0).mean(0), np.delete(standard_references, column, 0).mean(0)
            covariates = (*others, np.log(sizes()))
            e_map = residual(standard_maps[row], *covariates)
            e_reference = residual(standard_references[column], *covariates)
            expected = np.corrcoef(e_map, e_reference)[0, 1]
            assert table.loc[(TASKS[row], TASKS[column]), "rho"] == pytest.approx(expected)
            if row == column:
                np.testing.assert_allclose(scores.residual_reference[row], z(e_reference), atol=1e-8)
                assert scores.product[row].mean() == pytest.approx(expected)
    assert scores.top_quarter.sum(axis=1).tolist() == [40, 40, 40]
    assert scores.residual_reference[0][scores.top_quarter[0]].min() >= np.max(
        scores.residual_reference[0][~scores.top_quarter[0]]
    )
    assert scores.diagonal_p is None
    assert table["p_holm"].notna().sum() == 3


def test_two_classes_are_one_signed_contrast(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 4, 2).reshape(2, 2, -1)
    maps = maps + references
    scores = score_maps(maps, references, sizes(), centroids, ["A", "B"])
    assert scores.table[["row_class", "column_class"]].to_numpy().tolist() == [["A - B", "A - B"]]
    contrast = [residual(z(pair)[0] - z(pair)[1], np.log(sizes())) for pair in (maps, references)]
    assert scores.table["rho"][0] == pytest.approx(np.corrcoef(*contrast)[0, 1])
    np.testing.assert_allclose(scores.residual_reference[0], -scores.residual_reference[1])
    np.testing.assert_allclose(scores.product[0], scores.product[1])
    assert not (scores.top_quarter[0] & scores.top_quarter[1]).any()
    assert scores.table["p"][0] == scores.table["p_holm"][0] < 0.01


def test_one_reference_conditions_on_size_alone(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 4, 3).reshape(2, 2, -1)
    references[1] = np.nan
    scores = score_maps(maps, references, sizes(), centroids, ["PD", "Control"], n_surrogates=100)
    expected = np.corrcoef(residual(maps[0], np.log(sizes())), residual(references[0], np.log(sizes())))[0, 1]
    assert scores.table[["row_class", "column_class"]].to_numpy().tolist() == [["PD", "PD"]]
    assert scores.table["rho"][0] == pytest.approx(expected)
    assert np.isnan(scores.residual_reference[1]).all()
    assert not scores.top_quarter[1].any()
    assert any("Control has no reference" in note for note in scores.notes)


def test_regions_that_lack_a_value_are_left_out_and_counted(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 4, 4).reshape(2, 2, -1)
    size = sizes()
    maps[0, 3], references[1, 5], size[7] = np.nan, np.nan, 0
    scores = score_maps(maps, references, size, centroids, ["A", "B"], n_surrogates=100)
    assert scores.table["n_regions"][0] == N_REGIONS - 3
    assert np.flatnonzero(np.isnan(scores.residual_reference[0])).tolist() == [3, 5, 7]
    assert not scores.top_quarter[:, [3, 5, 7]].any()
    assert any(f"3 of {N_REGIONS} regions" in note for note in scores.notes)


def test_planted_matches_are_found_class_by_class(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 10, 5, scale=15).reshape(2, 5, -1)
    scores = score_maps(maps + references, references, sizes(), centroids, TASKS)
    diagonal = scores.table[scores.table["row_class"] == scores.table["column_class"]]
    assert (diagonal["p_holm"] < 0.05).all()
    assert scores.diagonal_excess is not None
    assert scores.diagonal_excess > 0.3
    assert scores.diagonal_p == pytest.approx(1 / 120)


def test_a_map_that_others_explain_wholly_has_no_score(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 6, 6).reshape(2, 3, -1)
    references[2] = -z(references[0]) - z(references[1])
    references[1] = references[0]
    maps[1] = maps[2] = maps[0]
    scores = score_maps(maps, references, sizes(), centroids, TASKS[:3], n_surrogates=100)
    assert scores.table["rho"].isna().all()
    assert scores.table["p_holm"].isna().all()
    assert any("explain the map or reference wholly" in note for note in scores.notes)


def test_the_same_seed_gives_the_same_p(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 6, 7).reshape(2, 3, -1)
    first, second = (score_maps(maps, references, sizes(), centroids, TASKS[:3], 200, seed=1) for _ in range(2))
    assert first.table.equals(second.table)


def test_inputs_that_can_not_be_scored_are_refused(centroids: np.ndarray) -> None:
    maps, references = smooth_maps(centroids, 4, 8).reshape(2, 2, -1)
    with pytest.raises(UsageError, match="do not fit"):
        score_maps(maps[:, 1:], references, sizes(), centroids, ["A", "B"])
    with pytest.raises(UsageError, match="at least 100"):
        score_maps(maps, references, sizes(), centroids, ["A", "B"], n_surrogates=10)
    with pytest.raises(UsageError, match="no class has both"):
        score_maps(maps * [[1], [0]], references * [[0], [1]], sizes(), centroids, ["A", "B"])
    maps[:, 19:] = np.nan
    with pytest.raises(UsageError, match="only 19 of 160 regions"):
        score_maps(maps, references, sizes(), centroids, ["A", "B"])


def test_unrelated_smooth_maps_pass_as_often_as_p_says(centroids: np.ndarray) -> None:
    n_pairs, generator = 250, np.random.default_rng(0)
    between = np.linalg.norm(centroids[:, None] - centroids, axis=-1)
    for scale in (20.0, 60.0):
        pairs = smooth_maps(centroids, 2 * n_pairs, 9, scale).reshape(n_pairs, 2, -1)
        pairs -= pairs.mean(axis=-1, keepdims=True)
        design = np.full((N_REGIONS, 1), N_REGIONS**-0.5)
        fitted = fitted_covariances([(a, design) for a, _ in pairs], between)
        spatial = plain = 0
        for (a, b), covariance in zip(pairs, fitted, strict=True):
            normals = generator.standard_normal((200, N_REGIONS))
            null = freedman_lane_correlations(b, design, covariance, between, normals)
            spatial += one_sided_p(np.corrcoef(a, b)[0, 1], null) <= 0.05
            shuffled = generator.permuted(np.tile(z(a), (200, 1)), axis=1) @ z(b)
            plain += (1 + np.sum(shuffled >= z(a) @ z(b))) / 201 <= 0.05
        # 250 draws at .05 lie within .016 and .09 with more than 99 %.
        assert 0.016 <= spatial / n_pairs <= 0.09, scale
        assert plain / n_pairs > 0.15, scale
