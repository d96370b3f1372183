"""Tables of predictions, metrics, comparisons and controls, from cells of trained models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.coupling_model import analysis_of, carry_out, cohort_of, read

from bids_neurossm.analysis.cells import Cell
from bids_neurossm.analysis.evaluation_tables import prediction_table
from bids_neurossm.cohort.store import Cohort

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_leaks_are_named_among_the_controls(tmp_path: Path) -> None:
    """Patients move more and have shorter runs, and two people come again under other names."""
    random = np.random.default_rng(0)
    people = np.eye(20) + 0.2 * random.normal(size=(40, 20, 20))
    owner, patient = np.concatenate([np.arange(40), [0, 7]]), np.concatenate([np.arange(40) % 2, [0, 1]])
    lengths = np.where(patient, 90, 120) + random.integers(0, 10, 42)
    series = [random.normal(size=(length, 20)) @ people[who] for who, length in zip(owner, lengths, strict=True)]
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(42)], "site": random.choice(["A", "B"], 42)})
    runs = runs.assign(run=runs["participant_id"], label=np.where(patient, "patient", "control"))
    runs["mean_fd"] = 0.2 + 0.1 * patient + 0.05 * random.random(42)
    names = [f"r{i}" for i in range(20)]
    cohort = Cohort.create(tmp_path / "cohort", runs, series, names, names, "class", {"target": "dx"})
    controls = carry_out(analysis_of(tmp_path, folds=4, holdout=0.0), cohort, tmp_path)["controls"]
    said = controls.set_index("control")["verdict"]
    assert said["confound: class and mean_fd"].startswith("warning: classes differ in the motion (mean_fd)")
    assert said["confound: class and n_volumes"].startswith("warning: classes differ in the length of the run")
    assert said["confound: class and site"].startswith("classes are spread over sites as by chance")
    identity = said["identity: one participant under two names"]
    assert "sub-00 and sub-40 (" in identity
    assert "sub-07 and sub-41 (" in identity


def test_left_out_sites_have_a_table_and_a_test_of_their_own(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "cohort", 84, sites=7)
    found = carry_out(analysis_of(tmp_path, leave_out="site", folds=7), cohort, tmp_path)
    table = found["left_out"]
    mine = table[table["model"] == "coupling"]
    assert mine["site"].to_list() == [f"S{i}" for i in range(7)]
    assert (mine["n"] == 12).all()
    assert (mine["n_a"] == 6).all()
    assert (mine["n_training"] == 72).all()
    row = found["comparison"].set_index("metric").loc["auc"]
    assert "sign-flip over 7 sites" in row["method"]
    assert row["p"] == pytest.approx(2 / 128)
    overall = found["metrics"].set_index(["model", "fold", "metric"]).loc[("coupling", "all", "auc")]
    assert overall["value"] == pytest.approx(mine["auc"].mean())
    assert overall["interval"].startswith("of the procedure: sign-flip over 7 sites")


def test_a_left_out_site_that_lost_its_runs_leaves_an_empty_cell(tmp_path: Path) -> None:
    """Folds are counted before series are read; a site whose runs turn out too short has no fold any more."""
    cohort = cohort_of(tmp_path / "cohort", 48, sites=4)
    found = carry_out(analysis_of(tmp_path, leave_out="site", folds=5), cohort, tmp_path)
    last = Cell.load(tmp_path / "models" / "test" / "cells" / "majority_fold-5_seed-1.npz")
    assert last.indices.size == 0
    assert found["metrics"].query("fold == 'all' and metric == 'auc'")["n_folds"].to_list() == [4, 4]


def test_gaps_between_predicted_and_true_age_have_tables_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    age = random.uniform(20, 80, 60)
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(60)], "label": age, "site": ""})
    # Older people's first two regions go together more.
    mixed = [random.normal(size=(50, 4)) @ (np.eye(4) + np.eye(4, k=1) * (years / 60)) for years in age]
    names = [f"r{i}" for i in range(4)]
    cohort = Cohort.create(
        tmp_path / "cohort", runs.assign(run=runs["participant_id"]), mixed, names, names, "continuous",
        {"target": "phenotype/people.tsv:age"},
    )  # fmt: skip
    analysis = analysis_of(tmp_path, model="pearson-connectivity", folds=3, seeds=1)
    carry_out(analysis, cohort, tmp_path)
    gaps = read(analysis.outputs.table("age_gaps"))
    trend = read(analysis.outputs.table("age_bias")).set_index("model").loc["pearson-connectivity"]
    assert len(gaps[gaps["model"] == "pearson-connectivity"]) == 60
    np.testing.assert_allclose(gaps["gap"], gaps["predicted"] - gaps["age"], atol=1e-3)
    assert trend["r_gap_age"] < -0.3
    assert abs(trend["r_gap_age_corrected"]) < abs(trend["r_gap_age"]) / 2


def test_predictions_have_raw_logits_and_tempered_probabilities() -> None:
    units = pd.DataFrame(
        {
            "model": "m", "set": "development", "split": 1, "fold": [1, 2], "participant_id": ["a", "b"],
            "group": ["a", "b"], "unit": ["a", "b"], "site": "", "label": ["x", "y"], "logit_0": [0.0, 0.0],
            "logit_1": [np.log(9.0), -np.log(9.0)],
        }
    )  # fmt: skip
    found = pd.DataFrame({"model": "m", "set": "development", "split": 1, "fold": [1, 2], "temperature": [2.0, 1.0]})
    table = prediction_table(units, found, ["x", "y"])
    assert table["predicted"].to_list() == ["y", "x"]
    assert table["temperature"].to_list() == [2.0, 1.0]
    np.testing.assert_array_equal(table["logit_y"], units["logit_1"])
    np.testing.assert_allclose(table["probability_y"], [0.75, 0.1])
    np.testing.assert_allclose(table["probability_x"], [0.25, 0.9])
    values = prediction_table(units.rename(columns={"logit_0": "prediction"}), found, [])
    assert values["predicted"].to_list() == [0.0, 0.0]
    assert "temperature" not in values
