"""A model is set against its baselines on the same units, and the table says so in words."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.evaluation.comparison import COLUMNS, compare, ratio_of_test_to_train, verdict
from bids_neurossm.evaluation.intervals import Interval


def units(strengths, n=200, folds=5, set_name="development", seed=0):
    """Logits of several models of the same people; a larger strength is a better model."""
    random = np.random.default_rng(seed)
    label = np.arange(n) % 2
    shared = random.normal(size=n)
    frames = []
    for model, strength in strengths.items():
        value = strength * (2 * label - 1) + 0.7 * shared + 0.7 * random.normal(size=n)
        frames.append(
            pd.DataFrame(
                {
                    "model": model, "set": set_name, "split": 1, "fold": np.arange(n) // 2 % folds + 1 if folds else 0,
                    "unit": [f"sub-{i:03d}" for i in range(n)], "group": [f"sub-{i:03d}" for i in range(n)],
                    "label": np.array(["a", "b"])[label], "site": "", "logit_0": -value, "logit_1": value,
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def one(table, baseline, metric="auc"):
    return table[(table["baseline"] == baseline) & (table["metric"] == metric)].iloc[0]


def test_a_better_an_equal_and_a_worse_model():
    table = compare(units({"m": 0.6, "weak": 0.0, "same": 0.6, "strong": 2.0}), "m", ["a", "b"])
    assert tuple(table.columns) == COLUMNS
    assert one(table, "weak")["verdict"].startswith("m beats weak (AUC ")
    same = one(table, "same")
    assert same["verdict"].startswith("m can not be told apart from same, and so is not shown to beat it (AUC ")
    assert f"95 % interval {same['low']:+.3f} to {same['high']:+.3f}" in same["verdict"]
    assert one(table, "strong")["verdict"].startswith("m is worse than strong (AUC ")
    row = one(table, "weak")
    assert row["difference"] == pytest.approx(row["model_value"] - row["baseline_value"])
    assert row["low"] < row["difference"] < row["high"]
    assert (row["n_folds"], row["n_units"], row["label"]) == (5, 200, "of the procedure")
    assert "Nadeau-Bengio over 5 folds" in row["verdict"]


def test_a_smaller_loss_is_the_better_one():
    table = compare(units({"m": 1.0, "weak": 0.1}), "m", ["a", "b"], ["log_loss"])
    assert table["difference"].iloc[0] < 0
    assert table["verdict"].iloc[0].startswith("m beats weak (log loss")


def test_a_model_against_its_copy_is_no_better():
    table = compare(units({"m": 1.0}), "m", ["a", "b"])
    assert table.empty
    copy = units({"m": 1.0})
    table = compare(pd.concat([copy, copy.assign(model="copy")]), "m", ["a", "b"], ["auc"])
    assert table["difference"].iloc[0] == 0
    assert table["p"].iloc[0] == 1
    assert "can not be told apart" in table["verdict"].iloc[0]


def test_a_holdout_is_judged_by_a_bootstrap_given_these_models():
    table = compare(
        units({"m": 1.0, "weak": 0.0}, folds=0, set_name="holdout"), "m", ["a", "b"], ["auc"], resamples=300
    )
    row = table.iloc[0]
    assert row["label"] == "given these models"
    assert row["verdict"].startswith("m beats weak")
    assert row["low"] > 0


def test_left_out_sites_are_judged_by_sign_flips():
    table = compare(units({"m": 1.0, "weak": 0.1}, folds=8), "m", ["a", "b"], ["auc"], folds_are="sites")
    assert "sign-flip over 8 sites" in table["method"].iloc[0]
    assert table["p"].iloc[0] >= 2 / 256


def test_other_units_or_folds_are_refused():
    both = units({"m": 1.0, "weak": 0.1})
    with pytest.raises(UsageError, match="not scored on the same units"):
        compare(both.iloc[:-1], "m", ["a", "b"])
    moved = both.copy()
    moved.loc[(moved["model"] == "weak") & (moved["unit"] == "sub-000"), "fold"] = 2
    with pytest.raises(UsageError, match="same folds"):
        compare(moved, "m", ["a", "b"])
    with pytest.raises(UsageError, match="no model 'x'"):
        compare(both, "x", ["a", "b"])
    with pytest.raises(UsageError, match="not known"):
        compare(both, "m", ["a", "b"], ["auroc"])
    with pytest.raises(UsageError, match="single fold"):
        compare(both[both["fold"] == 1], "m", ["a", "b"])


def test_an_undefined_metric_is_said_to_be_so():
    table = compare(units({"m": 1.0, "weak": 0.1}).assign(label="a"), "m", ["a", "b"], ["auc"])
    assert "can not be compared" in table["verdict"].iloc[0]


def test_five_equal_folds_test_a_quarter_of_what_they_train_on():
    assert ratio_of_test_to_train(units({"m": 1.0})) == pytest.approx(0.25)


def test_a_large_difference_with_a_wide_interval_is_not_called_none():
    """A model that may be much better or a little worse is not said to lose."""
    found = Interval(0.08, -0.02, 0.18, 0.95, "of the procedure", "Nadeau-Bengio over 5 folds", 0.09, 5)
    said = verdict("m", "b", "balanced_accuracy", 0.70, 0.62, found)
    assert said.startswith("m can not be told apart from b, and so is not shown to beat it (balanced accuracy 0.700")
    assert "-0.020 to +0.180" in said
    few_sites = Interval(0.08, 0.01, 0.15, 0.95, "of the procedure", "sign-flip over 5 sites", 0.0625, 5)
    assert verdict("m", "b", "auc", 0.70, 0.62, few_sites).startswith("m is not shown to differ from b (AUC")
