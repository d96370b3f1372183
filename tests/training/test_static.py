"""The static term: NeuroSSM learns what connectivity leaves, and the sum of the two decides."""

from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError
from bids_neurossm.models.neurossm import NeuroSSM
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.estimator import create_estimator
from bids_neurossm.training.fit import fit
from bids_neurossm.training.inference import predict_logits
from bids_neurossm.training.neural import NeuralEstimator
from bids_neurossm.training.runset import TrainingSet
from bids_neurossm.training.static import StaticTerm, fit_static, shrink_dynamics, shrinkage

REGIONS = 6
TRAIN, TEST = np.arange(40), np.arange(40, 60)


def made(folder, coupled, target="class", n=60):
    """Regions 0 and 1 are coupled in one class (or as much as the target says), or in nobody."""
    random = np.random.default_rng(0)
    value = np.arange(n) % 2 if target == "class" else random.random(n)
    series = []
    for number in range(n):
        x = random.normal(size=(64, REGIONS))
        share = 0.8 * value[number] if coupled else 0.0
        x[:, 1] = share * x[:, 0] + np.sqrt(1 - share**2) * x[:, 1]
        series.append(x)
    runs = pd.DataFrame({"participant_id": [f"s{i:02d}" for i in range(n)]})
    runs["run"] = runs["participant_id"]
    runs["label"] = np.array(["a", "b"])[value] if target == "class" else 20 + 60 * value
    names = [f"r{i}" for i in range(REGIONS)]
    return Cohort.create(folder, runs, series, names, names, target)


@pytest.fixture(scope="module")
def coupled(tmp_path_factory):
    return made(tmp_path_factory.mktemp("coupled"), True)


@pytest.fixture(scope="module")
def valued(tmp_path_factory):
    return made(tmp_path_factory.mktemp("valued"), True, "continuous")


def estimator(name="neurossm-static"):
    settings = {"width": 8, "state": 2, "scales": (1, 2), "dropout": 0.2}
    training = Training(epochs=2, batch_size=16, learning_rate=1e-3)
    return create_estimator(name, ModelSpec(name, settings=settings), training, Execution(device="cpu"))


@pytest.fixture(scope="module")
def trained(coupled):
    model = estimator()
    model.fit(coupled, TRAIN, seed=0)
    return model


def test_offsets_tell_what_is_there_without_having_seen_the_label(coupled):
    term, offsets = fit_static(coupled, TRAIN, class_weights=True)
    labels = coupled.labels(TRAIN)
    assert (offsets.argmax(axis=1) == labels).mean() > 0.85
    assert term.weight > 0.3
    assert (term.term(coupled, TEST).argmax(axis=1) == coupled.labels(TEST)).mean() > 0.85
    by_class = [offsets[labels == label].mean(axis=0) for label in (0, 1)]
    np.testing.assert_allclose(term.centre, np.mean(by_class, axis=0))


def test_the_shrinkage_is_that_of_the_smallest_loss():
    random = np.random.default_rng(0)
    truth = random.normal(size=400)
    goal = (random.random(400) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    # Logits that were made three times too large are taken back to a third.
    overconfident = np.stack([-1.5 * truth, 1.5 * truth], axis=1)
    assert shrinkage(overconfident, goal, np.ones(400)) == pytest.approx(1 / 3, abs=0.1)
    value = truth + 0.1 * random.normal(size=400)
    assert shrinkage(2 * truth[:, None], value, np.ones(400)) == pytest.approx(0.5, abs=0.02)
    assert shrinkage(overconfident, 1 - goal, np.ones(400)) == 0


def outspoken(trained):
    """Return the estimator with another head, so that its dynamics speak whatever their training found."""
    other = copy(trained)
    other.model = deepcopy(trained.model)
    with torch.no_grad():
        other.model.head.normal_(std=1, generator=torch.Generator().manual_seed(0))
    return other


def test_the_prediction_is_the_sum_of_both(coupled, trained):
    both = outspoken(trained)
    own = predict_logits(both.model, both._checked(coupled, TEST), both.facts.window)
    assert np.ptp(own[:, 1] - own[:, 0]) > 0.1
    np.testing.assert_allclose(both.predict(coupled, TEST), own + trained.static.term(coupled, TEST))


def test_neurossm_learns_what_the_offsets_leave(coupled, trained):
    inputs, goal = trained._checked(coupled, TRAIN), coupled.labels(TRAIN)

    def learned(offsets):
        torch.manual_seed(0)
        model = NeuroSSM(trained.model.config)
        training = Training(epochs=4, learning_rate=0.01, label_smoothing=0.0)
        fit(model, TrainingSet(inputs, goal, offsets=offsets), training, None, 0)
        return float((predict_logits(model, inputs, None) @ [-1, 1]).mean())

    # Offsets that lean to one class are leant against, until the sum is right on average.
    lean = np.tile([0.0, 2.0], (len(goal), 1))
    assert learned(lean) < learned(None) - 0.3 < learned(lean[:, ::-1].copy()) - 0.6


def test_the_checkpoint_brings_the_term_back(coupled, trained, tmp_path):
    path = tmp_path / "model.safetensors"
    trained.save(path)
    assert trained.facts.metrics["dynamic_weight"] <= 1
    back = NeuralEstimator.load(path, Execution(device="cpu"))
    assert back.name == "neurossm-static"
    np.testing.assert_array_equal(back.predict(coupled, TEST), trained.predict(coupled, TEST))
    np.testing.assert_array_equal(back.static.centre, trained.static.centre)


def test_a_checkpoint_without_a_tensor_of_its_term_is_refused(trained):
    tensors = trained.static.tensors()
    tensors.pop("static.coefficients")
    with pytest.raises(CheckpointError, match="static term"):
        StaticTerm.restored(tensors, trained.static.facts(), 0.0, 1.0)


def test_all_seeds_share_one_term(coupled, trained):
    first, weights = trained.static, {name: value.clone() for name, value in trained.model.state_dict().items()}
    again = estimator()
    again.fit(coupled, TRAIN, seed=0)
    for name, value in again.model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
    again.fit(coupled, TRAIN, seed=1)
    np.testing.assert_array_equal(again.static.model.coefficients, first.model.coefficients)
    other = again.static
    again.fit(coupled, TRAIN[:30], seed=1)
    assert not np.array_equal(again.static.model.coefficients, other.model.coefficients)


def test_dynamics_are_shrunk_by_runs_that_they_were_not_fitted_on(coupled, trained):
    inputs = trained._checked(coupled, TEST)
    model = outspoken(trained).model
    own = predict_logits(model, inputs, None)
    # Three of four runs are as the model says, far less sure than it says so.
    said = own.argmax(axis=1)
    goal = np.where(np.arange(len(TEST)) % 4 == 0, 1 - said, said)
    factor = shrink_dynamics(model, TrainingSet(inputs, goal), None, class_weights=False)
    assert 0 < factor < 1
    np.testing.assert_allclose(predict_logits(model, inputs, None), factor * own, atol=1e-4)
    # Where it is wrong throughout, nothing of it is left, and the static term decides alone.
    assert shrink_dynamics(model, TrainingSet(inputs, 1 - said), None, class_weights=True) == 0
    assert not predict_logits(model, inputs, None).any()


def test_where_connectivity_tells_nothing_neurossm_is_trained_on_all_runs_as_if_alone(tmp_path):
    cohort = made(tmp_path, False)
    both, alone = estimator(), estimator("neurossm")
    both.fit(cohort, TRAIN, seed=0)
    alone.fit(cohort, TRAIN, seed=0)
    assert both.static.weight == 0
    assert both.static.term(cohort, TEST[:2]).tolist() == [[0, 0], [0, 0]]
    np.testing.assert_allclose(both.predict(cohort, TEST), alone.predict(cohort, TEST))


def test_its_importance_is_the_centred_term_less_the_reference(trained):
    term = replace(trained.static, centre=np.array([0.1, -0.1]))
    found = term.importance(np.array([[0.5, -0.5], [0.5, -0.5]]), np.array([0, 1]))
    np.testing.assert_allclose(found, [0.8, -0.8])
    three = replace(term, centre=np.zeros(3))
    np.testing.assert_allclose(three.importance(np.array([[3.0, 1.0, -1.0]]), np.array([0])), [3.0])
    value = replace(term, centre=np.array([0.5]))
    np.testing.assert_allclose(value.importance(np.array([[2.0], [2.0]]), np.array([1, -1])), [1.5, -1.5])


def test_the_attribution_is_complete_with_the_static_term_and_not_without_it(coupled, trained):
    both = outspoken(trained)
    found = both.attribute(coupled, TEST, coupled.labels(TEST))
    assert completeness(found).passed
    assert not completeness(replace(found, static=None)).passed
    logits = both.predict(coupled, TEST)
    own = logits[np.arange(len(TEST)), coupled.labels(TEST)]
    np.testing.assert_allclose(found.logit, 2 * own - logits.sum(axis=1), atol=1e-5)
    # Coupling decides these classes, and the term says so of nearly every participant.
    assert (found.static > 0).mean() > 0.85


def test_a_continuous_target_is_predicted_in_its_own_units(valued):
    model = estimator()
    model.fit(valued, TRAIN, seed=0)
    values, truth = model.predict(valued, TEST)[:, 0], valued.labels(TEST)
    assert model.static.weight > 0.3
    assert np.corrcoef(values, truth)[0, 1] > 0.6
    assert np.abs(values - truth).mean() < np.abs(truth - truth.mean()).mean()
