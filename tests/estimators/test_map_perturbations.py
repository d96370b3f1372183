"""Decisions with only some regions left, and maps of models with random weights."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.map_perturbations import decisions_without, random_shares, with_random_weights

KEPT = np.array([[True, True, True], [False, True, True], [False, False, False]])


@pytest.fixture
def cohort(tmp_path):
    runs = pd.DataFrame({"run": list("wxyz"), "participant_id": list("wxyz"), "label": ["a", "b"] * 2})
    series = np.random.default_rng(0).normal(size=(4, 40, 3))
    return Cohort.create(tmp_path / "cohort", runs, series, ["A", "B", "C"], ["net"] * 3, "class")


class LastVolume:
    """Its logits are sums of the last volume: all is known by hand."""

    facts, static = None, None

    def predict(self, cohort, rows):
        last = np.stack([cohort.standardised(int(row))[-1] for row in rows]).astype(np.float64)
        return np.column_stack([last.sum(axis=1), np.zeros(len(rows))])


def test_a_decision_is_made_from_the_regions_that_are_kept(cohort):
    rows, target = np.array([2, 0]), np.array([0, 1])
    found = decisions_without(LastVolume(), cohort, rows, target, KEPT)
    last = np.stack([cohort.standardised(int(row))[-1] for row in rows]).astype(np.float64)
    sign = np.array([1, -1])
    np.testing.assert_allclose(found, [sign * (last * kept).sum(axis=1) for kept in KEPT], rtol=1e-6)
    assert not found[2].any()


def test_the_static_term_is_left_out_and_stays_with_its_estimator(cohort):
    class Joined(LastVolume):
        static = "a term"

        def predict(self, cohort, rows):
            return super().predict(cohort, rows) + (0 if self.static is None else 100)

    model = Joined()
    found = decisions_without(model, cohort, np.array([0]), np.array([0]), KEPT[2:])
    assert found.tolist() == [[0.0]]
    assert model.static == "a term"


def test_a_value_is_counted_from_the_training_mean_in_the_direction_of_the_target(cohort):
    model = SimpleNamespace(
        facts=SimpleNamespace(target_mean=30.0), predict=lambda cohort, rows: np.full((len(rows), 1), 42.0)
    )
    found = decisions_without(model, cohort, np.array([0, 1]), np.array([1, -1]), KEPT[:1])
    assert found.tolist() == [[12.0, -12.0]]


def test_random_weights_keep_what_scales_the_input_and_leave_the_global_generator_alone(checkpoint_file):
    trained = load_trained(checkpoint_file, Execution(device="cpu"))
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    generator = torch.get_rng_state()
    first, again, other = (with_random_weights(trained, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), generator)
    buffers = dict(trained.model.named_buffers())
    states = [each.model.state_dict() for each in (first, again, other)]
    assert buffers
    for name, tensor in before.items():
        assert torch.equal(trained.model.state_dict()[name], tensor)
        assert torch.equal(states[0][name], states[1][name])
        if name in buffers:
            assert torch.equal(states[0][name], tensor)
    assert not torch.equal(states[0]["head"], before["head"])
    assert not torch.equal(states[0]["head"], states[2]["head"])
    assert first.facts is trained.facts


def test_shares_of_random_models_depend_on_the_seed_alone(cohort, checkpoint_file):
    trained = load_trained(checkpoint_file, Execution(device="cpu"))
    trained.facts = type(trained.facts)(**{**vars(trained.facts), "atlas": "", "atlas_sha256": "", "denoise": ""})
    arguments = (trained, cohort, np.array([0, 1, 2]), np.array([0, 1, 0]), "gradient")
    shares = random_shares(*arguments, n_models=2, seed=5)
    n_pathways = len(trained.model.config.pathway_names)
    assert shares.shape == (2, 3, n_pathways, 3)
    np.testing.assert_allclose(shares.sum(axis=3), 1, rtol=1e-6)
    np.testing.assert_array_equal(random_shares(*arguments, n_models=1, seed=5)[0], shares[0])
    assert not np.allclose(shares[0], shares[1])
