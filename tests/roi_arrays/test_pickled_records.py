"""Records: who they are of, which task, which facts; and what is refused in them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.roi_sources import constant_record, save_objects

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.pickled_records import Reading
from bids_neurossm.roi_arrays.published import published_by_name

LENGTHS = published_by_name(Path("dataset_hcpTask_schaefer.npy")).volumes


def _pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def test_codes_of_the_user_replace_those_that_are_known(tmp_path):
    path = save_objects(tmp_path / "dataset_hcpTask_schaefer.npy", [constant_record(1, 405, 400, task=0)])
    (run,) = find_arrays(path, reading=Reading(task_codes={"0": "WM"})).runs
    assert run.entities == {"task": "WM"}


def test_tasks_are_read_off_the_keys_that_series_are_filed_under(tmp_path):
    by_task = {
        code: {str(who): np.ones((length, 400)) for who in (7, 8)} for code, length in enumerate(LENGTHS.values())
    }
    path = _pickled(tmp_path / "dataset_hcpTask_schaefer.pickle", by_task)
    expected = [(who, task) for task in LENGTHS for who in ("7", "8")]
    assert [(run.key, run.entities["task"]) for run in find_arrays(path).runs] == expected
    by_person = {who: {task: np.ones((length, 400)) for task, length in LENGTHS.items()} for who in ("7", "8")}
    _pickled(path, by_person)
    assert [(run.key, run.entities["task"]) for run in find_arrays(path).runs] == [
        (who, task) for who in ("7", "8") for task in LENGTHS
    ]


def test_the_hcp_rest_layout_gives_subjects_and_their_facts(tmp_path):
    path = save_objects(
        tmp_path / "dataset_hcpRest_schaefer.npy", [constant_record(100307, 400, 1200, gender=np.int64(1), age="26-30")]
    )
    (run,) = find_arrays(path).runs
    assert (run.key, run.shape, dict(run.facts)) == ("100307", (400, 1200), {"gender": "1", "age": "26-30"})
    assert run.entities == {"task": "REST"}


def test_the_ppmi_layout_may_have_its_facts_next_to_the_series(tmp_path):
    content = [{"roi_timeseries": np.ones((166, 210)), "subject_id": "P1", "disease": 1}]
    (run,) = find_arrays(_pickled(tmp_path / "dataset_ppmi_atlas-AAL-3V2.pickle", content)).runs
    assert (run.key, run.shape, dict(run.facts)) == ("P1", (166, 210), {"disease": "1"})


def test_several_runs_of_one_participant_and_task_are_numbered(tmp_path):
    path = save_objects(
        tmp_path / "dataset_hcpTask_schaefer.npy", [constant_record(1, 400, 176), constant_record(1, 400, 176)]
    )
    assert [dict(run.entities) for run in find_arrays(path).runs] == [
        {"task": "EMOTION", "run": "1"},
        {"task": "EMOTION", "run": "2"},
    ]


@pytest.mark.parametrize(
    ("pheno", "told"),
    [
        ({"subjId": 1, "gender": 0}, "has the keys subjId, gender; none of subjectId"),
        ({"subjectId": float("nan"), "gender": 0}, "has nothing in 'subjectId'"),
        ({"gender": 0}, "has the keys gender; none of subjectId"),
    ],
)
def test_a_record_without_a_participant_is_refused(tmp_path, pheno, told):
    path = _pickled(tmp_path / "x.pickle", [{"roiTimeseries": np.ones((9, 4)), "pheno": pheno}])
    with pytest.raises(UsageError, match=told):
        find_arrays(path)


def test_facts_of_another_kind_than_a_dictionary_are_not_passed_over(tmp_path):
    path = _pickled(tmp_path / "x.pickle", [{"roiTimeseries": np.ones((9, 4)), "pheno": 5}])
    (failure,) = find_arrays(path).failures
    assert "the facts of a record are a int; a dictionary is expected" in str(failure)


def test_what_is_no_record_is_named(tmp_path):
    path = _pickled(tmp_path / "x.pickle", [{"series_of_mine": 1, "subjectId": 2}])
    (failure,) = find_arrays(path).failures
    assert "a record has no roitimeseries; it has series_of_mine, subjectId" in str(failure)
    _pickled(path, {"a": 1})
    (failure,) = find_arrays(path).failures
    assert "int values; an array of numbers is expected" in str(failure)


def test_series_may_be_data_frames_whose_columns_are_the_regions(tmp_path):
    series = pd.DataFrame(np.arange(27.0).reshape(9, 3), columns=["left", "right", "stem"])
    series.index.name = "volume"
    path = _pickled(tmp_path / "x.pickle", [{"roiTimeseries": series, "pheno": {"subjectId": 1}}])
    (run,) = find_arrays(path).runs
    assert (run.columns, run.load().tolist()) == (("left", "right", "stem"), series.to_numpy().tolist())


def test_bare_arrays_are_taken_in_their_order(tmp_path):
    path = _pickled(tmp_path / "x.pickle", [np.ones((9, 4)), np.ones((8, 4))])
    runs = find_arrays(path).runs
    assert [(run.key, run.positional) for run in runs] == [("x-1", True), ("x-2", True)]


def test_lists_that_repeat_themselves_are_not_unrolled(tmp_path):
    nested: list[object] = [1.0]
    for _ in range(30):
        nested = [nested, nested]
    for content in ([{"series": nested, "pheno": {"task": nested, "subjectId": 1}}], nested):
        (failure,) = find_arrays(_pickled(tmp_path / "x.pickle", content)).failures
        assert "rows of numbers" in str(failure) or "array of numbers" in str(failure)
    many = dict.fromkeys(range(2000), 1)
    (failure,) = find_arrays(_pickled(tmp_path / "x.pickle", dict.fromkeys(range(2000), many))).failures
    assert "more than 1000000 records" in str(failure)
