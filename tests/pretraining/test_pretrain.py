"""Participants are set aside to judge the reconstruction on, and whole patches are hidden."""

import numpy as np
import pytest
import torch
from helpers.networks_of_regions import TRAIN, cohort_of_networks, small_estimator

from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.models.masks import Masking
from bids_neurossm.pretraining.pretrain import Pretraining, hidden_tokens, set_aside


def test_one_participant_can_not_be_pretrained_on(tmp_path):
    alone = cohort_of_networks(tmp_path, group="the same family")
    with pytest.raises(LabelError, match="two of them at least, and there is 1"):
        small_estimator(pretrain=True).fit(alone, TRAIN, seed=0)


def test_participants_are_set_aside_whole_by_the_seed_alone():
    groups = [f"s{number // 2}" for number in range(20)]
    learn, aside = set_aside(groups, 0.2, seed=3)
    assert sorted([*learn.tolist(), *aside.tolist()]) == list(range(20))
    assert len(aside) == 4  # two of ten participants, two runs each
    assert {groups[number] for number in aside}.isdisjoint(groups[number] for number in learn)
    np.testing.assert_array_equal(set_aside(groups, 0.2, seed=3)[1], aside)
    draws = {tuple(set_aside(groups, 0.2, seed)[1].tolist()) for seed in range(8)}
    assert len(draws) > 1
    assert len(set_aside(["a", "b", "c"], 0.1, seed=0)[1]) == 1  # one at least


def test_what_is_no_whole_patch_is_not_hidden():
    twins = np.arange(6)[:, None]  # regions without homologues
    hidden = hidden_tokens(Masking("local", 0.5, (20,), 0), twins, torch.tensor([8, 3, 0]), 8, np.random.default_rng(0))
    assert hidden.shape == (3, 6, 8)
    # One block as long as the piece: half of the six regions, in every patch that is whole.
    assert hidden.sum(dim=1).tolist() == [[3] * 8, [3] * 3 + [0] * 5, [0] * 8]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": 0}, "pretraining.epochs must be at least 1"),
        ({"batch_size": 0}, "pretraining.batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "pretraining.learning_rate must be positive"),
        ({"gradient_clip": -1.0}, "pretraining.gradient_clip must be positive"),
        ({"held_out": 0.6}, "pretraining.held_out in"),
        ({"weight_decay": -0.1}, "pretraining.weight_decay must not be negative"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Pretraining(**settings)
