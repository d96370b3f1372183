"""Attributions of a linear network are those worked out by hand."""

import numpy as np
import pytest
import torch
from helpers.linear_pathways import LinearPathways

from bids_neurossm.attribution.inputs import series_attribution
from bids_neurossm.errors import UsageError

#: Two runs of two and four time points; the first is padded with what must not count.
SERIES = torch.tensor(
    [
        [[1.0, 0.0, 1.0], [3.0, 2.0, 1.0], [9.0, 9.0, 9.0], [9.0, 9.0, 9.0]],
        [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, -2.0], [0.0, 1.0, -2.0]],
    ]
)
LENGTHS = torch.tensor([2, 4])


def test_importance_is_what_the_term_differs_from_its_mean_by():
    found = series_attribution(LinearPathways(), SERIES, [0, 1], LENGTHS)
    # Means (2, 1, 1) and (0, 1, 0): features (2, 2, 0; 0, 0, 3) and (0, 2, 0; 0, 0, 0), means of them (1; 1).
    assert found.pathways == ("first", "second")
    assert found.importance_zero.tolist() == [[4.0, -3.0], [-2.0, 0.0]]
    assert found.importance.tolist() == [[3.0, -2.0], [-1.0, -1.0]]
    assert found.reference.tolist() == [0.5, -0.5]
    assert found.logit.tolist() == [1.5, -2.5]
    np.testing.assert_array_equal(found.logit, found.reference + found.importance.sum(axis=1))


def test_scores_are_input_times_gradient_averaged_over_the_valid_time_points():
    found = series_attribution(LinearPathways(), SERIES, [0, 1], LENGTHS)
    # The gradient of a mean over T time points is 1 / T at each, and the sum of the products is averaged over T again.
    assert found.score[0].tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, -1.5]]
    assert found.score[1].tolist() == [[0.0, -0.5, 0.0], [0.0, 0.0, 0.0]]
    assert found.share[0].tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]
    assert found.share[1].tolist() == [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert np.isnan(found.gap).all()


def test_the_path_integral_of_a_linear_network_misses_nothing():
    found = series_attribution(LinearPathways(), SERIES, [0, 1], LENGTHS, localisation="integrated", steps=4)
    np.testing.assert_allclose(found.score.sum(axis=2), found.importance_zero, atol=1e-6)
    np.testing.assert_allclose(found.gap, 0, atol=1e-6)
    np.testing.assert_allclose(found.score[0, 0], [2.0, 2.0, 0.0], atol=1e-6)


def test_pieces_of_a_run_are_explained_as_one_run():
    whole = torch.cat([SERIES[0, :2], SERIES[1]])[None]
    runs = torch.tensor([0, 0])
    pieces = series_attribution(LinearPathways(), SERIES, [0], LENGTHS, runs)
    expected = series_attribution(LinearPathways(), whole, [0], torch.tensor([6]))
    np.testing.assert_allclose(pieces.importance, expected.importance, rtol=1e-6)
    np.testing.assert_allclose(pieces.score, expected.score, rtol=1e-6)


def test_the_mode_of_the_model_comes_back_and_a_target_that_does_not_fit_is_refused():
    model = LinearPathways().train()
    series_attribution(model, SERIES, [0, 1], LENGTHS)
    assert model.training
    with pytest.raises(UsageError, match="the model has 2 outputs"):
        series_attribution(model, SERIES, [0, 2], LENGTHS)
    assert model.training
