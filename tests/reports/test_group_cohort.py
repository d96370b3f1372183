"""Tables of who was in an analysis, and of scores by fold and site."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.reports.group_cohort import cohort_tables, fold_table, site_table


def test_runs_of_two_labels_are_counted_under_both_and_people_once() -> None:
    splits = pd.DataFrame(
        {"participant_id": ["1", "2", "3"], "label": ["flanker, nback", "flanker", "flanker, nback"]}
    ).assign(set=["development", "development", "holdout"])
    summary = {"classes": ["flanker", "nback"], "class_counts": {"flanker": 4, "nback": 2}, "scored": "run"}
    table = cohort_tables(summary, splits, None, None)["sets"]
    assert table.header == ("Label", "Out-of-fold", "Holdout", "Runs")
    assert table.rows == (("flanker", "2", "1", "4"), ("nback", "1", "1", "2"), ("all", "2", "1", "6"))


def test_scores_are_told_by_fold_and_by_site() -> None:
    rows = [(model, "development", fold, "auc", value, 10) for model, value in (("neurossm", 0.8), ("majority", 0.5))
            for fold in ("1", "2", "10")]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["model", "set", "fold", "metric", "value", "n"])
    table = fold_table(metrics, "neurossm", "development", ["auc"])
    assert table is not None
    assert [row[0] for row in table.rows] == ["1", "2", "10"]
    assert table.rows[0] == ("1", "10", "0.80", "0.50")
    units = pd.DataFrame(
        {"site": ["A", "A", "B", "B"], "label": ["x", "y", "x", "x"], "predicted": ["x", "x", "x", "y"]}
    )
    sites = site_table(units, ["x", "y"])
    assert sites is not None
    # Site B has one class only, so balanced accuracy is not defined there.
    assert sites.rows == (("A", "2", "0.50", "0.50"), ("B", "2", "0.50", "–"))
