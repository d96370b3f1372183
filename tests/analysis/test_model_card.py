"""The card of the final model repeats what the tables say."""

import numpy as np
import pandas as pd

from bids_neurossm.analysis.model_card import model_card

SUMMARY = {
    "analysis": "dx", "model": "neurossm", "target": "diagnosis", "n_regions": 400, "n_runs": 60, "n_participants": 55,
    "holdout": 11, "classes": ["AD", "control"], "atlas": "Schaefer400", "strategy": "", "notes": ["One split only."],
    "methods": "As described.",
}  # fmt: skip


def test_the_card_has_overall_figures_of_its_model_with_an_interval_and_no_others():
    rows = [
        ("neurossm", "development", "all", "auc", 0.7, 0.6, 0.8),
        ("neurossm", "development", "1", "auc", 0.9, 0.8, 1.0),
        ("neurossm", "holdout", "0", "auc", 0.65, 0.5, 0.8),
        ("neurossm", "development", "all", "f1", 0.5, np.nan, np.nan),
        ("majority", "development", "all", "auc", 0.5, 0.4, 0.6),
    ]
    metrics = pd.DataFrame(rows, columns=["model", "set", "fold", "metric", "value", "ci_low", "ci_high"])
    comparison = pd.DataFrame({"sentence": ["neurossm is better than majority.", None]})
    controls = pd.DataFrame({"control": ["probe: site"], "verdict": ["nothing found"]})
    assert model_card(SUMMARY, metrics, comparison, controls).splitlines() == [
        "# dx",
        "",
        "neurossm that predicts diagnosis from 400 regional series.",
        "",
        "- Trained on 60 runs of 55 participants, less 11 participants held out.",
        "- Classes: AD, control.",
        "- Atlas: Schaefer400; denoising: not stated.",
        "",
        "## Performance on data that the judged model never saw",
        "",
        "| set | metric | value | 95 % interval |",
        "|---|---|---|---|",
        "| development | auc | 0.700 | 0.600 to 0.800 |",
        "| holdout | auc | 0.650 | 0.500 to 0.800 |",
        "",
        "## Against baselines",
        "",
        "- neurossm is better than majority.",
        "",
        "## Controls",
        "",
        "- probe: site: nothing found",
        "",
        "## Limits",
        "",
        "- One split only.",
        "",
        "## Methods",
        "",
        "As described.",
    ]


def test_a_continuous_target_has_no_classes():
    empty = pd.DataFrame(columns=["model", "set", "fold", "metric", "value", "ci_low", "ci_high"])
    summary = {**SUMMARY, "classes": [], "holdout": 0}
    card = model_card(summary, empty, pd.DataFrame({"sentence": []}), pd.DataFrame(columns=["control", "verdict"]))
    assert "- Classes: a continuous value." in card.splitlines()
    assert "- Trained on 60 runs of 55 participants." in card.splitlines()
