"""Two processes train what one does; the death of one is the end of the other, and is told."""

import json
import signal
import threading

import numpy as np
import pandas as pd
import psutil
import pytest

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import altered
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import DeviceUnavailableError, RunError, WorkerLostError
from bids_neurossm.estimators.data_parallel import check_devices, failure, stored
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.training.process_group import Ranks
from bids_neurossm.training.progress import Callbacks

# Without dropout, whose random numbers are laid out by batch, the split of a batch changes nothing but rounding.
MODEL = {"width": 8, "state": 2, "dropout": 0.0, "region_dropout": 0.0}
TRAINING = Training(epochs=4, batch_size=5, learning_rate=0.01, early_stopping=4, validation_fraction=0.25)
EVERYONE = np.arange(17)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    generator = np.random.default_rng(0)
    series = [generator.normal(size=(40, 5)) for _ in EVERYONE]
    runs = pd.DataFrame({"run": [f"sub-{i:02d}" for i in EVERYONE]})
    runs = runs.assign(participant_id=runs["run"], label=["a", "b"] * 8 + ["a"])
    return Cohort.create(tmp_path_factory.mktemp("cohort"), runs, series, list("vwxyz"), ["-"] * 5, "class")


def _estimator(devices, follow=None, training=TRAINING, state=None):
    execution = Execution(device="cpu", devices=devices)
    estimator = create_estimator("neurossm", ModelSpec(settings=MODEL), training, execution)
    estimator.follow(follow or Callbacks(), state)
    return estimator


def _trained(cohort, devices, state=None):
    told = []
    estimator = _estimator(devices, Callbacks(epoch=told.append), state=state)
    estimator.fit(cohort, EVERYONE, seed=3)
    return estimator, [(epoch.number, epoch.loss, epoch.validation_loss) for epoch in told]


def test_two_processes_train_as_one_does_and_the_same_again(cohort, tmp_path):
    one, curve = _trained(cohort, 1)
    state = tmp_path / ".state"
    two, curve_of_two = _trained(cohort, 2, state)
    np.testing.assert_allclose(np.array(curve_of_two), np.array(curve), rtol=1e-4)
    assert len(curve) == 4
    for name, tensor in two.model.state_dict().items():
        np.testing.assert_allclose(tensor, one.model.state_dict()[name], rtol=1e-2, atol=1e-4, err_msg=name)
    np.testing.assert_allclose(two.predict(cohort, EVERYONE), one.predict(cohort, EVERYONE), atol=1e-3)
    assert two.facts.training_hash == one.facts.training_hash
    assert two.facts.metrics["best_epoch"] == one.facts.metrics["best_epoch"]
    # They kept their state; without it, everything comes out the same once more, to the byte.
    assert state.is_file()
    again, curve_again = _trained(cohort, 2)
    assert curve_again == curve_of_two
    assert again.model.state_dict().keys() == two.model.state_dict().keys()
    for name, tensor in two.model.state_dict().items():
        assert tensor.numpy().tobytes() == again.model.state_dict()[name].numpy().tobytes(), name


def _children():
    return [
        each
        for each in psutil.Process().children()
        if "bids_neurossm.estimators.data_parallel_worker" in each.cmdline()
    ]


def test_the_death_of_one_ends_the_other_and_is_told(cohort):
    seen, epochs = [], threading.Event()

    def kill():
        epochs.wait(120)
        seen.extend(_children())
        next(each for each in seen if each.cmdline()[-1] == "1").send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    endless = Training(epochs=100_000, batch_size=5)
    estimator = _estimator(2, Callbacks(epoch=lambda told: epochs.set()), endless)
    with pytest.raises(WorkerLostError, match=r"device 2 of 2 was killed from outside \(SIGKILL\)"):
        estimator.fit(cohort, EVERYONE, seed=3)
    killer.join()
    assert len(seen) == 2
    assert not any(each.is_running() for each in seen)


@pytest.mark.parametrize(
    ("codes", "kind", "words"),
    [
        ([None, 1], RunError, "sub-06: no region has a signal"),
        ([1, -9], RunError, "sub-06: no region has a signal"),
        ([1, 0], RunError, "device 1 of 2 failed: RuntimeError: what the log ends with"),
        ([1, -11], WorkerLostError, "device 2 of 2 was killed from outside (SIGSEGV)"),
    ],
)
def test_the_reason_that_says_most_is_given(tmp_path, codes, kind, words):
    if "sub-06" in words:
        said = {"type": "RunError", "message": "sub-06: no region has a signal"}
        (tmp_path / "error-1.json").write_text(json.dumps(said))
    (tmp_path / "rank-0.log").write_text("Traceback\n  ...\nRuntimeError: what the log ends with\n")
    error = failure(tmp_path, codes)
    assert type(error) is kind
    assert words in str(error)


def test_a_batch_is_shared_out_in_order():
    assert [list(Ranks(rank, 2).share("abcde")) for rank in (0, 1)] == [list("abc"), list("de")]
    assert [list(Ranks(rank, 3).share("a")) for rank in range(3)] == [["a"], [], []]


def test_a_cohort_that_was_altered_in_memory_is_written_out(cohort, tmp_path):
    assert stored(cohort, EVERYONE, tmp_path)[0] == cohort.folder
    shuffled = altered(cohort, "time-shuffle", "participant", 1)
    folder, rows = stored(shuffled, np.array([4, 2]), tmp_path / "shuffled")
    found = Cohort.open(folder)
    assert rows.tolist() == [0, 1]
    assert found.runs["run"].tolist() == ["sub-04", "sub-02"]
    np.testing.assert_array_equal(found.raw(1), shuffled.raw(2))


def test_more_gpus_than_there_are_are_refused():
    with pytest.raises(DeviceUnavailableError, match=r"--devices 99: \d+ usable GPU"):
        check_devices("cuda", 99)
