"""What a group analysis is about to do."""

from __future__ import annotations

import pandas as pd
import pytest

from bids_neurossm.config import ModelSpec
from bids_neurossm.errors import UsageError
from bids_neurossm.planning.group import shortest_run
from bids_neurossm.training.recipes import load_recipe


@pytest.mark.parametrize(
    ("times", "words"),
    [([2.0, float("nan")], "1 of 2 runs state no repetition time"), ([2.0, 3.0], "longest repetition time 3 s")],
)
def test_samples_in_seconds_need_repetition_times(times, words):
    runs = pd.DataFrame({"run": ["a", "b"], "repetition_time": times})
    settings, _ = load_recipe("camcan-age")
    with pytest.raises(UsageError, match=words):
        shortest_run(ModelSpec("lmae-rwmoe", "camcan-age", settings), runs)


def test_a_run_has_to_hold_eight_patches():
    runs = pd.DataFrame({"run": ["a"], "repetition_time": [2.0]})
    settings, _ = load_recipe("camcan-age")
    found = shortest_run(ModelSpec("lmae-rwmoe", "camcan-age", settings), runs)
    assert (found.length, found.unit) == (64.0, "seconds")
    points = shortest_run(ModelSpec("lmae-rwmoe", "", {"patch": 3}), runs)
    assert (points.length, points.unit) == (24.0, "volumes")
