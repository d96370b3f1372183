"""Which files are looked at, and which side of an array is time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import NoInputError, UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays, orientations
from bids_neurossm.roi_arrays.published import published_by_name

HCP_TASK_LENGTHS = published_by_name(Path("dataset_hcpTask_schaefer.npy")).volumes


def test_every_key_of_every_archive_is_a_run(shared_data):
    found = find_arrays(shared_data / "abide")
    assert len(found.runs) == 754
    assert (found.notes, found.failures) == ([], [])
    first = found.runs[0]
    assert (first.key, first.shape) == ("Caltech_0051456", (146, 200))
    assert first.load().dtype == np.float16
    assert {run.shape[1] for run in found.runs} == {200}
    assert (min(run.shape[0] for run in found.runs), max(run.shape[0] for run in found.runs)) == (78, 316)


def test_a_source_without_arrays_is_no_input(tmp_path):
    with pytest.raises(NoInputError, match="no ROI arrays"):
        find_arrays(tmp_path)
    with pytest.raises(NoInputError, match="does not exist"):
        find_arrays(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("shapes", "sizes", "expected"),
    [
        ([(419, 234)], {419}, ["roi-time"]),
        ([(146, 200), (200, 146)], {200}, ["time-roi", "roi-time"]),
        ([(146, 200), (78, 200)], (), ["time-roi", "time-roi"]),
        ([(200, 146), (200, 78)], (), ["roi-time", "roi-time"]),
        ([(1200, 400)], (), ["time-roi"]),
        ([(400, 1200)], (), ["roi-time"]),
        ([(166, 210)], (), ["roi-time"]),
        ([(400, 405)], (), ["roi-time"]),
        ([(405, 400)], (), ["time-roi"]),
        *[([(length, 300)], (), ["time-roi"]) for length in HCP_TASK_LENGTHS.values()],
    ],
)
def test_the_side_that_is_time_is_told_where_it_can_be(shapes, sizes, expected):
    assert orientations([array_run(*shape) for shape in shapes], "auto", sizes)[0] == expected


@pytest.mark.parametrize(
    ("shapes", "sizes"),
    [([(400, 400)], {400}), ([(100, 90)], ()), ([(1200, 284)], ()), ([(166, 400)], ()), ([(100, 90)], {200})],
)
def test_an_array_that_could_be_either_needs_the_users_word(shapes, sizes):
    with pytest.raises(UsageError, match="give --orientation time-roi"):
        orientations([array_run(*shape) for shape in shapes], "auto", sizes)
    assert orientations([array_run(*shape) for shape in shapes], "roi-time", sizes)[0] == ["roi-time"]
