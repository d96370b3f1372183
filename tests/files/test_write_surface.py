"""Maps on surfaces come back with their values, structures and labels."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.grayordinates import brain_models

from bids_neurossm.files.write_surface import write_cifti, write_gifti

LABELS = (("none", (0.0, 0.0, 0.0, 0.0)), ("raw", (1.0, 0.5, 0.0, 1.0)))


def test_a_map_on_grayordinates_keeps_values_names_and_places(tmp_path: Path) -> None:
    axis = brain_models()
    values = np.arange(len(axis)) / 3
    values[0] = np.nan
    write_cifti(tmp_path / "a.dscalar.nii", values, axis, "score")
    image = nib.load(tmp_path / "a.dscalar.nii")
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), values.astype(np.float32)[np.newaxis])
    assert image.header.get_axis(0).name.tolist() == ["score"]
    assert image.header.get_axis(1) == axis


def test_whole_numbers_on_grayordinates_have_names_and_colours(tmp_path: Path) -> None:
    axis = brain_models()
    write_cifti(tmp_path / "a.dlabel.nii", np.arange(len(axis)) % 2, axis, "pathway", LABELS)
    image = nib.load(tmp_path / "a.dlabel.nii")
    assert image.header.get_axis(0).label[0] == dict(enumerate(LABELS))
    assert set(np.unique(image.get_fdata())) == {0, 1}


@pytest.mark.parametrize(("hemisphere", "structure"), [("L", "CortexLeft"), ("R", "CortexRight")])
def test_a_map_of_one_hemisphere_says_which(tmp_path: Path, hemisphere: str, structure: str) -> None:
    values = np.array([0.5, np.nan, -2.0])
    write_gifti(tmp_path / "a.func.gii", values, hemisphere, "score")
    image = nib.load(tmp_path / "a.func.gii")
    assert image.meta["AnatomicalStructurePrimary"] == structure
    (array,) = image.darrays
    assert (array.meta["Name"], array.data.dtype) == ("score", np.dtype("float32"))
    np.testing.assert_array_equal(array.data, values.astype(np.float32))


def test_labels_of_one_hemisphere_are_whole_numbers_with_names(tmp_path: Path) -> None:
    write_gifti(tmp_path / "a.label.gii", np.array([0.0, 1.0, 1.0]), "L", "pathway", LABELS)
    image = nib.load(tmp_path / "a.label.gii")
    (array,) = image.darrays
    assert (array.data.tolist(), array.data.dtype) == ([0, 1, 1], np.dtype("int32"))
    assert image.labeltable.get_labels_as_dict() == {0: "none", 1: "raw"}
    assert [label.rgba for label in image.labeltable.labels] == [colour for _, colour in LABELS]
