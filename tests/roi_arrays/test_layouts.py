"""Every layout in every container: the series come out as they went in, under the right names, with the right facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.published_layouts import ARRAYS, CONTAINERS, LAYOUTS, cohort

from bids_neurossm.roi_arrays.discovery import find_arrays


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("array", ARRAYS)
def test_a_layout_in_a_container_gives_every_series_and_fact(tmp_path: Path, layout, container, array):
    runs, (build, facts) = cohort(), LAYOUTS[layout]
    make = ARRAYS[array]
    path = CONTAINERS[container](tmp_path / "cohort", build(runs, make))
    found = find_arrays(path)
    assert (found.failures, found.notes) == ([], [])
    assert [run.key for run in found.runs] == [run.subject for run in runs]
    for run, expected in zip(found.runs, runs, strict=True):
        stored = np.asarray(make(expected.series))
        loaded = run.load()
        assert loaded.dtype == stored.dtype
        assert loaded.shape == stored.shape == run.shape
        assert loaded.tobytes() == np.ascontiguousarray(stored).tobytes()
        wanted = {"gender": str(expected.gender), "group": expected.group, "class": expected.group}
        assert run.facts == {name: wanted[name] for name in facts}
