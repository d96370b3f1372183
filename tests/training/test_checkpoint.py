"""A checkpoint comes back as it was, and one that is damaged or does not fit is refused with the reason."""

from dataclasses import replace

import pytest
import torch

from bids_neurossm.errors import CheckpointError, OutputNotWritableError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint import (
    Facts,
    check_fit,
    load_checkpoint,
    load_state,
    model_config,
    save_checkpoint,
)

FACTS = Facts(
    model={"n_regions": 3, "n_outputs": 2, "width": 8, "scales": [1, 2]}, target="dx", target_type="class",
    classes=("a", "b"), regions=("A", "B", "C"), atlas="Schaefer400", atlas_sha256="00ff", repetition_time=0.72,
    window=150, denoise="simple", training_hash="12", n_runs=9, seed=1, metrics={"training_loss": 0.25},
    versions={"torch": "2"},
)  # fmt: skip


def _state():
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=3, n_outputs=2, width=8, scales=(1, 2))).state_dict()


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
        model_config(replace(FACTS, model=model), path)
    assert model_config(FACTS, path).scales == (1, 2)


@pytest.mark.parametrize(
    ("text", "word"), [("x = [", "damaged"), ("format = 7\n", "format 1"), ('format = 1\nsha256 = "0"\n', "SHA-256")]
)
def test_foreign_facts_are_refused(path, text, word):
    path.with_suffix(".toml").write_text(text)
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(path)


def test_a_missing_file_is_named(path):
    path.unlink()
    with pytest.raises(CheckpointError, match=r"fold-1_seed-2\.safetensors can not be read"):
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
    model = NeuroSSM(NeuroSSMConfig(n_regions=3, n_outputs=2, width=16, scales=(1, 2)))
    with pytest.raises(CheckpointError, match="own architecture"):
        load_state(model, load_checkpoint(path)[0], path)


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputNotWritableError):
        save_checkpoint(tmp_path / "models" / "x.safetensors", _state(), FACTS)
