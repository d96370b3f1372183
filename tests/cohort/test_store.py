"""The cohort store keeps what it was given, says what does not fit, and reads back the same."""

import json

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.store import Cohort, standardise
from bids_neurossm.errors import LabelError, NoInputError, RunError, UsageError


def _series(lengths, n_regions=3, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(500, 20, (length, n_regions)) for length in lengths]


def _runs(**columns):
    table = {"run": ["sub-01_bold", "sub-02_bold", "sub-10_bold"], "participant_id": ["01", "02", "10"]}
    return pd.DataFrame({**table, "label": ["b", "a", "b"], **columns})


def _create(folder, runs=None, series=None, **more):
    arguments = {"regions": ["A", "B", "C"], "networks": ["x", "x", "y"], "target_type": "class", **more}
    return Cohort.create(folder, _runs() if runs is None else runs, series or _series([5, 9, 7]), **arguments)


def test_values_come_back_as_float32_run_by_run(tmp_path):
    series = _series([5, 9, 7])
    cohort = _create(tmp_path, series=iter(series))
    for index, values in enumerate(series):
        np.testing.assert_array_equal(cohort.raw(index), values.astype(np.float32))
    assert list(cohort.runs["start"]) == [0, 5, 14]
    assert list(cohort.runs["n_volumes"]) == [5, 9, 7]


def test_reopening_keeps_names_kinds_and_hash(tmp_path):
    runs = _runs(age=[20.5, np.nan, 31.0], dx=["1", "2", "n/a"], smoker=[True, False, True], visits=[1, 2, 3])
    made = _create(tmp_path, runs, extra={"atlas": "Schaefer400"})
    opened = Cohort.open(tmp_path)
    assert list(opened.runs["participant_id"]) == ["01", "02", "10"]
    assert list(opened.runs["dx"]) == ["1", "2", "n/a"]
    assert opened.runs["smoker"].tolist() == [True, False, True]
    assert opened.runs["visits"].dtype == np.int64
    np.testing.assert_array_equal(opened.runs["age"], [20.5, np.nan, 31.0])
    assert opened.hash == made.hash
    assert opened.extra == {"atlas": "Schaefer400"}


def test_the_hash_is_the_one_that_0_1_0_computed(tmp_path):
    """Models that were trained by 0.1.0 are kept."""
    runs = _runs(repetition_time=2.0, mean_fd=[0.1, np.nan, 0.2], age=[51, 52, 53])
    series = [np.arange(3 * length).reshape(length, 3) for length in (2, 3, 4)]
    assert _create(tmp_path, runs, series).hash == "b4d73474f3700dc575a2905f09a422502cd13cd6438db689085123d2f3f25723"


def test_what_the_table_lacks_is_filled(tmp_path):
    cohort = _create(tmp_path, _runs(group=["family1", "", "family1"]))
    assert list(cohort.runs["group"]) == ["family1", "02", "family1"]
    assert list(cohort.runs["site"]) == ["", "", ""]
    assert np.isnan(cohort.runs["repetition_time"]).all()
    assert cohort.segments(1) == [(0, 9)]


def test_labels_are_indices_into_the_sorted_classes(tmp_path):
    cohort = _create(tmp_path)
    assert cohort.classes == ["a", "b"]
    np.testing.assert_array_equal(cohort.labels([2, 1]), [1, 0])
    continuous = _create(tmp_path / "age", _runs(label=["30", "41.5", "22"]), target_type="continuous")
    np.testing.assert_array_equal(continuous.labels([0, 1]), [30, 41.5])
    assert continuous.classes == []


def test_the_hash_changes_with_one_value_and_one_label(tmp_path):
    series = _series([5, 9, 7])
    first = _create(tmp_path / "a", series=series).hash
    assert _create(tmp_path / "b", series=series).hash == first
    series[1][3, 2] += 1
    assert _create(tmp_path / "c", series=series).hash != first
    assert _create(tmp_path / "d", _runs(label=["b", "b", "a"])).hash != first


def test_dead_and_uncovered_regions_become_zero_and_the_others_are_scores():
    series = _series([40])[0]
    series[:, 1] = 1234.5678
    series[:, 2] = np.nan
    scores = standardise(series.astype(np.float32))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(scores[:, 0].std(), 1, atol=1e-6)
    assert (scores[:, 1:] == 0).all()


def test_mean_and_deviation_come_from_the_segments_alone(tmp_path):
    series = _series([12, 9, 7])
    series[0][5] = 1e6
    cohort = _create(tmp_path, _runs(segments=["[[0, 5], [6, 12]]", "", ""]), series)
    kept = np.delete(cohort.standardised(0), 5, axis=0)
    np.testing.assert_allclose(kept.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(kept.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"series": _series([5, 9])}, UsageError, "2 series for the 3 runs"),
        ({"series": [*_series([5, 9]), np.zeros((7, 4))]}, RunError, "sub-10_bold.*(7, 4)"),
        ({"runs": _runs(n_volumes=[5, 8, 7])}, RunError, "sub-02_bold.*9 rows.*8"),
        ({"runs": _runs(segments=["[[0, 6]]", "", ""])}, RunError, "sub-01_bold.*0, 6"),
        ({"runs": _runs(label=["a", None, "b"])}, LabelError, "sub-02_bold"),
        ({"target_type": "continuous"}, LabelError, "numbers"),
        ({"networks": ["x"]}, UsageError, "1 network"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(").replace(")", r"\)")):
        _create(tmp_path, **change)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_half_a_cohort_is_refused(tmp_path):
    _create(tmp_path)
    np.save(tmp_path / "series.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(NoInputError, match="3 rows"):
        Cohort.open(tmp_path)
    facts = json.loads((tmp_path / "cohort.json").read_text())
    (tmp_path / "cohort.json").write_text(json.dumps({**facts, "format": 99}))
    with pytest.raises(NoInputError, match="format 99"):
        Cohort.open(tmp_path)
    with pytest.raises(NoInputError):
        Cohort.open(tmp_path / "elsewhere")
