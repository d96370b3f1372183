"""Maps of an analysis are found."""

from __future__ import annotations

from pathlib import Path

from bids_neurossm.reports.group_maps import find_maps


def test_maps_are_found_by_class_and_other_files_are_left_alone(tmp_path: Path) -> None:
    start = "space-S_atlas-A_seg-7Networks_scale-400"
    for name in (
        f"{start}_stat-cpa_boldmap.nii.gz",
        f"{start}_label-Control_stat-cpa_boldmap.nii.gz",
        f"{start}_label-Control_stat-cpa_desc-top25_mask.nii.gz",
        f"{start}_label-Control_stat-neurosynth_boldmap.nii.gz",
        f"{start}_stat-cpa_regions.tsv",
        f".{start}_stat-cpa_boldmap.nii.gz.12.tmp",
    ):
        (tmp_path / name).touch()
    found = {maps.label: sorted(maps.files) for maps in find_maps(tmp_path)}
    assert found == {"": ["cpa"], "Control": ["cpa", "cpa-top25", "neurosynth"]}
