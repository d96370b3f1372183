"""From trained cells to maps with checks: every number of an image stands in a table, and every map has a verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers.grayordinates import brain_models, striped, write_labels

from bids_neurossm.analysis.cells import ATTRIBUTION_FIELDS, Analysis, Cell, CellKey
from bids_neurossm.analysis.held_out import held_out_attributions
from bids_neurossm.analysis.map_checks import PARTICIPANTS_PER_CLASS, check_run
from bids_neurossm.atlas import load_parcellation
from bids_neurossm.cohort.split_table import write_splits
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.interfaces.maps import WriteMaps
from bids_neurossm.interfaces.training import TrainCell

N, T, R = 24, 48, 11
NAMES = {label: f"LH_Vis_{label}" for label in range(1, 11)} | {11: "Thalamus_L"}
STEM = "space-fsLR_atlas-Mine_scale-11_den-91k"


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a")


@pytest.fixture(scope="module")
def continuous(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The speed of region 3 is the target; two folds, two seeds, an atlas on grayordinates, labels not learned."""
    folder = tmp_path_factory.mktemp("continuous")
    random = np.random.default_rng(0)
    target = np.linspace(-1, 1, N)
    series = []
    for value in target:
        run = random.standard_normal((T, R))
        run[:, 3] += 2 * np.sin(2 * np.pi * np.arange(T) / (12 - 8 * (value + 1) / 2) + random.uniform(0, 6))
        series.append(run)
    runs = pd.DataFrame({"run": [f"{i:02d}" for i in range(N)], "participant_id": [f"{i:02d}" for i in range(N)]})
    names = list(NAMES.values())
    cohort = Cohort.create(folder / "cohort", runs.assign(label=target), series, names, ["n/a"] * R, "continuous")
    settings = {"width": 8, "state": 4, "scales": (1, 2), "dropout": 0.0, "region_dropout": 0.0}
    analysis = Analysis(
        outputs=GroupOutputs(folder, "test", {"space": "fsLR", "atlas": "Mine", "scale": "11", "den": "91k"}),
        level="participant",
        model=ModelSpec("neurossm", "demo", settings),
        baselines=(),
        training=Training(epochs=12, batch_size=6, learning_rate=0.01),
        evaluation=Evaluation("age", folds=2, seeds=2),
        execution=Execution(device="cpu"),
        attribution=Attribution(),
        reference=Reference(),
    )
    splits = folder / "splits.tsv"
    write_splits(make_splits(cohort.runs, [], "continuous", 2, 0.0, "group", 1), splits)
    common = {"analysis": analysis, "records": str(folder / "records"), "cohort": str(cohort.folder)}
    cells = []
    for key in (CellKey("neurossm", fold, seed) for fold in (1, 2) for seed in (1, 2)):
        cell = TrainCell(unit="cell", key=key, splits=str(splits), **common)
        cell._work(folder)
        cells.append(cell._results["cell"])
    axis = brain_models()
    image = write_labels(folder / "atlas-Mine_dseg.dlabel.nii", striped(axis, 10), NAMES, axis)
    controls = folder / "controls.tsv"
    controls.write_text("control\tp\nlabels permuted within folds, given these models\t0.4\n")
    maps = WriteMaps(
        unit="maps", cells=cells, parcellation=load_parcellation(image, "fsLR"), controls=str(controls), **common
    )
    maps._work(folder)
    return {
        **{"analysis": analysis, "cohort": cohort, "cells": [Cell.load(Path(path)) for path in cells]},
        **{"out": analysis.outputs.folder, "notes": maps._results["notes"], "maps": maps, "folder": folder},
    }


def test_all_that_the_method_defines_is_kept_with_a_cell(continuous: dict[str, Any]) -> None:
    for cell in continuous["cells"]:
        assert {*ATTRIBUTION_FIELDS, "pathways"} == set(cell.attribution)
        n, pathways = cell.indices.size, len(cell.attribution["pathways"])
        assert cell.attribution["importance"].shape == (n, pathways)
        assert cell.attribution["score"].shape == cell.attribution["share"].shape == (n, pathways, R)


def test_a_continuous_target_is_explained_in_the_direction_of_the_truth(continuous: dict[str, Any]) -> None:
    cohort: Cohort = continuous["cohort"]
    for cell in continuous["cells"]:
        labels = cohort.labels(cell.indices)
        rest = cohort.labels(np.setdiff1d(np.arange(N), cell.indices)).mean()
        np.testing.assert_array_equal(cell.attribution["target"], np.where(labels < rest, -1, 1))
        # The logit is the deviation of the prediction in that direction, in standard deviations of the training set.
        sign = np.sign(cell.scores[:, 0] - rest) * cell.attribution["target"]
        np.testing.assert_array_equal(np.sign(cell.attribution["logit"]), sign)
    found = held_out_attributions(continuous["cells"])
    assert found is not None
    np.testing.assert_array_equal(found.correct, found.logit > 0)


def test_every_number_of_a_map_can_be_traced_through_the_tables(continuous: dict[str, Any]) -> None:
    regions = read(continuous["out"] / "space-fsLR_atlas-Mine_scale-11_den-91k_stat-cpa_regions.tsv")
    pathways = read(continuous["out"] / f"{STEM}_stat-cpa_pathways.tsv").set_index("pathway")
    positive = pathways["importance"].clip(lower=0)
    np.testing.assert_allclose(pathways["weight"], positive / positive.sum(), rtol=1e-6)
    shares = regions[list(pathways.index)]
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose((shares * pathways["weight"]).sum(axis=1), regions["importance"], rtol=1e-6)
    found = held_out_attributions(continuous["cells"])
    assert found is not None
    np.testing.assert_allclose(found.importance.mean(axis=0), pathways["importance"], rtol=1e-6)
    image = nib.load(continuous["out"] / f"{STEM}_stat-cpa_boldmap.dscalar.nii")
    labels = striped(image.header.get_axis(1), 10)
    for row in regions.itertuples():
        np.testing.assert_allclose(np.unique(image.get_fdata()[0][labels == row.index]), [row.importance], rtol=1e-6)
    mask = nib.load(continuous["out"] / f"{STEM}_stat-cpa_desc-top25_mask.dscalar.nii").get_fdata()[0]
    assert sorted(np.unique(labels[mask > 0])) == sorted(regions["index"][regions["top25"] == 1])


def test_the_region_that_carries_the_target_ranks_first(continuous: dict[str, Any]) -> None:
    regions = read(continuous["out"] / f"{STEM}_stat-cpa_regions.tsv")
    assert regions["importance"].idxmax() == 3


def test_each_map_has_its_checks_and_a_verdict_in_words(continuous: dict[str, Any]) -> None:
    checks = read(continuous["out"] / "cpa_checks.tsv").set_index("check")
    assert checks.loc["completeness over pathways", "value"] <= 1e-5
    assert checks.loc["completeness over pathways", "verdict"].startswith("passed: ")
    for over in ("folds", "seeds"):
        assert -1 <= checks.loc[f"agreement over {over} (mean correlation)", "value"] <= 1
    deletion = checks.loc["deletion of top regions against random ones (area)"]
    assert 1 / 21 <= deletion["p"] <= 1
    # One run of each participant, up to the number that is stated.
    assert deletion["n"] == PARTICIPANTS_PER_CLASS < N
    curve = read(continuous["out"] / "cpa_deletion.tsv")
    assert curve["fraction"].tolist() == [0, 0.05, 0.1, 0.25, 0.5, 0.75]
    assert deletion["value"] == pytest.approx((curve["random_mean"] - curve["map"]).mean(), rel=1e-6)
    assert np.isfinite(checks.loc["agreement with maps of random weights", "value"])
    verdict = checks.loc["verdict (p of permuted labels)"]
    assert verdict["p"] == 0.4
    assert verdict["verdict"].startswith("failed: nothing learned")
    assert any("Map of discriminative: failed: nothing learned" in note for note in continuous["notes"])


def test_surfaces_are_written_beside(continuous: dict[str, Any]) -> None:
    name = "hemi-L_space-fsLR_atlas-Mine_scale-11_den-32k_stat-cpa_boldmap"
    sidecar = json.loads((continuous["out"] / f"{name}.json").read_text())
    assert (sidecar["RegionsWithoutVertex"], sidecar["Class"]) == (1, "discriminative")
    assert (continuous["out"] / f"{name}.func.gii").is_file()
    assert any("have no vertex on the surface" in note for note in continuous["notes"])


def test_one_run_is_checked_where_a_checkpoint_is_applied(continuous: dict[str, Any]) -> None:
    estimator = load_trained(continuous["analysis"].checkpoint_file(1, 1), Execution(device="cpu"))
    cohort: Cohort = continuous["cohort"]
    found = estimator.attribute(cohort, np.array([0]))
    score = found.share[0].mean(axis=0)
    complete, deletion = check_run(estimator, cohort, found, score)
    assert complete.passed
    assert 1 / 21 <= deletion.p <= 1
    assert [each.check for each in check_run(estimator, cohort, found, np.full(R, np.nan))] == [complete.check]


def test_a_map_without_a_positive_importance_is_nan_and_said_to_be_none(continuous: dict[str, Any]) -> None:
    folder = continuous["folder"] / "negative"
    paths = []
    for number, cell in enumerate(continuous["cells"]):
        cell.attribution["importance"] = -np.abs(cell.attribution["importance"])
        paths.append(str(folder / f"{number}.npz"))
        cell.save(Path(paths[-1]))
    maps = continuous["maps"]
    maps.inputs.cells = paths
    maps._work(continuous["folder"])
    assert any("is not defined: no pathway has a positive importance" in note for note in maps._results["notes"])
    image = nib.load(continuous["out"] / f"{STEM}_stat-cpa_boldmap.dscalar.nii")
    assert np.isnan(image.get_fdata()).all()
    assert json.loads((continuous["out"] / f"{STEM}_stat-cpa_boldmap.json").read_text())["Defined"] is False
    checks = read(continuous["out"] / "cpa_checks.tsv")
    assert not checks["check"].str.startswith("deletion").any()
    pathways = read(continuous["out"] / f"{STEM}_stat-cpa_pathways.tsv")
    assert pathways["weight"].isna().all()
