"""The static term: what connectivity alone says is added to what NeuroSSM says, and the sum of the two decides."""

from copy import copy, deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.baselines.features import MultiscaleTangentFeatures
from bids_neurossm.baselines.linear_solver import fit_linear
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.estimators.static_term import StaticTerm, fit_static
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.inference import predict_logits

REGIONS, EPOCHS = 6, 4
TRAIN, TEST = np.arange(40), np.arange(40, 60)


def made(folder, coupled, target="class", n=60):
    """Regions 0 and 1 are coupled in one class (or as much as the target says), or in nobody; so it is with slowness.

    Region 2 is smoothed where they are coupled, which connectivity does not see.
    """
    random = np.random.default_rng(0)
    value = np.arange(n) % 2 if target == "class" else random.random(n)
    series = []
    for number in range(n):
        x = random.normal(size=(64, REGIONS))
        share = 0.8 * value[number] if coupled else 0.0
        x[:, 1] = share * x[:, 0] + np.sqrt(1 - share**2) * x[:, 1]
        x[1:, 2] += share * x[:-1, 2]
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


def estimator(name="neurossm-static", devices=1, epochs=EPOCHS):
    settings = {"width": 8, "state": 2, "scales": (1, 2), "dropout": 0.2, "region_dropout": 0.0}
    training = Training(epochs=epochs, batch_size=8, learning_rate=0.02)
    return create_estimator(
        name, ModelSpec(name, settings=settings), training, Execution(device="cpu", devices=devices)
    )


@pytest.fixture(scope="module")
def trained(coupled):
    model = estimator()
    model.fit(coupled, TRAIN, seed=0)
    return model


def test_the_term_tells_what_is_there_without_having_seen_the_label(coupled):
    term, unseen = fit_static(coupled, TRAIN, class_weights=True)
    labels = coupled.labels(TRAIN)
    assert (unseen.argmax(axis=1) == labels).mean() > 0.85
    assert term.weight > 0.3
    assert (term.term(coupled, TEST).argmax(axis=1) == coupled.labels(TEST)).mean() > 0.85
    by_class = [term.weight * unseen[labels == label].mean(axis=0) for label in (0, 1)]
    np.testing.assert_allclose(term.centre, np.mean(by_class, axis=0))


def test_half_the_weight_is_half_the_term_and_half_its_centre(coupled):
    term, unseen = fit_static(coupled, TRAIN, class_weights=True)
    half = term.weighing(term.weight / 2, unseen, coupled.labels(TRAIN))
    np.testing.assert_allclose(half.term(coupled, TEST), term.term(coupled, TEST) / 2)
    np.testing.assert_allclose(half.centre, term.centre / 2)


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


def test_neurossm_is_trained_as_if_it_were_alone_and_then_weighed(coupled, trained):
    alone = estimator("neurossm")
    alone.fit(coupled, TRAIN, seed=0)
    weight = trained.facts.metrics["dynamic_weight"]
    assert weight > 0
    for name, tensor in alone.model.state_dict().items():
        factor = weight if name in ("head", "bias") else 1
        torch.testing.assert_close(trained.model.state_dict()[name], factor * tensor)


def test_the_checkpoint_brings_the_term_back(coupled, trained, tmp_path):
    path = tmp_path / "model.safetensors"
    trained.save(path)
    assert trained.facts.metrics["static_weight"] == trained.static.weight > 0
    back = load_trained(path, Execution(device="cpu"))
    assert back.name == "neurossm-static"
    np.testing.assert_array_equal(back.predict(coupled, TEST), trained.predict(coupled, TEST))
    np.testing.assert_array_equal(back.static.centre, trained.static.centre)


def test_a_checkpoint_of_three_scales_is_still_read(coupled, tmp_path):
    # Until version 0.1.0 was released the term looked at slower scales too.
    features = MultiscaleTangentFeatures()
    model = fit_linear(features.fit(coupled, TRAIN), coupled.labels(TRAIN), coupled.runs.iloc[TRAIN], 2, 0)
    term = StaticTerm(features, model, 0.7, np.zeros(2))
    back = StaticTerm.restored(term.tensors(), term.facts(), 0.0, 1.0)
    np.testing.assert_array_equal(back.term(coupled, TEST), term.term(coupled, TEST))


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


class KilledError(Exception):
    """Stands for a signal."""


def test_a_training_that_was_killed_goes_on_with_the_part_that_it_was_in(coupled, trained, tmp_path):
    told = []

    def until(last):
        def epoch(each):
            told.append((each.number, each.of))
            if each.number == last:
                raise KilledError

        return Callbacks(epoch=epoch)

    state = tmp_path / ".state"
    for last in (EPOCHS + 1, 2 * EPOCHS + 1, 0):
        one = estimator()
        one.follow(until(last), state)
        if last:
            with pytest.raises(KilledError):
                one.fit(coupled, TRAIN, seed=0)
        else:
            one.fit(coupled, TRAIN, seed=0)
    # Three parts and the whole; no epoch is gone through twice.
    assert told == [(number, 4 * EPOCHS) for number in range(1, 4 * EPOCHS + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".state", *(f".state.part-{n}" for n in (1, 2, 3))]
    np.testing.assert_array_equal(one.predict(coupled, TEST), trained.predict(coupled, TEST))


def test_two_processes_weigh_both_terms_as_one_does(coupled, trained):
    told = []
    two = estimator(devices=2, epochs=1)
    two.follow(Callbacks(epoch=lambda each: told.append((each.number, each.of))))
    two.fit(coupled, TRAIN, seed=0)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    np.testing.assert_allclose(two.static.model.coefficients, trained.static.model.coefficients)
    assert two.facts.metrics["static_weight"] == two.static.weight > 0
    assert completeness(two.attribute(coupled, TEST, coupled.labels(TEST))).passed


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
