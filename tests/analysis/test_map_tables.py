"""Every number of a map stands in a table: one row per class and region, one per class and term."""

import numpy as np
import pandas as pd
import pytest
from helpers.held_out_cells import PATHWAYS, cell

from bids_neurossm.analysis.held_out import held_out_attributions
from bids_neurossm.analysis.map_tables import REGION_COLUMNS, pathway_table, region_table
from bids_neurossm.attribution.maps import class_maps
from bids_neurossm.cohort.store import Cohort

NAMES = ["a", "b", "c", "d"]
LABELS = ["control", "patient"] * 2
IMPORTANCE = np.array([[3.0, 1.0], [1.0, -1.0]] * 2)
SHARE = np.array([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]] * 4)


@pytest.fixture
def cohort(tmp_path):
    runs = pd.DataFrame({"run": NAMES, "participant_id": NAMES, "label": LABELS})
    series = np.random.default_rng(0).normal(size=(4, 9, 3))
    return Cohort.create(tmp_path, runs, series, list("pqr"), ["visual", "motor", "n/a"], "class")


def maps_of(rows):
    labels = [LABELS[row] for row in rows]
    present = sorted(set(labels))
    return class_maps(IMPORTANCE[rows], SHARE[rows], [NAMES[row] for row in rows], labels, present, 20)


def test_a_score_is_the_weighted_sum_of_the_shares_in_its_row(cohort):
    table = region_table(maps_of([0, 1, 2, 3]), maps_of([0, 2]), None, cohort, [11, 12, 13], PATHWAYS)
    assert table["label"].to_list() == ["discriminative"] * 3 + ["control"] * 3 + ["patient"] * 3
    control = table[table["label"] == "control"]
    assert control["index"].to_list() == [11, 12, 13]
    assert control["name"].to_list() == ["p", "q", "r"]
    assert control["network"].to_list() == ["visual", "motor", "n/a"]
    assert control["raw-1"].to_list() == [0.5, 0.5, 0.0]
    assert control["difference-2"].to_list() == [0.0, 0.0, 1.0]
    assert control["importance"].to_list() == [0.375, 0.375, 0.25]  # weights 3/4 and 1/4
    assert control["importance_correct"].to_list() == [0.375, 0.375, 0.25]
    assert control["dominant_pathway"].to_list() == ["raw-1", "raw-1", "difference-2"]
    patient = table[table["label"] == "patient"]
    assert patient["importance"].to_list() == [0.5, 0.5, 0.0]  # the second pathway speaks against
    assert patient["importance_correct"].isna().all()
    assert table[["reference", "reference_top25", "product"]].isna().all(axis=None)
    assert set(REGION_COLUMNS) <= set(table.columns)


def test_terms_without_a_map_have_an_importance_and_nothing_else(cohort):
    found = held_out_attributions(
        [cell([0, 1, 2, 3], np.zeros((4, 2)), IMPORTANCE, SHARE, static=[1.0, 2.0, 3.0, 4.0])]
    )
    table = pathway_table(maps_of([0, 1, 2, 3]), found, cohort, seed=0).set_index(["label", "pathway"])
    assert table.loc["control"].index.to_list() == ["raw-1", "difference-2", "static"]
    assert table.loc[("control", "difference-2"), ["stream", "scale"]].to_list() == ["difference", "2"]
    assert table.loc["control", "weight"].to_list()[:2] == [0.75, 0.25]
    assert table.loc["patient", "importance"].to_list() == [1.0, -1.0, 3.0]
    assert table.loc[("discriminative", "static"), "importance"] == 2.5
    assert table.loc[("control", "static"), "importance"] == 2.0
    assert pd.isna(table.loc[("control", "static"), "weight"])
    assert table.loc["control", "n"].to_list() == [2, 2, 2]
