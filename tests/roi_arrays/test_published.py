"""What the names of the published files state, and the tasks of their runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.roi_sources import constant_record, save_objects

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.published import published_by_name, read_task_codes

LENGTHS = published_by_name(Path("dataset_hcpTask_schaefer.npy")).volumes


@pytest.mark.parametrize(
    ("name", "atlas", "task", "study"),
    [
        ("dataset_hcpRest_schaefer.npy", "Schaefer400", "REST", "HCP"),
        ("dataset_hcpTask_schaefer.npy", "Schaefer400", None, "HCP"),
        ("dataset_hcpTask_schaefer7_400.save", "Schaefer400", None, "HCP"),
        ("dataset_ppmi_atlas-AAL-3V2.pickle", "AAL3", "rest", "PPMI"),
        ("dataset_abide_schaefer17_200.save", "Schaefer200_17Networks", None, ""),
        ("hcpRest_aal.save", None, "REST", "HCP"),
        ("my_schaefer_series.npz", None, None, ""),
    ],
)
def test_the_published_names_state_atlas_task_and_study(name, atlas, task, study):
    found = published_by_name(Path(name))
    assert (found.atlas, found.task, found.study) == (atlas, task, study)


def test_the_codes_of_the_hcps_tasks_are_in_the_order_of_the_public_code():
    codes = published_by_name(Path("dataset_hcpTask_schaefer.npy")).codes
    assert codes == dict(zip("0123456", LENGTHS, strict=True))
    assert list(LENGTHS) == ["EMOTION", "GAMBLING", "LANGUAGE", "MOTOR", "RELATIONAL", "SOCIAL", "WM"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("code\tname\n0\tx\n", "code and task are expected"),
        ("code\ttask\n0\tx\n0\ty\n", "the code '0' is there twice"),
        ("code\ttask\n0.5\tx\n", "the code '0.5' is no whole number"),
        ("code\ttask\n0\tn-back\n", "the task 'n-back' is not a BIDS label"),
    ],
)
def test_a_table_of_task_codes_that_could_mislead_is_refused(tmp_path, text, told):
    (tmp_path / "codes.tsv").write_text(text)
    with pytest.raises(UsageError, match=told):
        read_task_codes(tmp_path / "codes.tsv")


@pytest.mark.parametrize("task", [2, np.int64(2), 2.0, "2", np.array(2), "tfMRI_LANGUAGE_LR", "language"])
def test_a_task_is_understood_however_it_is_written(tmp_path, task):
    path = save_objects(tmp_path / "dataset_hcpTask_schaefer.npy", [constant_record(1, 316, 400, task=task)])
    (run,) = find_arrays(path).runs
    assert (run.entities, run.facts) == ({"task": "LANGUAGE"}, {})


@pytest.mark.parametrize("task", ["STROOP", "WM and MOTOR", 2.5])
def test_a_task_that_is_none_of_the_study_is_refused(tmp_path, task):
    path = save_objects(tmp_path / "dataset_hcpTask_schaefer.npy", [constant_record(1, 316, 400, task=task)])
    with pytest.raises(UsageError, match=r"one of EMOTION, GAMBLING, .* is expected"):
        find_arrays(path)


def test_a_run_of_no_known_length_needs_a_stated_task(tmp_path):
    path = save_objects(tmp_path / "dataset_hcpTask_schaefer.npy", [constant_record(2, 400, 180)])
    (failure,) = find_arrays(path).failures
    assert "states no task, and 400 x 180 fits no single one of the known lengths" in str(failure)
