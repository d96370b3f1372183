"""Models are made by their names, and what a model of another package predicts is checked."""

import numpy as np
import pytest

from bids_neurossm.baselines.dummy import Majority
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.estimators.protocol import Followed, checked_scores, create_estimator
from bids_neurossm.registry import model_entry, model_names


def made(name):
    return create_estimator(name, ModelSpec(name), Training(), Execution(device="cpu"))


@pytest.mark.parametrize(
    "name", [name for name in model_names() if model_entry(name).factory.startswith("bids_neurossm.")]
)
def test_every_model_can_be_made_and_knows_its_name(name):
    model = made(name)
    assert model.name == name
    assert all(callable(getattr(model, what)) for what in ("fit", "predict", "save"))


def test_what_takes_long_tells_how_far_it_is():
    neurossm, majority = made("neurossm"), made("majority")
    assert type(neurossm) is NeuroSSMEstimator
    assert type(majority) is Majority
    assert isinstance(neurossm, Followed)
    assert not isinstance(majority, Followed)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match=r"The model 'neuro' is not known; known are age-only, .*neurossm"):
        made("neuro")


def test_scores_of_the_expected_shape_come_back_in_double_precision():
    found = checked_scores("majority", np.array([[1, 2], [3, 4]], dtype=np.float32), 2, 2)
    assert found.dtype == np.float64
    assert found.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (np.zeros((2, 3)), r"predicted an array of shape \(2, 3\); finite values of shape \(2, 2\)"),
        (np.zeros(2), r"predicted an array of shape \(2,\)"),
        (np.array([[0.0, np.nan], [0.0, 0.0]]), "predicted values that are not finite"),
        (np.array([[0.0, np.inf], [0.0, 0.0]]), "predicted values that are not finite"),
    ],
)
def test_scores_that_are_no_predictions_are_refused_with_the_package(scores, words):
    with pytest.raises(CheckpointError, match=f"The model 'majority' of the package bids_neurossm {words}"):
        checked_scores("majority", scores, 2, 2)
