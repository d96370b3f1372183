"""Early stopping looks at training runs that are set aside by group, and keeps the weights that did best on them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bids_neurossm import NeuroSSMClassifier
from bids_neurossm.config import Training
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, TrainingSet
from bids_neurossm.training.early_stopping import EarlyStopping, inner_split
from bids_neurossm.training.fit import fit, validation_loss

NOISE = Training(epochs=12, batch_size=8, learning_rate=0.02, early_stopping=2, validation_fraction=0.25)


def _data(n=24, seed=0):
    """Noise in which nothing can be learnt; two runs of each participant."""
    generator = np.random.default_rng(seed)
    runs = [generator.normal(size=(40, 5)).astype(np.float32) for _ in range(n)]
    names = [f"run-{number}" for number in range(n)]
    return TrainingSet(RunSet.in_memory(runs, names), np.arange(n) // 2 % 2, groups=[f"sub-{i // 2}" for i in range(n)])


def _model():
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=5, n_outputs=2, width=8, state=2, dropout=0.0, region_dropout=0.0))


def test_groups_stay_together_and_classes_are_on_both_sides():
    data = _data(40)
    learn, aside = inner_split(data, 2, 0.2, seed=3)
    assert sorted([*learn, *aside]) == list(range(40))
    assert not {data.groups[i] for i in learn} & {data.groups[i] for i in aside}
    assert np.bincount(data.targets[aside]).tolist() == [4, 4]
    again, other = inner_split(data, 2, 0.2, seed=3)[1], inner_split(data, 2, 0.2, seed=4)[1]
    assert aside.tolist() == again.tolist() != other.tolist()


def test_sites_are_balanced_besides_the_classes():
    data = replace(_data(80), groups=None, sites=[f"site-{i % 2}" for i in range(80)])
    _, aside = inner_split(data, 2, 0.25, seed=0)
    pairs = {(int(data.targets[i]), data.sites[i]) for i in aside}
    assert len(aside) == 20
    assert len(pairs) == 4


def test_a_continuous_target_is_set_aside_over_its_whole_range():
    values = np.random.default_rng(0).normal(size=60)
    data = TrainingSet(RunSet.in_memory([], [str(i) for i in range(60)], [()] * 60), values)
    _, aside = inner_split(data, 1, 0.2, seed=0)
    assert len(aside) == 12
    assert np.histogram(values[aside], np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))[0].min() >= 1


def test_a_class_of_few_groups_makes_the_part_larger_and_one_of_a_single_group_is_refused():
    data = replace(_data(24), targets=np.array([0] * 20 + [1] * 4))
    learn, aside = inner_split(data, 2, 0.1, seed=0)
    assert set(data.targets[learn]) == set(data.targets[aside]) == {0, 1}
    with pytest.raises(LabelError, match="a single group"):
        inner_split(replace(data, targets=np.array([0] * 22 + [1] * 2)), 2, 0.1, seed=0)


def test_the_best_weights_are_kept_and_patience_ends_it():
    stopping, model = EarlyStopping(patience=2), torch.nn.Linear(1, 1, bias=False)
    for epoch, loss in enumerate([1.0, 0.5, 0.7, float("nan")], start=1):
        assert not stopping.over
        torch.nn.init.constant_(model.weight, epoch)
        stopping.see(epoch, loss, model)
    assert stopping.over
    assert (stopping.best_epoch, stopping.best_loss) == (2, 0.5)
    assert stopping.weights["weight"].item() == 2


def test_training_on_noise_is_ended_with_the_weights_of_the_best_epoch():
    data, told, model = _data(), [], _model()
    history = fit(model, data, NOISE, 32, seed=1, follow=Callbacks(epoch=told.append))
    losses = history.validation_loss
    assert len(losses) < NOISE.epochs
    assert history.best_epoch == 1 + int(np.argmin(losses)) == len(losses) - 2
    learn, aside = inner_split(data, 2, 0.25, seed=1)
    found = validation_loss(model, data.some(aside), data.targets[learn], NOISE, 32)
    assert found == pytest.approx(losses[history.best_epoch - 1], abs=1e-6)
    assert [epoch.validation_loss for epoch in told] == losses
    assert history.metrics() == {
        "training_loss": history.loss[history.best_epoch - 1],
        "epochs": len(losses),
        "best_epoch": history.best_epoch,
        "validation_loss": min(losses),
    }


def test_a_checkpoint_tells_the_best_epoch(tmp_path):
    data = _data()
    settings = {"epochs": 2, "early_stopping": 1, "window": 32}
    classifier = NeuroSSMClassifier(recipe="demo", training_settings=settings, device="cpu")
    classifier.fit([data.inputs.series(number) for number in range(len(data))], data.targets, groups=data.groups)
    classifier.save(tmp_path / "model.safetensors")
    text = (tmp_path / "model.toml").read_text()
    assert f"best_epoch = {classifier.metrics_['best_epoch']:.0f}" in text
    assert "validation_loss = " in text


@pytest.mark.parametrize(
    ("settings", "words"), [({"early_stopping": 0}, "early_stopping"), ({"validation_fraction": 0.7}, r"\(0, 0\.5\]")]
)
def test_senseless_settings_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Training(**settings)
