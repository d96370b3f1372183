"""The files of an atlas in the output dataset."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from helpers.two_regions import SPACE, drawn, slabs

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.output_files import atlas_files, write_atlas


def test_the_atlas_that_an_output_dataset_keeps_is_the_same_drawing(tmp_path: Path) -> None:
    first = drawn(tmp_path / "a", slabs())
    write_atlas(tmp_path / "out", [first])
    kept = load_parcellation(next((tmp_path / "out").glob("tpl-*/*dseg.nii.gz")))
    assert kept.sha256 != first.sha256
    assert kept.drawing == first.drawing


def test_another_drawing_under_one_name_replaces_the_atlas_of_the_dataset(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = drawn(tmp_path / "a", slabs())
    swapped = drawn(tmp_path / "b", np.where(slabs() > 0, 3 - slabs(), 0).astype(np.int16))
    for atlas in (first, swapped):
        write_atlas(out, [atlas])
        assert load_parcellation(next(out.glob("tpl-*/*dseg.nii.gz"))).drawing == atlas.drawing


def test_image_table_and_description_say_where_they_come_from(tmp_path: Path) -> None:
    atlas = drawn(tmp_path / "a", slabs())
    write_atlas(tmp_path / "out", [atlas])
    stem, folder = f"tpl-{SPACE}_atlas-Two_scale-2", tmp_path / "out" / f"tpl-{SPACE}"
    assert (folder / f"{stem}_dseg.tsv").read_text() == "index\tname\tnetwork\n1\ta\tn/a\n2\tb\tn/a\n"
    sidecar = json.loads((folder / f"{stem}_res-02_dseg.json").read_text())
    assert (sidecar["Resolution"], sidecar["Sources"]) == ({"02": "2x2x2 mm"}, [f"tpl-{SPACE}_atlas-Two_dseg.nii.gz"])
    assert (sidecar["SourceSHA256"], sidecar["LabelsSHA256"]) == (atlas.sha256, atlas.drawing.sha256)
    image = nib.load(folder / f"{stem}_res-02_dseg.nii.gz")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj), slabs())
    assert json.loads((tmp_path / "out" / "atlas-Two_description.json").read_text())["License"] == "not stated"


def test_an_atlas_that_is_there_is_left_alone_and_one_that_lost_a_file_is_written_again(tmp_path: Path) -> None:
    atlas = drawn(tmp_path / "a", slabs())
    write_atlas(tmp_path / "out", [atlas])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*dseg*")}
    write_atlas(tmp_path / "out", [atlas])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*dseg*")} == before
    for path in atlas_files(tmp_path / "out", atlas):
        path.unlink()
        write_atlas(tmp_path / "out", [atlas])
        assert path.is_file()
