"""A checkpoint that is damaged, was changed or does not fit is refused with the reason."""

import hashlib
import re
from dataclasses import replace

import pytest
import torch
from helpers.stored_checkpoint import FACTS, state_of_model
from safetensors.torch import save

from bids_neurossm.checkpoint_format import check_fit
from bids_neurossm.errors import CheckpointError, OutputNotWritableError
from bids_neurossm.training.checkpoint_tensors import load_checkpoint, save_checkpoint


def test_the_same_model_gives_the_same_bytes(checkpoint_file, tmp_path):
    save_checkpoint(tmp_path / "again.safetensors", state_of_model(), FACTS)
    assert (tmp_path / "again.safetensors").read_bytes() == checkpoint_file.read_bytes()
    assert (tmp_path / "again.toml").read_bytes() == checkpoint_file.with_suffix(".toml").read_bytes()


def test_a_damaged_file_is_refused(checkpoint_file):
    content = bytearray(checkpoint_file.read_bytes())
    content[-3] ^= 1
    checkpoint_file.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(checkpoint_file)


def test_a_truncated_file_is_refused(checkpoint_file):
    content = checkpoint_file.read_bytes()
    checkpoint_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(checkpoint_file)


@pytest.mark.parametrize(
    ("text", "word"),
    [("x = [", "not valid TOML"), ("format = 7\n", "format 1"), ('format = 1\nsha256 = "0"\n', "SHA-256")],
)
def test_foreign_facts_are_refused(checkpoint_file, text, word):
    checkpoint_file.with_suffix(".toml").write_text(text)
    with pytest.raises(CheckpointError, match=word):
        load_checkpoint(checkpoint_file)


def test_a_missing_file_is_named(checkpoint_file):
    checkpoint_file.unlink()
    with pytest.raises(CheckpointError, match=r"fold-1_seed-2\.safetensors cannot be read"):
        load_checkpoint(checkpoint_file)


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
def test_what_does_not_fit_the_data_is_named(checkpoint_file, data, words):
    with pytest.raises(CheckpointError, match=words):
        check_fit(FACTS, checkpoint_file, **data)


def test_what_fits_and_what_is_not_known_passes(checkpoint_file):
    check_fit(FACTS, checkpoint_file, ["A", "B", "C"], 0.721, "Schaefer400", "00ff", "simple", ["a", "b"], "class")
    check_fit(FACTS, checkpoint_file, repetition_time=float("nan"))
    check_fit(replace(FACTS, repetition_time=None, atlas=""), checkpoint_file, repetition_time=2.0, atlas="AAL3")


def test_a_folder_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(OutputNotWritableError):
        save_checkpoint(tmp_path / "models" / "x.safetensors", state_of_model(), FACTS)


def _rewritten(path, settings=None, state=None):
    """Forge a checkpoint: both hashes are made to fit again."""
    save_checkpoint(path, state or state_of_model(), settings or FACTS)
    return path


def test_settings_that_were_changed_after_saving_are_refused(checkpoint_file):
    beside = checkpoint_file.with_suffix(".toml")
    beside.write_text(beside.read_text().replace('"b"', '"c"'))
    with pytest.raises(CheckpointError, match=r"fold-1_seed-2\.toml was changed after the model was saved"):
        load_checkpoint(checkpoint_file)


def test_a_checkpoint_of_the_first_version_has_no_hash_of_its_settings(checkpoint_file):
    tensors = save(state_of_model())
    checkpoint_file.write_bytes(tensors)
    beside = checkpoint_file.with_suffix(".toml")
    digest = hashlib.sha256(tensors).hexdigest()
    beside.write_text(re.sub('sha256 = "[0-9a-f]{64}"', f'sha256 = "{digest}"', beside.read_text(), count=1))
    assert load_checkpoint(checkpoint_file)[1] == FACTS


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(checkpoint_file, value):
    state = state_of_model()
    name = sorted(state)[0]
    state[name] = torch.full_like(state[name], value)
    with pytest.raises(CheckpointError, match=f"{name} holds values that are not finite"):
        load_checkpoint(_rewritten(checkpoint_file, state=state))


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
def test_values_that_make_no_sense_are_refused(checkpoint_file, changed, words):
    with pytest.raises(CheckpointError, match=re.escape(words)):
        load_checkpoint(_rewritten(checkpoint_file, replace(FACTS, **changed)))


@pytest.mark.parametrize("text", ["x = " + "[" * 100_000, "a." * 100_000 + "a = 1", "x = " + "1" * 10_000])
def test_settings_that_would_hang_or_crash_their_parser_are_refused(checkpoint_file, text):
    beside = checkpoint_file.with_suffix(".toml")
    beside.write_text(beside.read_text() + "\n" + text + "\n")
    with pytest.raises(CheckpointError, match="is not valid TOML"):
        load_checkpoint(checkpoint_file)
