"""Two processes train what one does; the death of one is the end of the other, and is told."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import without_regions
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import DeviceUnavailableError, LabelError, RunError, WorkerLostError
from bids_neurossm.estimators.data_parallel import check_devices, failure
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.training.callbacks import Callbacks
from bids_neurossm.training.process_group import Ranks

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


def test_the_death_of_one_ends_the_other_and_is_told(cohort):
    seen, epochs = [], threading.Event()

    def kill():
        epochs.wait(120)
        seen.extend(sorted(multiprocessing.active_children(), key=lambda each: each.pid))
        seen[1].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    endless = Training(epochs=100_000, batch_size=5)
    estimator = _estimator(2, Callbacks(epoch=lambda told: epochs.set()), endless)
    with pytest.raises(WorkerLostError, match=r"device 2 of 2 was killed from outside \(SIGKILL\)"):
        estimator.fit(cohort, EVERYONE, seed=3)
    killer.join()
    assert len(seen) == 2
    assert not any(psutil.pid_exists(each.pid) for each in seen)


def test_what_a_process_raises_is_raised(cohort, capfd):
    # Only the processes look at the classes of the groups that are kept for early stopping.
    runs = cohort.runs.assign(group=["one", *cohort.runs["group"][1:]])
    runs.loc[runs["label"] == "b", "group"] = "other"
    estimator = _estimator(2)
    with pytest.raises(LabelError) as raised:
        estimator.fit(replace(cohort, runs=runs), EVERYONE, seed=3)
    with pytest.raises(LabelError) as raised_alone:
        _estimator(1).fit(replace(cohort, runs=runs), EVERYONE, seed=3)
    assert str(raised.value) == str(raised_alone.value)
    assert capfd.readouterr() == ("", "")


#: Without a guard around what it does, as Nipype's scripts for clusters are.
SCRIPT = """
import signal, sys
from multiprocessing import resource_tracker
import numpy as np
from bids_neurossm.cli.process.signals import ending_on_signals
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.training.callbacks import Callbacks

training = Training(epochs=100_000, batch_size=5)
estimator = create_estimator("neurossm", ModelSpec(settings={MODEL}), training, Execution(device="cpu", devices=2))
estimator.follow(Callbacks(epoch=lambda told: print(told.number, flush=True)))
resource_tracker.ensure_running()  # unblocks the signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as in Nipype's workers
with ending_on_signals([], lambda number: 0):
    estimator.fit(Cohort.open(sys.argv[1]), np.arange(17), seed=3)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_one_that_started_them(cohort, tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("{MODEL}", repr(MODEL)))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, script, cohort.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The optimizers of torch make a cache; commands set its place.
        env=os.environ | {"TMPDIR": str(scratch), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
    ) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
        left = [process.pid, *(each.pid for each in psutil.Process(process.pid).children(recursive=True))]
        assert len(left) >= 3
        began = time.monotonic()
        process.send_signal(number)
        process.wait(10)
        _, alive = psutil.wait_procs([psutil.Process(pid) for pid in left if psutil.pid_exists(pid)], timeout=5)
        assert (alive, time.monotonic() - began < 5) == ([], True)
        said = process.stderr.read().strip().splitlines()
    if number == signal.SIGKILL:
        assert said == []
        # Nobody was left to remove the private folder; nothing is outside it.
        assert [path.name.rpartition("-")[0] for path in scratch.iterdir()] == ["bids-neurossm-ranks"]
    else:
        assert said[-1] == "bids_neurossm.cli.process.signals.Terminated"
        assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("codes", "first", "kind", "words"),
    [
        ([-15, 1], 1, RunError, "sub-06: no region has a signal"),
        ([1, -9], 0, RunError, "sub-06: no region has a signal"),
        ([1, -15], 0, RunError, "device 1 of 2 failed: RuntimeError: what the log ends with"),
        ([1, -11], 0, WorkerLostError, "device 2 of 2 was killed from outside (SIGSEGV)"),
        ([-15, -15], 1, WorkerLostError, "device 2 of 2 was killed from outside (SIGTERM)"),
        ([-15, 3], 1, RunError, "device 2 of 2 failed: it left no message"),
    ],
)
def test_the_reason_that_says_most_is_given(tmp_path, codes, first, kind, words):
    if "sub-06" in words:
        said = {"type": "RunError", "message": "sub-06: no region has a signal"}
        (tmp_path / "error-1.json").write_text(json.dumps(said))
    (tmp_path / "rank-0.log").write_text("Traceback\n  ...\nRuntimeError: what the log ends with\n")
    (tmp_path / "rank-1.log").touch()
    error = failure(tmp_path, codes, first)
    assert type(error) is kind
    assert words in str(error)


def test_a_batch_is_shared_out_in_order():
    assert [list(Ranks(rank, 2).share("abcde")) for rank in (0, 1)] == [list("abc"), list("de")]
    assert [list(Ranks(rank, 3).share("a")) for rank in range(3)] == [["a"], [], []]


def test_a_cohort_that_was_altered_in_memory_is_trained_on_as_it_is(cohort):
    silenced = without_regions(cohort, np.array([True, False, True, True, False]))
    # In a thread: not only the main one trains.
    with ThreadPoolExecutor(1) as thread:
        _, curve = thread.submit(_trained, silenced, 2).result()
    np.testing.assert_allclose(np.array(curve), np.array(_trained(silenced, 1)[1]), rtol=1e-4)
    assert not np.allclose(np.array(curve), np.array(_trained(cohort, 1)[1]), rtol=1e-3)


def test_more_gpus_than_there_are_are_refused():
    with pytest.raises(DeviceUnavailableError, match=r"--devices 99: \d+ usable GPU"):
        check_devices("cuda", 99)
