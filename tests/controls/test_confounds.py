"""What goes with the label is named: site, sex, motion, length, age; what does not is not."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.controls.confounds import confounds, correlation_ratio, cramers_v


def table_of(folder, target="class", **columns):
    """Confounds of 60 participants, every second a patient (or with a target from 0 to 59)."""
    n = 60
    label = np.where(np.arange(n) % 2, "patient", "control") if target == "class" else np.arange(n) * 1.0
    names = [f"sub-{i:02d}" for i in range(n)]
    lengths = columns.pop("lengths", np.full(n, 10))
    runs = pd.DataFrame({"run": names, "participant_id": names, "label": label, **columns})
    series = [np.random.default_rng(i).normal(size=(length, 3)) for i, length in enumerate(lengths)]
    cohort = Cohort.create(folder, runs, series, list("abc"), list("abc"), target)
    splits = make_splits(cohort.runs, cohort.classes, target, 5, 0.0, None, seed=0)
    return confounds(cohort, splits, permutations=199).set_index("control")


def test_everything_that_goes_with_the_class_is_named(tmp_path):
    patient = np.arange(60) % 2
    noise = np.random.default_rng(0).normal(size=60)
    found = table_of(
        tmp_path, site=np.where(patient, "A", "B"), sex=np.where(np.arange(60) % 5 < 1 + 2 * patient, "F", "M"),
        mean_fd=0.2 + 0.1 * patient + 0.05 * noise, age=30 + 8 * patient + noise, lengths=np.where(patient, 12, 15),
        repetition_time=np.where(patient, 2.0, 2.5),
    )  # fmt: skip
    assert list(found.index) == [
        f"confound: class and {name}" for name in ("site", "sex", "mean_fd", "n_volumes", "repetition_time", "age")
    ]
    assert found["verdict"].str.startswith("warning: ").all()
    assert found.loc["confound: class and site", "observed"] == pytest.approx(1)
    assert "class and site are perfectly confounded" in found.loc["confound: class and site", "verdict"]
    assert found.loc["confound: class and n_volumes", "observed"] == pytest.approx(1)
    assert found.loc["confound: class and n_volumes", "verdict"] == (
        "warning: classes differ in the length of the run (n_volumes) (p = 0.005, 199 permutations)"
    )


def test_what_has_nothing_to_do_with_the_class_is_not_accused_and_what_does_not_vary_is_not_looked_at(tmp_path):
    found = table_of(tmp_path, site=np.where(np.arange(60) // 2 % 2, "A", "B"), age=20.0 + np.arange(60) // 2 % 7)
    assert list(found.index) == ["confound: class and site", "confound: class and age"]
    assert not found["verdict"].str.startswith("warning").any()
    assert found.loc["confound: class and age", "verdict"].startswith("classes do not differ in the age beyond chance")


def test_a_continuous_target_is_set_against_its_sites_and_numbers_but_not_against_itself(tmp_path):
    value = np.arange(60) * 1.0
    site = np.where(value < 30, "A", "B")
    found = table_of(tmp_path, "continuous", site=site, age=value, mean_fd=value % 7)
    assert list(found.index) == ["confound: target and site", "confound: target and mean_fd"]
    assert found.loc["confound: target and site", "observed"] == pytest.approx(np.sqrt(0.75), abs=0.01)
    assert found.loc["confound: target and site", "verdict"].startswith("warning: the target differs between sites")
    assert "does not go with the motion" in found.loc["confound: target and mean_fd", "verdict"]


def test_labels_of_runs_are_compared_within_participants(tmp_path):
    """People differ in motion far more than tasks do, and still the task that moves more is found."""
    n = 20
    runs = pd.DataFrame({"participant_id": np.repeat([f"sub-{i:02d}" for i in range(n)], 2)})
    runs["label"] = ["rest", "motor"] * n
    runs["run"] = runs["participant_id"] + runs["label"]
    runs["mean_fd"] = np.repeat(np.linspace(0, 1, n), 2) + 0.02 * (runs["label"] == "motor")
    series = [np.random.default_rng(i).normal(size=(10, 3)) for i in range(2 * n)]
    cohort = Cohort.create(tmp_path, runs, series, list("abc"), list("abc"), "class")
    splits = make_splits(cohort.runs, cohort.classes, "class", 5, 0.0, None, seed=0)
    row = confounds(cohort, splits, permutations=99).set_index("control").loc["confound: class and mean_fd"]
    assert (row["observed"], row["p"]) == (pytest.approx(1), 0.01)


def test_measures_by_hand():
    first, second = np.repeat([0, 1], 50), np.repeat([0, 1, 0, 1], [30, 20, 20, 30])
    assert cramers_v(first, second) == pytest.approx(0.2)
    assert correlation_ratio(np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 5.0, 7.0])) == pytest.approx(np.sqrt(16 / 20))
    assert correlation_ratio(np.array([0, 0, 1, 1]), np.full(4, 0.1)) == 0
