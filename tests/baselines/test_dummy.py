"""What is most common, in the cohort and at each site."""

import numpy as np
import pandas as pd
from helpers.baseline_cohorts import baseline, coupled_cohort

from bids_neurossm.cohort.store import Cohort


def test_the_majority_is_counted_in_participants(tmp_path):
    cohort = coupled_cohort(tmp_path, n=9)
    model = baseline("majority")
    model.fit(cohort, np.arange(9), seed=0)
    np.testing.assert_allclose(np.exp(model.predict(cohort, np.arange(2))), [[5 / 9, 4 / 9]] * 2)


def test_the_site_alone_predicts_its_shares_or_its_median(tmp_path):
    runs = pd.DataFrame({"run": list("abcdefgh"), "participant_id": list("abcdefgh")})
    runs["site"] = ["X", "X", "X", "X", "Y", "Y", "Y", "Z"]
    series = [np.random.default_rng(i).normal(size=(9, 2)) for i in range(8)]
    runs["label"] = [20.0, 21.0, 30.0, 80.0, 60.0, 61.0, 62.0, 99.0]
    ages = Cohort.create(tmp_path / "ages", runs, series, ["p", "q"], ["p", "q"], "continuous")
    model = baseline("site-only")
    model.fit(ages, np.arange(7), 0)
    assert model.predict(ages, np.array([0, 4, 7]))[:, 0].tolist() == [25.5, 61.0, 60.0]
    runs["label"] = ["p", "p", "p", "c", "c", "c", "c", "p"]
    classes = Cohort.create(tmp_path / "classes", runs, series, ["p", "q"], ["p", "q"], "class")
    model.fit(classes, np.arange(7), 0)
    chance = 1 / (1 + np.exp(-np.diff(model.predict(classes, np.array([0, 4, 7])), axis=1)[:, 0]))
    np.testing.assert_allclose(chance, [(3 + 3 / 7) / 5, (3 / 7) / 4, 3 / 7], rtol=1e-6)
