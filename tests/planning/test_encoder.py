"""Where the encoder of a model comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.config import Evaluation, ModelSpec, RunConfig
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.planning.encoder import wants_encoder_only, with_encoder
from bids_neurossm.planning.group import refuse_checkpoint
from bids_neurossm.training.recipes import load_recipe


def _config(tmp_path, *arguments):
    return parse_config([str(tmp_path / "in"), str(tmp_path / "out"), "group", "--model", "lmae-rwmoe", *arguments])


def test_pretraining_alone_needs_no_target(tmp_path):
    assert wants_encoder_only(_config(tmp_path, "--pretrain"))
    assert not wants_encoder_only(_config(tmp_path, "--pretrain", "--target", "age"))
    assert not wants_encoder_only(_config(tmp_path, "--target", "age"))


def test_where_the_encoder_comes_from_is_said_once(tmp_path):
    with pytest.raises(UsageError, match="each say where the encoder comes from: give one"):
        _config(tmp_path, "--pretrain", "--pretrain-from", str(tmp_path))


def test_only_the_second_family_is_pretrained(tmp_path):
    config = _config(tmp_path, "--pretrain", "--target", "age")
    settings, _ = load_recipe("hcp-task")
    with pytest.raises(
        UsageError, match="--pretrain needs a model with an encoder, such as --model lmae-rwmoe; neurossm has none"
    ):
        with_encoder(config, ModelSpec("neurossm", "hcp-task", settings))
    with pytest.raises(UsageError, match="takes --recipe camcan-age, camcan-fluid"):
        with_encoder(config, ModelSpec("lmae-rwmoe", "hcp-task", settings))
    assert with_encoder(config, ModelSpec("lmae-rwmoe", "camcan-age", {})).settings == {"pretrain": True}


def test_an_encoder_is_refused_by_other_models_and_when_it_is_not_there(tmp_path):
    evaluation = Evaluation(target="age", checkpoint=tmp_path / "encoder.safetensors")
    config = RunConfig(tmp_path / "in", tmp_path / "out", "group", evaluation=evaluation)
    with pytest.raises(UsageError, match="encoder, such as --model lmae-rwmoe, take a pretrained one"):
        refuse_checkpoint(config)
    second = replace(config, model=ModelSpec("lmae-rwmoe", "camcan-age", {}))
    refuse_checkpoint(second)
    with pytest.raises(CheckpointError, match="is no pretrained encoder"):
        with_encoder(second, second.model)
