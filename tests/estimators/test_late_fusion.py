"""How NeuroSSM and its static term are joined: what each counts is learned from runs that it had not seen."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.estimators import late_fusion
from bids_neurossm.estimators.late_fusion import ENOUGH_GROUPS, fit_joined, join_weights, parts_of
from bids_neurossm.estimators.shrinkage import shrinkage, spread
from bids_neurossm.estimators.static_term import fit_static
from bids_neurossm.training.data import RunSet, TrainingSet


def two_views(n=600, loud=1.0):
    """Return logits of two models that see a truth with noise of their own, and the classes."""
    random = np.random.default_rng(0)
    truth = random.normal(size=n)
    goal = (random.random(n) < 1 / (1 + np.exp(-2 * truth))).astype(np.int64)
    first, second = (truth + random.normal(size=n) for _ in range(2))
    return (np.stack([-x / 2, x / 2], axis=1) for x in (first, loud * second)), goal


def test_both_terms_are_brought_to_the_same_spread():
    (static, dynamic), goal = two_views(loud=10)
    weights = join_weights(static, dynamic, goal, np.ones(len(goal)))
    parts = [weight * spread(each, np.ones(len(goal))) for weight, each in zip(weights, (static, dynamic), strict=True)]
    assert parts[0] == pytest.approx(parts[1])
    assert weights[0] > 5 * weights[1] > 0


def test_their_sum_is_as_loud_as_it_is_true():
    (static, dynamic), goal = two_views(loud=10)
    weights = join_weights(static, dynamic, goal, np.ones(len(goal)))
    both = weights[0] * static + weights[1] * dynamic
    assert shrinkage(both, goal, np.ones(len(goal))) == pytest.approx(1, abs=0.01)
    for single in (static, dynamic):
        assert np.mean(both.argmax(axis=1) == goal) > np.mean(single.argmax(axis=1) == goal)


def test_a_term_that_tells_nothing_counts_nothing():
    (static, dynamic), goal = two_views()
    counts, noise = np.ones(len(goal)), np.random.default_rng(1).normal(size=static.shape)
    assert join_weights(static, noise, goal, counts) == (shrinkage(static, goal, counts), 0)
    assert join_weights(noise, dynamic, goal, counts) == (0, shrinkage(dynamic, goal, counts))
    assert join_weights(static, -dynamic, goal, counts)[1] == 0


def test_a_weak_term_that_would_only_blur_a_strong_one_counts_nothing():
    random = np.random.default_rng(0)
    truth = random.normal(size=600)
    strong, weak = truth + 0.5 * random.normal(size=600), truth + 6 * random.normal(size=600)
    assert join_weights(strong[:, None], weak[:, None], truth, np.ones(600))[1] == 0
    assert join_weights(weak[:, None], strong[:, None], truth, np.ones(600))[0] == 0
    # On its own the weak one would be believed.
    assert shrinkage(weak[:, None], truth, np.ones(600)) > 0


def test_values_are_joined_as_logits_are():
    random = np.random.default_rng(0)
    truth = random.normal(size=300)
    static, dynamic = (scale * (truth + random.normal(size=300))[:, None] for scale in (1.0, 0.1))
    weights = join_weights(static, dynamic, truth, np.ones(300))
    # Half the sum of two views with noise of variance 1 is best believed by 2 / 3.
    np.testing.assert_allclose(weights, [1 / 3, 10 / 3], rtol=0.15)


def dealt(n_groups, runs_of_each=1, labels=None):
    groups = [f"s{number:04d}" for number in range(n_groups) for _ in range(runs_of_each)]
    goal = np.arange(n_groups) % 2 if labels is None else np.asarray(labels)
    return TrainingSet(RunSet.in_memory([], groups, [()] * len(groups)), np.repeat(goal, runs_of_each), groups)


def test_nobody_is_on_both_sides_of_a_part():
    data = dealt(30, runs_of_each=2)
    groups = np.array(data.groups)
    parts = parts_of(data, 2)
    assert len(parts) == late_fusion.PARTS
    for learn, aside in parts:
        assert not set(groups[learn]) & set(groups[aside])
        assert set(data.targets[learn]) == set(data.targets[aside]) == {0, 1}
    np.testing.assert_array_equal(np.sort(np.concatenate([aside for _, aside in parts])), np.arange(60))


def test_no_further_part_is_taken_when_enough_participants_are_known():
    assert len(parts_of(dealt(2 * ENOUGH_GROUPS), 2)) == 2
    assert len(parts_of(dealt(4 * ENOUGH_GROUPS), 2)) == 1


def test_a_class_with_a_single_participant_leaves_no_parts():
    assert parts_of(dealt(9, 2, [0] * 8 + [1]), 2) == []


@pytest.fixture(scope="module")
def coupled(tmp_path_factory):
    """Regions 0 and 1 are coupled in one class, more or less."""
    random = np.random.default_rng(0)
    series = [random.normal(size=(40, 4)) for _ in range(48)]
    for number, x in enumerate(series):
        x[:, 1] += (number % 2) * x[:, 0]
    names = [f"s{number:02d}" for number in range(48)]
    runs = pd.DataFrame({"participant_id": names, "run": names, "label": ["a", "b"] * 24})
    return Cohort.create(tmp_path_factory.mktemp("coupled"), runs, series, list("wxyz"), [""] * 4, "class")


@pytest.fixture
def joined(coupled, monkeypatch):
    """Return a function that joins the static term with a model whose outputs are given."""
    indices = np.arange(len(coupled.runs))
    names = coupled.runs["participant_id"].tolist()
    data = TrainingSet(RunSet.in_memory([], names, [()] * len(names)), coupled.labels(indices), names)

    def join(outputs, labels=None):
        goal = coupled if labels is None else relabelled(coupled, labels)
        learnt = []

        def train(part, number):
            learnt.append(set(part.inputs.names))
            return outputs

        def predict(model, inputs, window):
            # A model is never asked for those that it learnt from.
            assert not learnt[-1] & set(inputs.names)
            return model[[names.index(name) for name in inputs.names]]

        monkeypatch.setattr(late_fusion, "predict_logits", predict)
        some = TrainingSet(data.inputs, goal.labels(indices), names)
        found = fit_joined(goal, indices, some, True, (0.0, 1.0), None, parts_of(some, 2), train)
        return found, len(learnt)

    return join


def relabelled(cohort, labels):
    return replace(cohort, runs=cohort.runs.assign(label=labels))


def test_a_dynamic_term_that_tells_the_class_counts_and_noise_does_not(coupled, joined):
    random = np.random.default_rng(0)
    lean = (2.0 * (np.arange(48) % 2) - 1 + random.normal(size=48))[:, None] * [[-1.0, 1.0]]
    found, trainings = joined(lean)
    assert trainings == late_fusion.PARTS
    assert found.dynamic_weight > 0
    assert found.static.weight > 0
    silent, _ = joined(random.normal(size=(48, 2)))
    assert silent.dynamic_weight == 0
    # What is left of the decision is the static term, as if there were no other.
    alone = fit_static(coupled, np.arange(48), True)[0].weight
    assert silent.static.weight == pytest.approx(alone, rel=1e-3)


def test_where_connectivity_tells_nothing_no_part_is_trained(joined):
    found, trainings = joined(np.zeros((48, 2)), ["a", "a", "b", "b"] * 12)
    assert (found.static.weight, found.dynamic_weight, trainings) == (0, 1, 0)
