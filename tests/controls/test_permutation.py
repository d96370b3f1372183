"""Permuted labels find chance where it is, and do not where it is not."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.controls.permutation import COLUMNS, label_permutation
from bids_neurossm.errors import UsageError


def units(strength, n=120, seed=0, sites=1, site_effect=0.0):
    random = np.random.default_rng(seed)
    site = np.arange(n) % sites
    label = (random.random(n) < 0.5 + site_effect * (2 * site / max(sites - 1, 1) - 1)).astype(int)
    value = strength * label + random.normal(size=n) * 0.5 + 3 * site_effect * site
    return pd.DataFrame(
        {
            "model": "m", "set": "development", "split": 1, "fold": np.arange(n) // sites % 5 + 1,
            "participant_id": [f"sub-{i}" for i in range(n)], "group": [f"sub-{i}" for i in range(n)],
            "unit": [f"sub-{i}" for i in range(n)], "site": [f"s{i}" for i in site] if sites > 1 else "",
            "label": np.array(["a", "b"])[label], "logit_0": 0.0, "logit_1": value,
        }
    )  # fmt: skip


def test_a_real_prediction_beats_permuted_labels():
    row = label_permutation(units(1.0), ["a", "b"], "participant", permutations=199).iloc[0]
    assert tuple(row.index) == COLUMNS
    assert row["p"] == pytest.approx(1 / 200)
    assert row["null_mean"] == pytest.approx(0.5, abs=0.03)
    assert row["null_mean"] < row["null_q95"] < row["observed"]
    assert row["n"] == 199
    assert "better than chance" in row["verdict"]


def test_chance_is_called_nothing_learned_and_its_p_is_uniform():
    found = [
        label_permutation(units(0.0, seed=i), ["a", "b"], "participant", permutations=99, seed=i).iloc[0]
        for i in range(60)
    ]
    p = np.array([row["p"] for row in found])
    assert np.mean(p < 0.05) < 0.15
    assert 0.35 < p.mean() < 0.65
    quiet = next(row for row in found if row["p"] > 0.5)
    assert "nothing learned" in quiet["verdict"]


def test_what_is_known_from_the_site_alone_is_not_counted():
    """Two sites of 90 and 10 percent patients, scores that know the site only."""
    table = units(0.0, n=400, sites=2, site_effect=0.4)
    within = label_permutation(table, ["a", "b"], "participant", permutations=199).iloc[0]
    blind = label_permutation(table.assign(site=""), ["a", "b"], "participant", permutations=199).iloc[0]
    assert blind["p"] < 0.01
    assert within["p"] > 0.05
    assert within["null_mean"] > 0.7


def test_labels_of_runs_are_permuted_within_their_participant():
    table = units(0.0, n=200).sort_values("unit", ignore_index=True)
    table["participant_id"] = [f"sub-{i // 4}" for i in range(200)]
    table["fold"] = np.arange(200) // 4 % 5 + 1
    table["label"] = ["a", "a", "b", "b"] * 50
    table["logit_1"] = [-0.2, -0.1, 0.1, 0.2] * 50
    row = label_permutation(table, ["a", "b"], "run", permutations=99).iloc[0]
    assert (row["metric"], row["observed"], row["p"]) == ("balanced_accuracy", 1.0, 0.01)
    assert "within participants" in row["control"]
    whole = table.assign(label=["a", "a", "a", "a", "b", "b", "b", "b"] * 25)
    stuck = label_permutation(whole, ["a", "b"], "run", permutations=99).iloc[0]
    assert stuck["p"] == 1.0
    assert "can not be tested" in stuck["verdict"]


def test_the_null_is_widened_for_folds_that_share_training_data_and_not_for_a_holdout():
    crossed = label_permutation(units(0.3), ["a", "b"], "participant", permutations=199).iloc[0]
    held = label_permutation(units(0.3).assign(set="holdout"), ["a", "b"], "participant", permutations=199).iloc[0]
    spread = (crossed["null_q95"] - crossed["null_mean"]) / (held["null_q95"] - held["null_mean"])
    assert spread == pytest.approx(1.5, abs=0.01)
    assert "widened 1.50-fold" in crossed["control"]
    assert "widened" not in held["control"]


def test_a_smaller_loss_counts_as_better():
    row = label_permutation(units(1.5), ["a", "b"], "participant", "log_loss", permutations=99).iloc[0]
    assert row["p"] == 0.01
    assert row["observed"] < row["null_q95"] < row["null_mean"]


def test_a_continuous_target_is_judged_by_r():
    table = units(0.0).drop(columns=["logit_0", "logit_1"])
    table["label"] = np.random.default_rng(1).normal(size=120)
    table["prediction"] = table["label"] + np.random.default_rng(2).normal(size=120)
    row = label_permutation(table, [], "participant", permutations=99).iloc[0]
    assert (row["metric"], row["p"]) == ("r", 0.01)


def test_one_model_at_a_time():
    with pytest.raises(UsageError, match="one model"):
        label_permutation(pd.concat([units(1.0), units(1.0).assign(model="x")]), ["a", "b"], "participant")
