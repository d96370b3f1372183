"""From splits over cells to tables: what was asked for is trained once, gathered, and told in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.coupling_model import analysis_of, carry_out, cohort_of

from bids_neurossm.cohort.split_table import read_splits
from bids_neurossm.config import ModelSpec
from bids_neurossm.dataset.outputs import GroupOutputs

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two splits of four folds, both altered series, permuted labels, a learning curve."""
    folder = tmp_path_factory.mktemp("evaluation")
    asked = {"controls": ("time-shuffle", "phase-randomisation"), "retrained_nulls": 3, "learning_curve": True}
    analysis = analysis_of(folder, folds=4, repeats=2, holdout=0.25, **asked)
    return {**carry_out(analysis, cohort_of(folder / "cohort"), folder), "analysis": analysis, "folder": folder}


def test_every_split_tests_everybody_once(everything: dict[str, Any]) -> None:
    predictions = everything["predictions"]
    mine = predictions[(predictions["model"] == "coupling") & (predictions["set"] == "development")]
    splits = everything["splits"].set_index("participant_id")
    assert list(splits.columns) == ["group", "label", "set", "fold", "fold_2"]
    assert mine.groupby("split")["participant_id"].nunique().to_list() == [60, 60]
    for split, column in ((1, "fold"), (2, "fold_2")):
        part = mine[mine["split"] == split].set_index("participant_id")
        assert (part["fold"] == splits[column].reindex(part.index)).all()
    assert (splits["fold"] != splits["fold_2"]).any()


def test_intervals_of_the_procedure_count_every_fold_of_every_split(everything: dict[str, Any]) -> None:
    metrics = everything["metrics"]
    overall = metrics[(metrics["model"] == "coupling") & (metrics["fold"] == "all") & (metrics["metric"] == "auc")]
    row, held = (overall[overall["set"] == name].iloc[0] for name in ("development", "holdout"))
    assert row["n_folds"] == 8
    assert row["interval"] == "of the procedure: Nadeau-Bengio over 8 folds"
    assert row["ci_low"] <= row["value"] <= row["ci_high"]
    assert held["interval"].startswith("given these models: bootstrap")
    comparison = everything["comparison"].set_index(["set", "metric"])
    assert comparison.loc[("development", "auc"), "n_folds"] == 8
    assert "means over 2 splits of 4 folds" in " ".join(everything["notes"])


def test_a_model_of_connectivity_is_not_shown_to_use_time(everything: dict[str, Any]) -> None:
    controls = everything["controls"].set_index("control")
    shuffled = controls.loc["time shuffled in training and test, retrained"]
    assert shuffled["observed"] == pytest.approx(shuffled["null_mean"])
    assert "not shown to use the order of the volumes in time" in shuffled["verdict"]
    phases = controls.loc["phases randomised in training and test, retrained"]
    assert phases["observed"] == pytest.approx(phases["null_mean"], abs=1e-3)
    altered = everything["altered_series"]
    assert set(altered["altered"]) == {"time-shuffle", "phase-randomisation"}
    assert set(altered["metric"]) == {"auc", "balanced_accuracy"}


def test_retrained_nulls_state_their_number_and_what_it_can_show(everything: dict[str, Any]) -> None:
    row = everything["controls"].set_index("control").loc["labels permuted within the cohort, model retrained (N = 3)"]
    assert row["p"] == 0.25
    assert "too few nulls to tell: with 3 of them p can not fall below 0.25" in row["verdict"]
    nulls = everything["retrained_nulls"]
    assert nulls["null"].to_list() == [1, 2, 3]
    assert (nulls["value"] < row["observed"]).all()
    assert nulls["value"].nunique() == 3


def test_a_learning_curve_tests_the_same_people_after_training_on_fewer(everything: dict[str, Any]) -> None:
    curve = everything["learning_curve"]
    mine = curve[curve["model"] == "coupling"].set_index("percent")
    assert mine.index.to_list() == [25, 50, 75, 100]
    assert mine["n_training"].to_list() == pytest.approx([11, 22, 34, 45], abs=0.5)
    assert (mine["n_folds"] == 4).all()
    assert mine.loc[100, "value"] > mine.loc[25, "value"] - 0.05
    assert any("Learning curve: from 50 % of the training groups" in note for note in everything["notes"])


def test_probabilities_are_those_of_the_tempered_logits(everything: dict[str, Any]) -> None:
    table = everything["predictions"]
    margin = (table["logit_b"] - table["logit_a"]) / table["temperature"]
    np.testing.assert_allclose(table["probability_b"], 1 / (1 + np.exp(-margin)), rtol=1e-5, atol=1e-7)
    metrics = set(everything["metrics"]["metric"])
    assert {"log_loss", "log_loss_calibrated", "calibration_slope_calibrated", "brier_calibrated"} <= metrics


def test_looks_at_the_holdout_are_counted_by_configuration(everything: dict[str, Any], tmp_path: Path) -> None:
    assert everything["holdout_ledger"]["look"].to_list() == [1]
    sentences = everything["comparison"].set_index("set")["sentence"]
    assert sentences["holdout"].str.contains("First look at a holdout of dx").all()
    assert not sentences["development"].str.contains("look").any()
    cohort = cohort_of(tmp_path / "cohort", 40)
    first = analysis_of(tmp_path, folds=2, holdout=0.25)
    for _ in range(2):  # the same again is no new look
        assert carry_out(first, cohort, tmp_path)["holdout_ledger"]["look"].to_list() == [1]
    other = replace(
        first, outputs=GroupOutputs(tmp_path, "other", {}), model=ModelSpec("majority"), baselines=("coupling",)
    )
    found = carry_out(other, cohort, tmp_path)
    assert found["holdout_ledger"]["look"].to_list() == [2]
    assert any(note.startswith("2nd look at a holdout of dx") for note in found["notes"])


def test_a_further_split_trains_only_its_own_cells(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "cohort", 24)
    once = analysis_of(tmp_path, folds=2, holdout=0.0)
    before = {path: Path(path).stat().st_mtime_ns for path in carry_out(once, cohort, tmp_path)["cells"]}
    after = carry_out(replace(once, evaluation=replace(once.evaluation, repeats=2)), cohort, tmp_path)["cells"]
    assert len(after) == len(before) + 4
    assert all(Path(path).stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_splits_that_are_given_back_are_followed_with_their_resplits(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "cohort", 24)
    first = carry_out(analysis_of(tmp_path, folds=2, repeats=3, holdout=0.0), cohort, tmp_path)
    path = tmp_path / "given.tsv"
    path.write_bytes((tmp_path / "group" / "test" / "splits.tsv").read_bytes())
    assert read_splits(path).repeats == 3
    given = carry_out(
        analysis_of(tmp_path, name="given", folds=2, repeats=3, holdout=0.0, splits=path), cohort, tmp_path
    )
    pd.testing.assert_frame_equal(given["splits"], first["splits"])
    pd.testing.assert_frame_equal(given["metrics"], first["metrics"])
