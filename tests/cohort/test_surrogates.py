"""Altered cohorts lose what they are meant to lose, and nothing else; gaps stay gaps."""

import numpy as np
import pandas as pd
import pytest
from helpers.autocorrelated import cohort, series_of

from bids_neurossm.cohort.surrogates import (
    altered,
    nested_part,
    permuted_labels,
    phase_randomised,
    time_shuffled,
)
from bids_neurossm.errors import UsageError

SEGMENTS = [(0, 40), (45, 60), (60, 101)]


def kept(values):
    return np.concatenate([values[start:stop] for start, stop in SEGMENTS])


def lagged(values, lag):
    """Circular covariances at a lag, segment by segment."""
    total = 0
    for start, stop in SEGMENTS:
        part = values[start:stop] - values[start:stop].mean(axis=0)
        total = total + part.T @ np.roll(part, lag, axis=0)
    return total


def test_shuffled_volumes_are_the_same_volumes_and_censored_ones_stay_outside():
    values = series_of()
    shuffled = time_shuffled(values, SEGMENTS, np.random.default_rng(1))
    assert (shuffled[40:45] == 1e6).all()
    order = np.lexsort(kept(values).T), np.lexsort(kept(shuffled).T)
    np.testing.assert_array_equal(kept(values)[order[0]], kept(shuffled)[order[1]])
    np.testing.assert_allclose(np.corrcoef(kept(shuffled).T), np.corrcoef(kept(values).T), rtol=1e-5)
    # Neighbours no longer resemble each other.
    assert np.abs(np.diff(shuffled[:40, 0])).mean() > 2 * np.abs(np.diff(values[:40, 0])).mean()


def test_randomised_phases_keep_every_lagged_covariance_and_every_mean_of_a_segment():
    values = series_of()
    changed = phase_randomised(values, SEGMENTS, np.random.default_rng(1))
    assert (changed[40:45] == 1e6).all()
    for lag in (0, 1, 5):
        np.testing.assert_allclose(lagged(changed, lag), lagged(values, lag), rtol=2e-3, atol=0.5)
    for start, stop in SEGMENTS:
        np.testing.assert_allclose(changed[start:stop].mean(axis=0), values[start:stop].mean(axis=0), atol=1e-4)
        assert np.abs(np.corrcoef(changed[start:stop, 0], values[start:stop, 0])[0, 1]) < 0.99


def test_a_region_without_signal_stays_without_and_short_segments_are_no_trouble():
    values = series_of()
    values[:, 2] = np.nan
    for change in (time_shuffled, phase_randomised):
        changed = change(values, [(0, 1), (1, 3), (3, 101)], np.random.default_rng(0))
        assert np.isnan(changed[:, 2]).all()
        assert np.isfinite(changed[:, [0, 1, 3]]).all()
        np.testing.assert_array_equal(changed[0, :2], values[0, :2]) if change is phase_randomised else None


def test_an_altered_cohort_is_the_same_at_every_reading_and_tells_itself_apart(tmp_path):
    whole = cohort(tmp_path)
    for variant in ("time-shuffle", "phase-randomisation"):
        one, again, other = (altered(whole, variant, "participant", seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.raw(3), one.raw(3))
        np.testing.assert_array_equal(one.raw(3), again.raw(3))
        assert (one.raw(3) != other.raw(3)).any()
        assert (one.raw(3) != whole.raw(3)).any()
        assert len({whole.hash, one.hash, other.hash}) == 3
        assert one.standardised(3)[:40].std() > 0
        np.testing.assert_array_equal(one.labels([0, 2]), whole.labels([0, 2]))
    assert altered(whole, "", "participant", 1) is whole
    assert altered(whole, "trained-on-50", "participant", 1) is whole
    with pytest.raises(UsageError, match="not known"):
        altered(whole, "upside-down", "participant", 1)


def test_labels_move_as_whole_participants_within_their_site(tmp_path):
    runs = pd.concat([cohort(tmp_path).runs] * 10, ignore_index=True)
    runs["participant_id"] = [f"s{i // 2:02d}" for i in range(120)]
    runs["site"] = np.where(np.arange(120) < 80, "A", "B")
    moved = permuted_labels(runs, "participant", np.random.default_rng(0))
    assert (moved.groupby("participant_id")["label"].nunique() == 1).all()
    pd.testing.assert_frame_equal(pd.crosstab(moved["site"], moved["label"]), pd.crosstab(runs["site"], runs["label"]))
    assert 0.3 < (moved["label"] != runs["label"]).mean() < 0.7
    tasks = runs.assign(label=["a", "b"] * 60)
    inside = permuted_labels(tasks, "run", np.random.default_rng(0))
    assert (inside.groupby("participant_id")["label"].nunique() == 2).all()
    assert 0.3 < (inside["label"] != tasks["label"]).mean() < 0.7


def test_a_permuted_cohort_trains_and_tests_on_the_permuted_labels(tmp_path):
    whole = cohort(tmp_path)
    nulls = [altered(whole, f"null-{k}", "participant", 3) for k in (1, 2, 3, 4)]
    assert len({tuple(each.labels(np.arange(12))) for each in nulls}) > 1
    assert len({each.hash for each in nulls}) == 4
    np.testing.assert_array_equal(nulls[0].raw(0), whole.raw(0))


def test_smaller_parts_of_a_training_set_lie_inside_larger_ones_and_keep_the_balance():
    runs = pd.DataFrame({"participant_id": [f"s{i // 2:03d}" for i in range(200)]})
    runs["group"] = runs["participant_id"]
    runs["label"] = np.where(np.arange(200) // 2 % 5 == 0, "rare", "common")
    parts = {percent: nested_part(runs, percent, "class", seed=4) for percent in (25, 50, 75, 100)}
    assert [len(parts[p]) for p in (25, 50, 75, 100)] == [50, 100, 150, 200]
    for smaller, larger in ((25, 50), (50, 75), (75, 100)):
        assert set(parts[smaller]) <= set(parts[larger])
    for part in parts.values():
        assert runs.iloc[part].groupby("participant_id").size().unique().tolist() == [2]
        assert (runs.iloc[part]["label"] == "rare").mean() == pytest.approx(0.2, abs=0.03)
    numbers = runs.assign(label=np.arange(200.0))
    some = numbers.iloc[nested_part(numbers, 25, "continuous", seed=4)]["label"]
    assert some.mean() == pytest.approx(100, abs=12)
