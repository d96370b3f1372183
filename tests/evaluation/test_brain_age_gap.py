"""Gaps between predicted and true age."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.evaluation.brain_age_gap import FEWEST, age_gaps, age_trend


def units(n: int, pull: float, seed: int = 0, set_name: str = "development") -> pd.DataFrame:
    """People of 20 to 80 years, each predicted `pull` of the way towards 50, with noise of two years."""
    random = np.random.default_rng(seed)
    age = random.uniform(20, 80, n)
    return pd.DataFrame(
        {
            "model": "m", "set": set_name, "split": 1, "fold": np.arange(n) % 5 + 1 if set_name == "development" else 0,
            "participant_id": [f"{set_name}{i}" for i in range(n)], "unit": [f"{set_name}{i}" for i in range(n)],
            "group": "", "site": "", "label": age, "prediction": age - pull * (age - 50) + random.normal(0, 2, n),
        }
    )  # fmt: skip


def test_the_pull_towards_the_mean_is_told_and_taken_off() -> None:
    trend = age_trend(age_gaps(units(400, pull=0.5))).iloc[0]
    assert trend["years_per_year"] == pytest.approx(-0.5, abs=0.02)
    assert trend["r_gap_age"] < -0.95
    assert abs(trend["r_gap_age_corrected"]) < 0.1


def test_a_model_without_the_pull_is_left_as_it_is() -> None:
    gaps = age_gaps(units(400, pull=0.0))
    np.testing.assert_allclose(gaps["gap_corrected"], gaps["gap"], atol=0.8)


def test_a_fold_is_corrected_by_the_others_alone() -> None:
    table = units(100, pull=0.5)
    moved = table.copy()
    first = moved["fold"] == 1
    moved.loc[first, "prediction"] += 10
    before, after = age_gaps(table), age_gaps(moved)
    # What the fold's own predictions are does not change the line that is taken off them.
    np.testing.assert_allclose((after["gap_corrected"] - before["gap_corrected"])[first], 10)


def test_a_holdout_is_corrected_by_the_development_set() -> None:
    table = pd.concat([units(200, 0.5), units(100, 0.5, 1, "holdout")], ignore_index=True)
    trend = age_trend(age_gaps(table)).set_index("set")
    assert abs(trend.loc["holdout", "r_gap_age_corrected"]) < 0.2
    assert trend.loc["holdout", "r_gap_age"] < -0.9


def test_too_few_people_make_no_line() -> None:
    gaps = age_gaps(units(FEWEST, pull=0.5))
    assert gaps["gap_corrected"].isna().all()
    assert gaps["gap"].notna().all()
