"""From splits over cells to tables: what was asked for is trained once, gathered, and told in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.analysis import evaluation_tables
from bids_neurossm.analysis.cells import FINAL, Analysis, Cell, CellKey
from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.cohort.splits import read_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.interfaces.cohort import MakeSplits
from bids_neurossm.interfaces.evaluation import Evaluate
from bids_neurossm.interfaces.training import TrainCell
from bids_neurossm.registry import ModelEntry, register_model


def cohort_of(folder: Path, n: int = 80, strength: float = 0.3, sites: int = 1, **columns: Any) -> Cohort:
    """Class "b" couples regions 0 and 1; connectivity tells it, the order of time does not."""
    random = np.random.default_rng(0)
    series = []
    for number in range(n):
        x = random.normal(size=(60, 6))
        coupling = strength * (number % 2)
        x[:, 1] = coupling * x[:, 0] + np.sqrt(1 - coupling**2) * x[:, 1]
        series.append(x)
    runs = pd.DataFrame({"participant_id": [f"sub-{i:02d}" for i in range(n)]}).assign(**columns)
    runs["label"] = np.array(["a", "b"])[np.arange(n) % 2]
    runs["run"] = runs["participant_id"]
    runs["site"] = [f"S{i // 2 % sites}" for i in range(n)]
    names = [f"r{i}" for i in range(6)]
    return Cohort.create(folder, runs, series, names, names, "class", {"target": "dx"})


class Coupling:
    """A model that fits in no time: how much nearer the correlation of two regions is to one class's mean."""

    name = "coupling"

    def _correlation(self, cohort: Cohort, indices: np.ndarray) -> np.ndarray:
        return np.array([np.corrcoef(cohort.raw(int(i))[:, :2].T)[0, 1] for i in indices])

    def fit(self, cohort: Cohort, indices: np.ndarray, seed: int) -> None:
        value, label = self._correlation(cohort, indices), cohort.labels(indices)
        low, high = value[label == 0].mean(), value[label == 1].mean()
        self.middle, self.slope = (low + high) / 2, 6 * (high - low)

    def predict(self, cohort: Cohort, indices: np.ndarray) -> np.ndarray:
        margin = self.slope * (self._correlation(cohort, indices) - self.middle)
        return np.column_stack([-margin / 2, margin / 2])

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a model")


def create(*_: Any) -> Coupling:
    """Make it, as the registry asks."""
    return Coupling()


register_model("coupling", ModelEntry(f"{__name__}:create", "coupling", by_recipe=False))


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """Bootstraps, permutations and probes have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_tables, "RESAMPLES", 20)
        patch.setattr(evaluation_tables, "PERMUTATIONS", 20)
        patch.setattr(evaluation_tables, "probes", lambda *_, **__: pd.DataFrame())
        yield


def analysis_of(folder: Path, model: str = "coupling", name: str = "test", **evaluation: Any) -> Analysis:
    return Analysis(
        outputs=GroupOutputs(folder, name, {}),
        level="participant",
        model=ModelSpec(model),
        baselines=("majority",),
        training=Training(),
        evaluation=Evaluation("dx", **evaluation),
        execution=Execution(),
        attribution=Attribution(cpa=False),
        reference=Reference(),
    )


def carry_out(analysis: Analysis, cohort: Cohort, scratch: Path) -> dict[str, Any]:
    """Do what the nodes of the workflow do, without Nipype's processes."""
    common = {"analysis": analysis, "records": str(scratch / "records"), "cohort": str(cohort.folder)}
    split = MakeSplits(unit="splits", **common)
    split._work(scratch)
    cells = []
    for key in cells_of(analysis):
        cell = TrainCell(unit="cell", key=key, splits=split._results["splits"], **common)
        cell._work(scratch)
        cells.append(cell._results["cell"])
    evaluate = Evaluate(unit="evaluation", cells=cells, splits=split._results["splits"], **common)
    evaluate._work(scratch)
    tables = {path.stem: read(path) for path in analysis.outputs.folder.glob("*.tsv")}
    return {**tables, "notes": [*split._results["notes"], *evaluate._results["notes"]], "cells": cells}


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a")


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


def test_the_grid_of_cells_is_what_was_asked_for(tmp_path: Path) -> None:
    analysis = analysis_of(tmp_path, "neurossm", folds=2, seeds=3, repeats=2, retrained_nulls=2, learning_curve=True)
    analysis = replace(analysis, baselines=("majority", "mean-pooled-mlp"))
    keys = cells_of(analysis)
    count = pd.Series([(key.model, key.variant.split("-")[0]) for key in keys]).value_counts()
    assert count[("neurossm", "")] == 2 * 2 * 3 + 1
    assert count[("mean-pooled-mlp", "")] == 2 * 2 * 3 + 1
    assert count[("majority", "")] == 2 * 2 + 1
    assert count[("neurossm", "null")] == 2 * 2
    assert count[("majority", "trained")] == 3 * 2
    assert len({analysis.cell_file(key) for key in keys}) == len(keys)
    one = replace(analysis, evaluation=replace(analysis.evaluation, only_fold=2, only_seed=2))
    assert {(key.fold, key.seed) for key in cells_of(one)} == {(2, 2)}
    assert {key.model for key in cells_of(one)} == {"neurossm", "mean-pooled-mlp"}
    assert analysis.keeps_model(CellKey("neurossm", FINAL, 1))
    assert not analysis.keeps_model(CellKey("neurossm", 1, 1, 2))
    assert not analysis.keeps_model(CellKey("neurossm", 1, 1, 1, "time-shuffle"))


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
