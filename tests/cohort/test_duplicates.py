"""The same recording under two names is refused."""

import numpy as np
import pandas as pd
import pytest
from helpers.autocorrelated import cohort, series_of

from bids_neurossm.cohort.duplicates import refuse_duplicates
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import LabelError


def test_a_recording_that_went_through_another_program_is_found_under_its_second_name(tmp_path):
    whole = cohort(tmp_path / "whole")
    refuse_duplicates(whole)
    series = [series_of(i) for i in range(12)]
    noise = np.random.default_rng(5).normal(size=series[3].shape)
    series[8] = (series[3] * 0.1 + 700 + 0.01 * noise).astype(np.float32)
    with pytest.raises(LabelError, match=r"r3 \(s1\) and r8 \(s4\) are the same recording"):
        refuse_duplicates(Cohort.create(tmp_path / "copied", whole.runs, series, list("wxyz"), list("wxyz"), "class"))
    same_person = whole.runs.assign(participant_id=["s1" if run == "r8" else "x" + run for run in whole.runs["run"]])
    same_person.loc[same_person["run"] == "r3", "participant_id"] = "s1"
    refuse_duplicates(Cohort.create(tmp_path / "own", same_person, series, list("wxyz"), list("wxyz"), "class"))


def test_a_spike_that_two_people_share_is_no_shared_recording(tmp_path):
    series = [np.random.default_rng(number).normal(size=(60, 5)) for number in range(2)]
    for each in series:
        each[30] = 1e6
    runs = pd.DataFrame({"run": ["a", "b"], "participant_id": ["a", "b"], "label": ["x", "y"]})
    names = list("pqrst")
    cohort = Cohort.create(tmp_path / "spike", runs, series, names, names, "class")
    assert np.corrcoef(series[0].ravel(), series[1].ravel())[0, 1] > 0.95
    refuse_duplicates(cohort)


def test_monotone_changes_of_a_region_leave_its_ranks(tmp_path):
    series = np.random.default_rng(0).normal(size=(60, 5))
    runs = pd.DataFrame({"run": ["a", "b"], "participant_id": ["a", "b"], "label": ["x", "y"]})
    names = list("pqrst")
    cohort = Cohort.create(tmp_path, runs, [series, np.exp(series)], names, names, "class")
    with pytest.raises(LabelError, match=r"a \(a\) and b \(b\) are the same recording .* correlate at 1\.000 by ranks"):
        refuse_duplicates(cohort)
