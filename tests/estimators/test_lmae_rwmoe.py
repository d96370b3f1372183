"""The second family learns what is planted, is pretrained on training runs alone, and survives the way to disk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.networks_of_regions import (
    CPU,
    PEOPLE,
    PLANTED,
    REGIONS,
    SMALL,
    TEST,
    TRAIN,
    TRAINING,
    cohort_of_networks,
    small_estimator,
)
from sklearn.metrics import roc_auc_score

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.estimators.lmae_rwmoe import LmaeRwmoeEstimator
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.map_perturbations import decisions_without, random_shares
from bids_neurossm.pretraining.encoder_checkpoint import load_encoder, pretrain_cohort
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.checkpoint_tensors import load_checkpoint


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return cohort_of_networks(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def trained(cohort):
    estimator = small_estimator(pretrain=True)
    estimator.fit(cohort, TRAIN, seed=1)
    return estimator


@pytest.fixture(scope="module")
def encoder(cohort, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    pretrain_cohort(path, cohort, TRAIN, SMALL, 96, CPU, "a digest")
    return path


def test_held_out_participants_are_told_apart(cohort, trained):
    logits = trained.predict(cohort, TEST)
    assert logits.shape == (12, 2)
    assert roc_auc_score(cohort.labels(TEST), logits[:, 1] - logits[:, 0]) > 0.85


def test_a_number_is_predicted_too(tmp_path):
    ages = cohort_of_networks(tmp_path, "continuous")
    estimator = small_estimator()
    estimator.fit(ages, TRAIN, seed=2)
    values = estimator.predict(ages, TEST)
    assert values.shape == (12, 1)
    assert np.corrcoef(values[:, 0], ages.labels(TEST))[0, 1] > 0.6
    found = estimator.attribute(ages, TEST[:4], np.array([1, -1, 1, -1]))
    assert completeness(found).passed


def test_pretraining_is_judged_on_participants_that_it_did_not_see(trained):
    table = trained.reconstruction
    assert set(table["predictor"]) == {"lmae", "region mean", "interpolation", "AR(1)", "spatial ridge"}
    assert table.groupby(["mask", "patches"]).size().to_dict() == {
        ("local", 2): 5, ("local", 3): 5, ("random", 1): 5,
    }  # fmt: skip
    assert set(table["n"]) == {5}  # a fifth of 24
    r2 = table.set_index(["mask", "patches", "predictor"])["r2"]
    for mask in (("local", 2), ("local", 3)):
        assert r2[*mask, "lmae"] > max(r2[*mask, name] for name in ("region mean", "interpolation", "AR(1)"))
        assert r2[*mask, "lmae"] > r2[*mask, "spatial ridge"] - 0.02
    assert (table["r2_low"] <= table["r2"]).all()
    gains = table[table["predictor"] == "lmae"]["gain"]
    np.testing.assert_array_equal(gains, 0)


def test_the_encoder_sees_training_runs_only(cohort, tmp_path):
    """Another held-out series changes no weight."""
    other = [cohort.raw(i) if i in TRAIN else -cohort.raw(i)[::-1] for i in range(PEOPLE)]
    runs = cohort.runs.drop(columns=["start", "n_volumes"])
    changed = Cohort.create(tmp_path, runs, other, cohort.regions, cohort.networks, "class", cohort.extra)
    short = replace(TRAINING, epochs=1)
    weights = []
    for each in (cohort, changed):
        estimator = small_estimator(short, pretrain=True, stages={"frozen_epochs": 1})
        estimator.fit(each, TRAIN, seed=3)
        weights.append(estimator.model.state_dict())
    for name, tensor in weights[0].items():
        np.testing.assert_array_equal(tensor.numpy(), weights[1][name].numpy())


def test_importances_of_the_experts_add_up_and_the_planted_regions_are_found(cohort, trained):
    found = trained.attribute(cohort, TEST, cohort.labels(TEST))
    assert found.pathways == ("expert-1", "expert-2", "expert-3")
    assert found.share.shape == (12, 3, REGIONS)
    assert completeness(found).passed
    logits = trained.predict(cohort, TEST)
    own = cohort.labels(TEST)
    np.testing.assert_allclose(
        found.logit, logits[np.arange(12), own] - logits[np.arange(12), 1 - own], rtol=1e-4, atol=1e-5
    )


def test_integrated_scores_add_up_but_for_the_gap_that_is_told(cohort, trained):
    found = trained.attribute(cohort, TEST[:2], cohort.labels(TEST[:2]), "integrated")
    gap = np.abs(found.gap).max()
    assert np.isfinite(gap)
    assert gap < 0.2 * np.abs(found.importance).max() + 0.05


def test_taking_the_planted_regions_away_costs_the_decision(cohort, trained):
    rows, target = TEST, cohort.labels(TEST)
    kept = np.ones((3, REGIONS), dtype=bool)
    kept[1, :PLANTED] = False
    kept[2, -PLANTED:] = False
    whole, without_planted, without_others = decisions_without(trained, cohort, rows, target, kept).mean(axis=1)
    assert whole > 0
    assert without_planted < without_others


def test_random_weights_of_the_same_shape_can_be_asked(cohort, trained):
    shares = random_shares(trained, cohort, TEST[:2], cohort.labels(TEST[:2]), "gradient", 2, seed=0)
    assert shares.shape == (2, 2, 3, REGIONS)
    assert not np.allclose(shares[0], shares[1])


def test_routing_says_which_experts_a_run_was_given(cohort, trained):
    of_regions, of_time = trained.routing(cohort, TEST)
    assert of_regions.shape == (12, REGIONS, 3)
    np.testing.assert_allclose(of_regions.sum(axis=2), 1, rtol=1e-5)
    windows = 2  # 96 of 120 time points, so two windows of 24 patches cover a run
    assert of_time.shape == (12, 24 * windows, 3)
    np.testing.assert_allclose(of_time.sum(axis=2), 1, rtol=1e-5)


def test_a_checkpoint_predicts_the_same_and_names_its_pretraining(cohort, trained, tmp_path):
    path = tmp_path / "fold-1_seed-1.safetensors"
    trained.save(path)
    loaded = load_trained(path, CPU)
    assert isinstance(loaded, LmaeRwmoeEstimator)
    np.testing.assert_array_equal(loaded.predict(cohort, TEST), trained.predict(cohort, TEST))
    assert loaded.facts.family == "lmae-rwmoe"
    assert loaded.facts.encoder["runs"] == 19
    table = pd.read_csv(tmp_path / "fold-1_seed-1_reconstruction.tsv", sep="\t")
    assert len(table) == 15


@pytest.fixture(scope="module")
def joined(cohort):
    estimator = small_estimator(name="lmae-rwmoe-static", pretrain=True)
    estimator.fit(cohort, TRAIN, seed=1)
    return estimator


def test_joined_with_a_static_term_it_is_trained_as_if_alone_and_then_weighed(cohort, trained, joined):
    weights = joined.facts.metrics
    assert weights["static_weight"] > 0
    assert weights["dynamic_weight"] > 0
    alone = trained.model.state_dict()
    for name, tensor in joined.model.state_dict().items():
        factor = weights["dynamic_weight"] if name in ("head", "bias") else 1
        np.testing.assert_allclose(tensor.numpy(), factor * alone[name].numpy(), rtol=1e-6)
    own = weights["dynamic_weight"] * trained.predict(cohort, TEST)
    both = joined.predict(cohort, TEST)
    np.testing.assert_allclose(both, own + joined.static.term(cohort, TEST), rtol=1e-5, atol=1e-6)


def test_joined_with_a_static_term_its_decisions_are_explained_as_a_whole(cohort, joined):
    found = joined.attribute(cohort, TEST, cohort.labels(TEST))
    assert found.pathways == ("expert-1", "expert-2", "expert-3")
    assert np.abs(found.static).max() > 0
    assert completeness(found).passed


def test_the_checkpoint_of_a_joined_model_brings_both_back(cohort, joined, tmp_path):
    path = tmp_path / "fold-1_seed-1.safetensors"
    joined.save(path)
    loaded = load_trained(path, CPU)
    assert loaded.name == "lmae-rwmoe-static"
    np.testing.assert_array_equal(loaded.predict(cohort, TEST), joined.predict(cohort, TEST))
    assert loaded.facts.encoder["runs"] == 19


def test_a_joined_training_that_was_killed_goes_on_with_the_part_that_it_was_in(cohort, tmp_path):
    class KilledError(Exception):
        pass

    def fitted(state, stop_at):
        seen = []

        def told(epoch):
            seen.append((epoch.number, epoch.of))
            if len(seen) == stop_at:
                raise KilledError

        estimator = small_estimator(
            replace(TRAINING, epochs=3), name="lmae-rwmoe-static", stages={"frozen_epochs": 1}, pretrain=True
        )
        estimator.follow(Callbacks(told), state)
        try:
            estimator.fit(cohort, TRAIN, seed=5)
        except KilledError:
            return None, seen
        return estimator.model.state_dict(), seen

    straight, seen = fitted(tmp_path / "a.state", None)
    # Pretraining; three parts and the whole, the first epoch of each with the encoder held fixed.
    assert seen == [(number, 3) for number in (1, 2, 3)] + [(number, 12) for number in range(1, 13)]
    stopped, first = fitted(tmp_path / "b.state", 8)
    assert stopped is None
    resumed, rest = fitted(tmp_path / "b.state", None)
    assert first + rest == seen
    for name, tensor in straight.items():
        np.testing.assert_array_equal(tensor.numpy(), resumed[name].numpy())
    # They are kept until their owner has made use of the model.
    kinds = ["", ".part-1", ".part-2", ".part-3", ".pretraining"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{name}.state{kind}" for name in "ab" for kind in kinds
    ]


def test_an_encoder_is_fine_tuned_on_other_runs(cohort, encoder):
    estimator = small_estimator(replace(TRAINING, epochs=2), encoder=str(encoder), stages={"frozen_epochs": 2})
    estimator.fit(cohort, TRAIN[:12], seed=4)
    facts = load_checkpoint(encoder)[1]
    assert estimator.facts.encoder["training_hash"] == facts.training_hash
    # Both stages were frozen ones: the encoder is the one that came.
    state, _ = load_encoder(encoder, Settings.of(SMALL).encoder_config(REGIONS), cohort, TRAIN)
    for name, tensor in estimator.model.encoder.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())
    second = small_estimator(replace(TRAINING, epochs=3), encoder=str(encoder), stages={"frozen_epochs": 2})
    second.fit(cohort, TRAIN[:12], seed=4)
    changed = second.model.encoder.state_dict()["embedding.weight"]
    assert not np.array_equal(changed.numpy(), state["embedding.weight"].numpy())


def test_a_pretraining_that_was_killed_goes_on_exactly(cohort, tmp_path):
    class KilledError(Exception):
        pass

    def fitted(state, stop_at):
        seen = []

        def told(epoch):
            seen.append(epoch.number)
            if len(seen) == stop_at:
                raise KilledError

        estimator = small_estimator(replace(TRAINING, epochs=3), pretrain=True, stages={"frozen_epochs": 1})
        estimator.follow(Callbacks(told), state)
        try:
            estimator.fit(cohort, TRAIN[:12], seed=5)
        except KilledError:
            return None, seen
        return estimator.model.state_dict(), seen

    straight, seen = fitted(tmp_path / "a.state", None)
    assert seen == [1, 2, 3, 1, 2, 3]  # pretraining; frozen encoder, then everything
    for stop_at in (2, 4, 5):
        state = tmp_path / f"{stop_at}.state"
        assert fitted(state, stop_at)[0] is None
        resumed, rest = fitted(state, None)
        assert len(rest) == len(seen) - stop_at
        for name, tensor in straight.items():
            np.testing.assert_array_equal(tensor.numpy(), resumed[name].numpy())


def test_a_state_that_another_pretraining_led_to_is_not_taken(cohort, tmp_path):
    def fitted(state, **pretraining):
        settings = {"pretraining": {**SMALL["pretraining"], **pretraining}, "stages": {"frozen_epochs": 1}}
        estimator = small_estimator(replace(TRAINING, epochs=2), pretrain=True, **settings)
        estimator.follow(Callbacks(), state)
        estimator.fit(cohort, TRAIN[:12], seed=5)
        return estimator.model.state_dict()["head"].numpy()

    first, fresh = fitted(tmp_path / "a.state"), fitted(tmp_path / "b.state", epochs=1)
    assert not np.array_equal(first, fresh)
    np.testing.assert_array_equal(fitted(tmp_path / "a.state", epochs=1), fresh)


def test_a_patch_longer_than_the_run_is_refused(cohort):
    with pytest.raises(RunError, match=r"sub-00: a patch of 150 time points is longer than .* 120 time points"):
        small_estimator(patch=150).fit(cohort, TRAIN, seed=0)
    with pytest.raises(RunError, match=r"sub-00: 120 time points are left; 8 x the largest scale, 160"):
        small_estimator(patch=20).fit(cohort, TRAIN, seed=0)


def test_several_devices_are_refused(cohort):
    with pytest.raises(UsageError, match="one device"):
        small_estimator(execution=Execution(device="cpu", devices=2)).fit(cohort, TRAIN, seed=0)
