"""Parts and stages of a training are told as one training."""

import pytest

from bids_neurossm.training.callbacks import Callbacks, Epoch, TrainingWarning


def test_epochs_of_several_parts_are_counted_through():
    told = []
    part = Callbacks(told.append).part(2, of=4)
    part.epoch(Epoch(3, 10, 0.5, 0.75, 6.0, 14.0))
    # Two more parts of 20 s each, after the 14 s that are left of this one.
    assert told == [Epoch(13, 40, 0.5, 0.75, 6.0, 54.0)]


def test_a_stage_is_counted_within_all_epochs_at_its_own_pace():
    told = []
    stage = Callbacks(told.append).stage(4, of=16)
    stage.epoch(Epoch(1, 10, 0.5, None, 2.0, 18.0))
    # 2 s per epoch: 8 s for the four before, 4 s for the two after.
    assert told == [Epoch(5, 16, 0.5, None, 10.0, 22.0)]


def test_the_last_epoch_of_the_last_part_leaves_no_time():
    told = []
    Callbacks(told.append).part(4, of=4).epoch(Epoch(10, 10, 0.5, None, 20.0, 0.0))
    assert (told[0].number, told[0].of, told[0].seconds_left) == (40, 40, 0.0)


def test_notices_are_handed_on_and_are_warnings_where_nobody_follows():
    notices = []
    callbacks = Callbacks(notice=notices.append)
    callbacks.part(1, 2).notice("one")
    callbacks.stage(0, 2).notice("two")
    assert notices == ["one", "two"]
    with pytest.warns(TrainingWarning, match="three"):
        Callbacks().notice("three")
