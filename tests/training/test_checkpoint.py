"""A checkpoint comes back as it was, and one that is damaged or does not fit is refused with the reason."""

import hashlib
import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from bids_neurossm.checkpoint import CheckpointMetadata, check_fit
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import CheckpointError, OutputNotWritableError
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint import load_checkpoint, restored_module, save_checkpoint

FACTS = CheckpointMetadata(
    model={"n_regions": 3, "n_outputs": 2, "width": 8, "scales": [1, 2]}, target="dx", target_type="class",
    classes=("a", "b"), regions=("A", "B", "C"), atlas="Schaefer400", atlas_sha256="00ff", repetition_time=0.72,
    window=150, denoise="simple", training_hash="12", n_runs=9, seed=1, metrics={"training_loss": 0.25},
    versions={"torch": "2"},
)  # fmt: skip


def _state():
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=3, n_outputs=2, width=8, scales=(1, 2))).state_dict()


def _restored(facts, path):
    estimator = NeuroSSMEstimator("neurossm", ModelSpec(), Training(), Execution(device="cpu"))
    estimator.restore({name: tensor.numpy() for name, tensor in _state().items()}, facts, path)
    return estimator


@pytest.fixture
def path(tmp_path):
    target = tmp_path / "models" / "fold-1_seed-2.safetensors"
    save_checkpoint(target, _state(), FACTS)
    return target


def test_tensors_and_facts_come_back(path):
    assert path.name == "fold-1_seed-2.safetensors"
    state, facts = load_checkpoint(path)
    assert facts == replace(FACTS, model={**FACTS.model})
    assert all(torch.equal(state[name], tensor) for name, tensor in _state().items())


def test_the_same_model_gives_the_same_bytes(path, tmp_path):
    save_checkpoint(tmp_path / "again.safetensors", _state(), FACTS)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert (tmp_path / "again.toml").read_bytes() == path.with_suffix(".toml").read_bytes()


def test_a_damaged_file_is_refused(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_truncated_file_is_refused(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kernels": 3}, "unknown setting 'kernels'"),
        ({**FACTS.model, "width": 0}, "model.width"),
        ({"width": 8}, "missing"),
    ],
)
def test_a_model_of_another_version_is_refused(path, model, words):
    with pytest.raises(CheckpointError, match=rf"holds a model that this version does not know.*{words}"):
        _restored(replace(FACTS, model=model), path)
    assert _restored(FACTS, path).model.config.scales == (1, 2)


@pytest.mark.parametrize(
    ("text", "word"),
    [("x = [", "not valid TOML"), ("format = 7\n", "format 1"), ('format = 1\nsha256 = "0"\n', "SHA-256")],
)
def test_foreign_facts_are_refused(path, text, word):
    path.with_suffix(".toml").write_text(text)
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(path)


def test_a_missing_file_is_named(path):
    path.unlink()
    with pytest.raises(CheckpointError, match=r"fold-1_seed-2\.safetensors cannot be read"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"regions": ["A", "C", "B"]}, "region 2 of the checkpoint is B, of the data C"),
        ({"regions": ["A", "B"]}, "3 regions, the data 2"),
        ({"repetition_time": 2.0}, "0.72 s"),
        ({"atlas": "AAL3"}, "atlas of the checkpoint is Schaefer400"),
        ({"atlas_sha256": "1234"}, "SHA-256 of the atlas"),
        ({"denoise": "none"}, "denoising strategy"),
        ({"classes": ["a", "c"]}, "classes a, b"),
        ({"target_type": "continuous"}, "type of the target"),
    ],
)
def test_what_does_not_fit_the_data_is_named(path, data, words):
    with pytest.raises(CheckpointError, match=words):
        check_fit(FACTS, path, **data)


def test_what_fits_and_what_is_not_known_passes(path):
    check_fit(FACTS, path, ["A", "B", "C"], 0.721, "Schaefer400", "00ff", "simple", ["a", "b"], "class")
    check_fit(FACTS, path, repetition_time=float("nan"))
    check_fit(replace(FACTS, repetition_time=None, atlas=""), path, repetition_time=2.0, atlas="AAL3")


def test_tensors_of_another_architecture_are_refused(path):
    other = NeuroSSMConfig(n_regions=3, n_outputs=2, width=16, scales=(1, 2))
    with pytest.raises(CheckpointError, match="own architecture"):
        restored_module(lambda: NeuroSSM(other), load_checkpoint(path)[0], path)


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputNotWritableError):
        save_checkpoint(tmp_path / "models" / "x.safetensors", _state(), FACTS)


def _rewritten(path, settings=None, state=None):
    """Forge a checkpoint: both hashes are made to fit again."""
    save_checkpoint(path, state or _state(), settings or FACTS)
    return path


def test_settings_that_were_changed_after_saving_are_refused(path):
    beside = path.with_suffix(".toml")
    beside.write_text(beside.read_text().replace('"b"', '"c"'))
    with pytest.raises(CheckpointError, match=r"fold-1_seed-2\.toml was changed after the model was saved"):
        load_checkpoint(path)


def test_a_checkpoint_of_the_first_version_has_no_hash_of_its_settings(path):
    tensors = save(_state())
    path.write_bytes(tensors)
    beside = path.with_suffix(".toml")
    digest = hashlib.sha256(tensors).hexdigest()
    beside.write_text(re.sub('sha256 = "[0-9a-f]{64}"', f'sha256 = "{digest}"', beside.read_text(), count=1))
    assert load_checkpoint(path)[1] == FACTS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(path, value):
    state = _state()
    name = sorted(state)[0]
    state[name] = torch.full_like(state[name], value)
    with pytest.raises(CheckpointError, match=f"{name} holds values that are not finite"):
        load_checkpoint(_rewritten(path, state=state))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": {**FACTS.model, "depth": 10**8}}, "model.depth = 100000000 is impossible for a model of"),
        ({"model": {**FACTS.model, "width": 10**12}}, "model.width = 1000000000000 is impossible"),
        ({"model": {**FACTS.model, "n_regions": 4}}, "its model has 4 regions, and 3 are named"),
        ({"classes": ("a", "b", "zz")}, "its model has 2 outputs, and 3 are expected for 3 classes"),
        ({"classes": ("a", "a")}, "a class or a region is named twice"),
        ({"window": 0}, "window = 0 is impossible"),
        ({"atlas_drawing": "x"}, "atlas_drawing"),
        ({"target_scale": float("nan")}, "target_scale = nan are impossible"),
        ({"repetition_time": -1.0}, "repetition_time = -1.0 is impossible"),
        ({"model": {**FACTS.model, "extra": "x"}, "n_runs": "many"}, "n_runs: 'many' is a str, int is expected"),
    ],
)
def test_values_that_make_no_sense_are_refused(path, changed, words):
    with pytest.raises(CheckpointError, match=re.escape(words)):
        load_checkpoint(_rewritten(path, replace(FACTS, **changed)))


def test_shapes_are_compared_before_memory_is_set_aside(path):
    """A model of this width would take 300 GB."""
    facts = replace(FACTS, model={**FACTS.model, "width": 200_000})
    with pytest.raises(CheckpointError, match="does not fit its own architecture"):
        _restored(facts, path)


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "a." * 100_000 + "a = 1", "x = " + "1" * 10_000])
def test_settings_that_would_hang_or_crash_their_parser_are_refused(path, text):
    beside = path.with_suffix(".toml")
    beside.write_text(beside.read_text() + "\n" + text + "\n")
    with pytest.raises(CheckpointError, match="is not valid TOML"):
        load_checkpoint(path)
