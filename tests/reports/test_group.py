"""The page of an analysis."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.reported import Page

from bids_neurossm.errors import RunError
from bids_neurossm.reports.group import write_group_report


def test_the_group_page_leads_with_the_result_and_its_comparison(three_classes: Page) -> None:
    text = three_classes.text
    assert text.index("no better than tangent connectivity") < text.index("Cohort and exclusions")
    assert "0.81 [0.76, 0.86]" in text
    assert "order of time adds nothing that can be shown" in text
    assert "too few volumes" in text
    assert "3e−07" in text
    assert "Precentral Gyrus $M_1$" in text
    assert "n = 48 regions" in text
    # Models, differences, ROC, confusion, calibration, learning curve, controls, pathways, reference matrix,
    # deletion; four maps for each of three classes, on the cortex and in slices.
    assert len(three_classes.images) == 10 + 4 * 2 * 3
    # Everything that lay in the folder has its place.
    for said in ("My own scores", "Looks at the holdout", "Edges", "Site by site", "Fold by fold", "trained on people"):
        assert said in text
    # What the checks come to stands above the maps.
    assert text.index("discriminative: nothing learned") < text.index("Glass brain and slices")


def test_two_classes_have_one_discriminative_map(two_hostile_classes: Page) -> None:
    assert two_hostile_classes.text.count("Glass brain and slices: ") == 1
    assert "Glass brain and slices: Discriminative map" in two_hostile_classes.text
    assert "there is one discriminative map" in two_hostile_classes.text
    # A single contrast against the reference is a table, no matrix.
    assert len(two_hostile_classes.images) == 9 + 4 * 2


def test_a_continuous_target_gets_a_scatter_and_a_sentence_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "group" / "age"
    folder.mkdir(parents=True)
    truth = np.linspace(20, 70, 40)
    rows = {
        "model": "neurossm", "set": ["development"] * 40, "fold": "1",
        "participant_id": [f"sub-{i}" for i in range(40)], "unit": "participant",
        "label": truth, "predicted": truth + 5,
    }  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "predictions.tsv", sep="\t", index=False)
    metric = {"model": ["neurossm"], "set": "development", "fold": "all", "metric": "r", "value": 1.0}
    metric |= {"ci_low": 0.9, "ci_high": 1.0, "interval": "given these models", "n": 40}
    pd.DataFrame(metric).to_csv(folder / "metrics.tsv", sep="\t", index=False)
    (folder / "summary.json").write_text(
        json.dumps({"target": "age", "target_type": "continuous", "model": "neurossm"})
    )
    page = Page(write_group_report(tmp_path, "age"))
    assert (
        "NeuroSSM predicts age with correlation r 1.000 [0.900, 1.000] (out-of-fold, n = 40 participants)." in page.text
    )
    assert "n = 40 out-of-fold participants; r over all points = 1" in page.text
    assert any("Scatter of predicted against true age" in str(image["alt"]) for image in page.images)


@pytest.mark.parametrize("name", ["metrics.tsv", "summary.json", "a_label-X_stat-cpa_boldmap.nii.gz"])
def test_a_damaged_file_is_named_and_never_passed_over(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "group" / "dx"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(RunError, match=re.escape(name)):
        write_group_report(tmp_path, "dx")
    assert not (tmp_path / "group_dx.html").exists()
