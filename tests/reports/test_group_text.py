"""The sentences that lead the page of an analysis."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.evaluation.calibration import temperatures
from bids_neurossm.evaluation.comparison import compare
from bids_neurossm.evaluation.metric_tables import metric_table
from bids_neurossm.reports.group_tables import comparison_table
from bids_neurossm.reports.group_text import headline


def test_the_headline_says_what_is_shown_and_what_is_not() -> None:
    overall = pd.DataFrame([("neurossm", "development", "auc", 0.7, 0.6, 0.8, 60)],
                           columns=["model", "set", "metric", "value", "ci_low", "ci_high", "n"])  # fmt: skip
    comparison = pd.DataFrame(
        [("majority", "auc", 0.2, 0.1, 0.3, 0.001), ("covariates", "auc", 0.1, -0.2, 0.4, 0.4)],
        columns=["baseline", "metric", "difference", "ci_low", "ci_high", "p"],
    )
    controls = pd.DataFrame(
        {"control": ["labels permuted"], "verdict": ["nothing learned: chance does as well (p = 0.3)"]}
    )
    said = headline({"classes": ["a", "b"]}, overall, comparison, controls, "neurossm", "auc")
    assert said == (
        "NeuroSSM tells a from b with AUC 0.700 [0.600, 0.800] (out-of-fold, n = 60 participants). It beats guessing "
        "(majority class) (difference 0.20 [0.10, 0.30]); it can not be told apart from covariates only (difference "
        "0.10 [−0.20, 0.40]). Permutation: nothing learned: chance does as well (p = 0.3)."
    )


def test_headline_table_and_sentence_agree_where_folds_that_are_all_alike_allow_no_test() -> None:
    """Every fold told apart without an error: no spread, so no interval and no test, and nobody says "beats"."""
    people = pd.DataFrame({"unit": [f"sub-{i:02d}" for i in range(20)], "label": ["a", "b"] * 10})
    people = people.assign(set="development", split=1, fold=people.index // 4 + 1, group=people["unit"], site="")
    logits = {"neurossm": (people["label"] == "b") * 2.0 - 1, "majority": 0.0}
    units = pd.concat([people.assign(model=name, logit_0=0.0, logit_1=value) for name, value in logits.items()])
    comparison = compare(units, "neurossm", ["a", "b"], ["auc"]).rename(
        columns={"low": "ci_low", "high": "ci_high", "verdict": "sentence"}
    )
    overall = metric_table(units, temperatures(units, ["a", "b"]), ["a", "b"], resamples=20)
    overall = overall[overall["fold"] == "all"]
    said = headline({"classes": ["a", "b"]}, overall, comparison, None, "neurossm", "auc")
    assert said == (
        "NeuroSSM tells a from b with AUC 1.000 (out-of-fold, n = 20 participants). It is ahead of guessing (majority "
        "class) (difference 0.50, no test)."
    )
    table = comparison_table(comparison, "neurossm")
    assert table is not None
    assert dict(zip(table.header, table.rows[0], strict=True))["The model"] == "is ahead of"
    assert comparison["sentence"].item() == (
        "neurossm is ahead of majority, by 0.500 in each of 5 folds (AUC 1.000 against 0.500): no test, as folds that "
        "are all alike do not say how much the difference would vary."
    )
