"""A training that is killed goes on with the last whole epoch, and ends with the very same weights."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from bids_neurossm.config import Training
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.data import RunSet, TrainingSet
from bids_neurossm.training.fit import fit
from bids_neurossm.training.snapshot import Snapshot

SETTINGS = Training(epochs=5, batch_size=4, learning_rate=0.01, early_stopping=5, validation_fraction=0.25)

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_snapshot

class Dying(test_snapshot.NeuroSSM):
    steps = 0
    def forward(self, *arguments):
        self.steps += self.training
        if self.steps == 11:  # three steps an epoch: the second one of the fourth epoch
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(*arguments)

test_snapshot.fitted(Path(sys.argv[2]), model=Dying)
"""


def data():
    generator = np.random.default_rng(0)
    runs = [generator.normal(size=(40, 5)).astype(np.float32) for _ in range(16)]
    return TrainingSet(RunSet.in_memory(runs, [f"run-{i}" for i in range(16)]), np.arange(16) % 2)


def fitted(path, model=NeuroSSM, digest="this one", precision="float32"):
    """Fit with dropout, random windows and early stopping; return weights and numbers of the epochs that were run."""
    torch.manual_seed(0)
    network = model(NeuroSSMConfig(n_regions=5, n_outputs=2, width=8, state=2, pathway_dropout=0.1))
    epochs = []
    keep = None if path is None else Snapshot(path, digest)
    history = fit(
        network, data(), SETTINGS, 32, 7, precision, Callbacks(epoch=lambda told: epochs.append(told.number)), keep
    )  # fmt: skip
    return network.state_dict(), epochs, history


@pytest.fixture(scope="module")
def uninterrupted():
    return fitted(None)


@pytest.fixture
def killed(tmp_path):
    """State of a training that was killed in its fourth epoch."""
    path = tmp_path / ".fold-1_seed-1.state"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(path)]
    assert subprocess.run(command, check=False, cwd=tmp_path).returncode == -signal.SIGKILL
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    return path


def test_after_a_kill_the_weights_are_those_of_an_uninterrupted_training(killed, uninterrupted):
    expected, all_epochs, all_history = uninterrupted
    whole = killed.read_bytes()
    # The state of another training is not taken, ...
    _, epochs, _ = fitted(killed, digest="another one")
    assert epochs == all_epochs == [1, 2, 3, 4, 5]
    # ... nor is half a file, or one with a byte that has flipped.
    for damaged in (whole[: len(whole) // 2], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        killed.write_bytes(damaged)
        assert Snapshot(killed, "this one").read() is None
    killed.write_bytes(whole)
    weights, epochs, history = fitted(killed)
    assert epochs == [4, 5]
    assert save(weights) == save(expected)
    assert history == all_history
    # The training has ended: it is not begun again, and says the same.
    weights, epochs, history = fitted(killed)
    assert epochs == []
    assert save(weights) == save(expected)
    assert history == all_history


def test_scaled_gradients_go_on_too(tmp_path):
    whole, _, _ = fitted(None, precision="float16")
    path = tmp_path / "state"

    def stop(told):
        if told.number == 2:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    network = NeuroSSM(NeuroSSMConfig(n_regions=5, n_outputs=2, width=8, state=2, pathway_dropout=0.1))
    with pytest.raises(KeyboardInterrupt):
        fit(network, data(), SETTINGS, 32, 7, "float16", Callbacks(epoch=stop), Snapshot(path, "this one"))
    weights, epochs, _ = fitted(path, precision="float16")
    assert epochs == [3, 4, 5]
    assert save(weights) == save(whole)


def test_a_foreign_file_is_no_state(tmp_path):
    keep = Snapshot(tmp_path / "state", "this one")
    assert keep.read() is None
    keep.path.write_bytes(b"not a state")
    assert keep.read() is None
    keep.path.write_bytes(save({"a": torch.zeros(2)}))
    assert keep.read() is None
    keep.write({"a": torch.ones(2, dtype=torch.bfloat16)}, {"epoch": 1})
    tensors, facts = keep.read()
    assert facts == {"epoch": 1}
    assert torch.equal(tensors["a"], torch.ones(2, dtype=torch.bfloat16))
    keep.remove()
    keep.remove()
    assert list(tmp_path.iterdir()) == []
