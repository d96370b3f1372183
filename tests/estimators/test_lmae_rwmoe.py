"""The second family learns what is planted, is pretrained on training runs alone, and survives the way to disk."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, LabelError, RunError, UsageError
from bids_neurossm.estimators.lmae_rwmoe import LmaeRwmoeEstimator
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.map_perturbations import decisions_without, random_shares
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.pretraining.encoder_checkpoint import is_made_from, load_encoder, pretrain_cohort
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.checkpoint import load_checkpoint
from bids_neurossm.training.progress import Callbacks
from bids_neurossm.training.recipes import load_recipe

REGIONS, PEOPLE, LENGTH = 16, 36, 120
PLANTED = 4
TRAIN, TEST = np.arange(24), np.arange(24, 36)
SMALL = {
    "width": 8, "state": 2, "nodes": 6, "depth": 1, "heads": 2, "layers": 1, "experts": 3,
    "region_dropout": 0.0, "predictor_dropout": 0.1, "dropout": 0.0,
    "pretraining": {"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "homologues": 1, "held_out": 0.2},
    "stages": {"frozen_epochs": 4, "rate": 0.5},
}  # fmt: skip
TRAINING = Training(epochs=16, batch_size=8, learning_rate=0.02, weight_decay=0.01, window=96)
CPU = Execution(device="cpu")


def _series(coupled, generator):
    """Four networks of four regions; the first one holds together in one class only."""
    networks = generator.normal(size=(LENGTH + 4, REGIONS // 4))
    # What is shared is smooth over time, as a haemodynamic response makes it.
    networks = np.stack([np.convolve(each, np.ones(5) / 5**0.5, "valid") for each in networks.T], axis=1)
    shared = np.repeat(networks, 4, axis=1)
    noise = generator.normal(size=(LENGTH, REGIONS))
    weight = np.full(REGIONS, 1.2)
    weight[:PLANTED] = 1.8 if coupled else 0.0
    return 1000 + 10 * (noise + weight * shared)


def _cohort(folder, target_type="class", **columns):
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"participant_id": [f"{i:02d}" for i in range(PEOPLE)], "repetition_time": 2.0})
    table["run"] = "sub-" + table["participant_id"]
    coupled = np.arange(PEOPLE) % 2 == 1
    table["label"] = np.where(coupled, "old", "young") if target_type == "class" else 20.0 + 40.0 * coupled
    for name, value in columns.items():
        table[name] = value
    series = [_series(each, generator) for each in coupled]
    names = [f"region-{r}" for r in range(REGIONS)]
    extra = {"atlas": "simulated", "target": "age", "denoise": "none"}
    return Cohort.create(folder, table, series, names, ["-"] * REGIONS, target_type, extra)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return _cohort(tmp_path_factory.mktemp("cohort"))


def _estimator(training=TRAINING, execution=CPU, name="lmae-rwmoe", **settings):
    spec = ModelSpec(name, "", {**SMALL, **settings})
    return create_estimator(name, spec, training, execution)


@pytest.fixture(scope="module")
def trained(cohort):
    estimator = _estimator(pretrain=True)
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
    ages = _cohort(tmp_path, "continuous")
    estimator = _estimator()
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
        estimator = _estimator(short, pretrain=True, stages={"frozen_epochs": 1})
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
    estimator = _estimator(name="lmae-rwmoe-static", pretrain=True)
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

        estimator = _estimator(
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
    estimator = _estimator(replace(TRAINING, epochs=2), encoder=str(encoder), stages={"frozen_epochs": 2})
    estimator.fit(cohort, TRAIN[:12], seed=4)
    facts = load_checkpoint(encoder)[1]
    assert estimator.facts.encoder["training_hash"] == facts.training_hash
    # Both stages were frozen ones: the encoder is the one that came.
    state, _ = load_encoder(encoder, Settings.of(SMALL).encoder_config(REGIONS), cohort, TRAIN)
    for name, tensor in estimator.model.encoder.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), state[name].numpy())
    second = _estimator(replace(TRAINING, epochs=3), encoder=str(encoder), stages={"frozen_epochs": 2})
    second.fit(cohort, TRAIN[:12], seed=4)
    changed = second.model.encoder.state_dict()["embedding.weight"]
    assert not np.array_equal(changed.numpy(), state["embedding.weight"].numpy())


def test_an_encoder_that_does_not_fit_is_refused(cohort, encoder, trained, tmp_path):
    config = Settings.of(SMALL).encoder_config(REGIONS)
    with pytest.raises(
        CheckpointError, match=r"a patch of the encoder lasts 4 time points, of the recipe 6 time points"
    ):
        load_encoder(encoder, replace(config, patch=6), cohort, TRAIN)
    with pytest.raises(CheckpointError, match="has width = 8, the recipe 12"):
        load_encoder(encoder, replace(config, width=12), cohort, TRAIN)
    other = replace(cohort, extra={**cohort.extra, "atlas": "another"})
    with pytest.raises(CheckpointError, match="atlas of the checkpoint is simulated, that of the data is another"):
        load_encoder(encoder, config, other, TRAIN)
    fewer = replace(cohort, regions=cohort.regions[:-1])
    with pytest.raises(CheckpointError, match="16 regions, the data 15"):
        load_encoder(encoder, config, fewer, TRAIN)
    slower = replace(cohort, runs=cohort.runs.assign(repetition_time=3.0))
    with pytest.raises(CheckpointError, match=r"repetition time of 2\.0 s"):
        load_encoder(encoder, config, slower, TRAIN)
    model = tmp_path / "model.safetensors"
    trained.save(model)
    with pytest.raises(CheckpointError, match=r"a pretrained encoder .* is expected"):
        load_encoder(model, config, cohort, TRAIN)
    damaged = tmp_path / "encoder.safetensors"
    damaged.write_bytes(encoder.read_bytes()[:-4])
    damaged.with_suffix(".toml").write_bytes(encoder.with_suffix(".toml").read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_encoder(damaged, config, cohort, TRAIN)
    assert is_made_from(encoder, "a digest")
    assert not is_made_from(encoder, "another")
    assert not is_made_from(damaged, "a digest")


def test_an_encoder_alone_predicts_nothing(encoder):
    with pytest.raises(CheckpointError, match="family lmae"):
        load_trained(encoder)


def test_a_pretraining_that_was_killed_goes_on_exactly(cohort, tmp_path):
    class KilledError(Exception):
        pass

    def fitted(state, stop_at):
        seen = []

        def told(epoch):
            seen.append(epoch.number)
            if len(seen) == stop_at:
                raise KilledError

        estimator = _estimator(replace(TRAINING, epochs=3), pretrain=True, stages={"frozen_epochs": 1})
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
        estimator = _estimator(replace(TRAINING, epochs=2), pretrain=True, **settings)
        estimator.follow(Callbacks(), state)
        estimator.fit(cohort, TRAIN[:12], seed=5)
        return estimator.model.state_dict()["head"].numpy()

    first, fresh = fitted(tmp_path / "a.state"), fitted(tmp_path / "b.state", epochs=1)
    assert not np.array_equal(first, fresh)
    np.testing.assert_array_equal(fitted(tmp_path / "a.state", epochs=1), fresh)


@pytest.mark.parametrize("recipe", ["camcan-age", "camcan-fluid"])
def test_the_shipped_recipes_are_read(recipe):
    settings, training = load_recipe(recipe)
    found = Settings.of(settings)
    config = found.config(400, 1)
    assert config.in_seconds
    assert config.patch_length == 8.0
    assert tuple(blocks * config.patch_length for blocks in found.pretraining.blocks) == (16.0, 24.0)
    assert found.stages.frozen_epochs < training.epochs


def test_a_patch_longer_than_the_run_is_refused(cohort):
    with pytest.raises(RunError, match=r"sub-00: a patch of 150 time points is longer than .* 120 time points"):
        _estimator(patch=150).fit(cohort, TRAIN, seed=0)
    with pytest.raises(RunError, match=r"sub-00: 120 time points are left; 8 x the largest scale, 160"):
        _estimator(patch=20).fit(cohort, TRAIN, seed=0)


def test_settings_that_contradict_each_other_are_refused(cohort, encoder):
    with pytest.raises(UsageError, match="give one"):
        Settings.of({**SMALL, "pretrain": True, "encoder": str(encoder)})
    with pytest.raises(UsageError, match=r"\[model.pretraining\]: unknown setting 'epoch'"):
        Settings.of({"pretraining": {"epoch": 3}})
    with pytest.raises(UsageError, match="frozen_epochs"):
        Settings.of({"stages": {"frozen_epochs": -1}})
    with pytest.raises(UsageError, match="unknown setting 'scales'"):
        Settings.of({"scales": (1, 2)}).config(REGIONS, 1)
    with pytest.raises(UsageError, match="one device"):
        _estimator(execution=Execution(device="cpu", devices=2)).fit(cohort, TRAIN, seed=0)


def test_one_participant_can_not_be_pretrained_on(tmp_path):
    alone = _cohort(tmp_path, group="the same family")
    with pytest.raises(LabelError, match="two of them at least, and there is 1"):
        _estimator(pretrain=True).fit(alone, TRAIN, seed=0)
