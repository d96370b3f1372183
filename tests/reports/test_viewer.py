"""What the viewer of maps is fed with, and the atlas that it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from helpers.reported import unpacked

from bids_neurossm.reports.figures.display_grid import SHAPE, background
from bids_neurossm.reports.viewer import find_labels, viewer_data


def test_the_viewer_gets_the_regions_where_they_are() -> None:
    labels = np.zeros(SHAPE, dtype=np.int32)
    labels[20:30, 50:60, 40:50] = 7  # left of the midline
    labels[60:70, 50:60, 40:50] = 3
    regions = pd.DataFrame({"index": [3, 7, 9], "name": ["right", "left", "elsewhere"], "network": ["A", "B", "C"]})
    layer = {"group": "x", "name": "CPA score", "kind": "magnitude", "unit": "", "values": [0.1, 0.9, 0.0]}
    data = viewer_data(labels, regions, [layer])
    assert data is not None
    places = unpacked(data["labels"], "<u2").reshape(SHAPE, order="F")
    assert set(np.unique(places[labels == 7])) == {2}
    assert set(np.unique(places[labels == 3])) == {1}
    assert data["centres"][2] is None
    assert labels[tuple(data["centres"][1])] == 7
    anatomy = unpacked(data["anatomy"], "u1").reshape(SHAPE, order="F")
    np.testing.assert_array_equal(anatomy > 0, np.nan_to_num(background()) * 63 / np.nanmax(background()) >= 0.5)
    assert viewer_data(labels, regions, []) is None


def test_the_atlas_is_found_by_its_entities(tmp_path: Path) -> None:
    folder = tmp_path / "tpl-S"
    folder.mkdir()
    for name in ("atlas-A_scale-400", "atlas-A_seg-7Networks_scale-400_res-02", "atlas-AB_scale-400"):
        (folder / f"tpl-S_{name}_dseg.nii.gz").touch()
    found = find_labels(tmp_path, "sub-01_space-S_atlas-A_seg-7Networks_scale-400")
    assert found is not None
    assert found.name == "tpl-S_atlas-A_seg-7Networks_scale-400_res-02_dseg.nii.gz"
    assert find_labels(tmp_path, "space-S_atlas-A_scale-100_stat-cpa") is None
    assert find_labels(tmp_path, "space-T_atlas-A_scale-400") is None
