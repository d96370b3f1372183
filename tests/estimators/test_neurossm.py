"""A NeuroSSM with scales in seconds: cohorts of several repetition times, and what cannot be meant is refused."""

import numpy as np
import pytest
from helpers.several_times import BRIEF, SECONDS, TIMES, cohort_of_times

from bids_neurossm.attribution.checks import completeness
from bids_neurossm.config import Execution, ModelSpec
from bids_neurossm.errors import UsageError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.estimators.neurossm import NeuroSSMEstimator


def _estimator(**settings):
    return NeuroSSMEstimator("neurossm", ModelSpec(settings={**SECONDS, **settings}), BRIEF, Execution(device="cpu"))


def test_a_cohort_of_several_repetition_times_trains_predicts_and_explains(tmp_path):
    cohort, everyone = cohort_of_times(tmp_path / "cohort", TIMES), np.arange(8)
    estimator = _estimator()
    estimator.fit(cohort, everyone, seed=0)
    assert estimator.facts.repetition_time == 1.0
    assert estimator.facts.window == 100
    attribution = estimator.attribute(cohort, everyone)
    assert completeness(attribution).passed
    assert attribution.pathways[0] == "raw-2s"
    estimator.save(tmp_path / "model.safetensors")
    loaded = load_trained(tmp_path / "model.safetensors", Execution(device="cpu"))
    # Runs of another median repetition time are no reason to refuse: the bins are the same.
    slow = np.array([0, 3, 6])
    np.testing.assert_array_equal(loaded.predict(cohort, slow), estimator.predict(cohort, slow))


def test_a_cohort_that_scales_in_seconds_can_not_be_laid_over_is_refused(tmp_path):
    unknown = cohort_of_times(tmp_path / "unknown", TIMES, told=np.where(TIMES == 0.8, np.nan, TIMES))
    with pytest.raises(UsageError, match="sub-1_bold: the repetition time is not known"):
        _estimator().fit(unknown, np.arange(8), seed=0)
    with pytest.raises(UsageError, match=r"1\.5 s is shorter than the longest repetition time, 2 s"):
        _estimator(scales=[1.5, 4.0]).fit(cohort_of_times(tmp_path / "known", TIMES), np.arange(8), seed=0)
