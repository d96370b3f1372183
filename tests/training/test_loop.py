"""The loop runs epochs of equal batches, depends on the seed alone, and goes on where it was killed."""

import pytest
import torch
from torch import nn

from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.early_stopping import EarlyStopping
from bids_neurossm.training.loop import History, Loop, steps_per_epoch
from bids_neurossm.training.snapshot import Snapshot


class Counting:
    """Steps that write down what they see, and move the one weight by a random number of the epoch."""

    at_once = 4

    def __init__(self, model):
        self.model, self.seen, self.count = model, [], 0

    def step(self, numbers, generator, epoch):
        self.seen.append((epoch, numbers))
        self.count += 1
        with torch.no_grad():
            self.model.weight += torch.rand(1) + torch.rand(1, generator=generator)
        return float(epoch + 1)

    def tensors(self):
        return {"moment": torch.tensor([float(self.count)])}

    def state(self):
        return {"count": self.count}

    def restore(self, state, tensors):
        assert tensors["moment"].item() == state["count"]
        self.count = state["count"]


def loop(epochs=3, seed=5, **more):
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    steps = Counting(model)
    return Loop(model, steps, 10, 4, epochs, seed, more.pop("follow", Callbacks()), **more), model, steps


@pytest.mark.parametrize(("n_runs", "batch_size", "expected"), [(10, 4, 3), (8, 4, 2), (1, 4, 1), (9, 1, 9)])
def test_batches_hold_no_more_than_their_size(n_runs, batch_size, expected):
    assert steps_per_epoch(n_runs, batch_size) == expected


def test_every_epoch_sees_every_run_once_in_batches_that_differ_by_one_run_at_most():
    training, _, steps = loop()
    history = training.run()
    for epoch in range(3):
        batches = [numbers for each, numbers in steps.seen if each == epoch]
        assert sorted(len(numbers) for numbers in batches) == [3, 3, 4]
        assert sorted(number for numbers in batches for number in numbers) == list(range(10))
    orders = {
        tuple(number for each, numbers in steps.seen if each == epoch for number in numbers) for epoch in range(3)
    }
    assert len(orders) == 3
    assert (history.loss, history.best_epoch, history.at_once) == ([1.0, 2.0, 3.0], 3, 4)
    assert history.metrics() == {"training_loss": 3.0, "epochs": 3}


def test_the_seed_alone_decides():
    weights = []
    for seed, disturbance in ((5, 1), (5, 2), (6, 1)):
        torch.manual_seed(disturbance)
        training, model, _ = loop(seed=seed)
        training.run()
        weights.append(model.weight.item())
    assert weights[0] == weights[1] != weights[2]


def test_a_training_that_was_killed_goes_on_with_its_next_epoch(tmp_path):
    whole, expected, _ = loop()
    whole.run()

    class KilledError(Exception):
        pass

    def killing(epoch):
        if epoch.number == 2:
            raise KilledError

    keep = Snapshot(tmp_path / "state", "this training")
    killed, *_ = loop(keep=keep, follow=Callbacks(killing))
    with pytest.raises(KilledError):
        killed.run(prepare=lambda: None)
    told, prepared = [], []
    resumed, model, steps = loop(keep=keep, follow=Callbacks(told.append))
    history = resumed.run(prepare=lambda: prepared.append(True))
    assert [epoch.number for epoch in told] == [3]
    assert not prepared
    assert history.loss == [1.0, 2.0, 3.0]
    assert steps.count == 9
    assert torch.equal(model.weight, expected.weight)
    # Another training does not take that state.
    other, _, counted = loop(keep=Snapshot(tmp_path / "state", "another"))
    other.run(prepare=lambda: prepared.append(True))
    assert prepared == [True]
    assert counted.count == 9


def test_the_weights_of_the_best_epoch_are_kept():
    losses = iter([0.5, 0.25, 0.75, 0.75, 0.75, 0.75])
    weights = []
    training, model, _ = loop(
        epochs=6,
        stopping=EarlyStopping(patience=2),
        validate=lambda: torch.tensor([next(losses)]),
        follow=Callbacks(lambda epoch: weights.append(model.weight.item())),
    )
    history = training.run()
    assert history.validation_loss == [0.5, 0.25, 0.75, 0.75]
    assert (history.best_epoch, len(history.loss)) == (2, 4)
    assert model.weight.item() == weights[1]
    assert history.metrics() == {"training_loss": 2.0, "epochs": 4, "best_epoch": 2, "validation_loss": 0.25}


def test_metrics_are_those_of_the_epoch_that_was_kept():
    history = History([3.0, 2.0, 1.0], [0.5, 0.25, 0.75], best_epoch=2)
    assert history.metrics() == {"training_loss": 2.0, "epochs": 3, "best_epoch": 2, "validation_loss": 0.25}
