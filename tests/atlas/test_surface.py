"""A parcellation reaches the surface whole and in its own hemisphere, or there is a plain reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.grayordinates import VERTICES, brain_models, striped, write_labels
from helpers.painted import schaefer400

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.surface import _around, surface_parcellation
from bids_neurossm.errors import UsageError


def test_schaefer_400_covers_the_cortex_of_fsaverage(templateflow_home: Path) -> None:
    surface = surface_parcellation(schaefer400(templateflow_home))
    assert (surface.space, surface.density) == ("fsaverage", "10k")
    assert {name: placed.shape for name, placed in surface.hemispheres.items()} == {"L": (10242,), "R": (10242,)}
    assert surface.absent.size == 0
    left, right = surface.hemispheres["L"], surface.hemispheres["R"]
    # Schaefer counts the left hemisphere first.
    assert left.max() == 200
    assert right[right > 0].min() == 201
    # The medial wall is a tenth of the surface.
    assert 0.8 < np.mean(np.concatenate([left, right]) > 0) < 0.92
    assert "MNI305 to MNI152" in surface.method


def test_regions_below_the_cortex_have_no_vertex(shared_data: Path) -> None:
    aal3 = load_parcellation("AAL3", "MNI152NLin6Asym", atlas_dir=shared_data / "atlases" / "aal3")
    absent = surface_parcellation(aal3).absent
    names = {aal3.names[index] for index in absent}
    assert {"Thal_VPL_L", "Caudate_R"} <= names
    assert not names & {"Precentral_L", "Precentral_R", "Occipital_Mid_L"}
    parts = {field: tuple(getattr(aal3, field)[i] for i in absent) for field in ("labels", "names", "networks")}
    with pytest.raises(UsageError, match="reaches the cortical surface"):
        surface_parcellation(replace(aal3, **parts))


def test_an_atlas_of_another_space_has_no_surface(templateflow_home: Path) -> None:
    with pytest.raises(UsageError, match="only atlases in an MNI152 space"):
        surface_parcellation(replace(schaefer400(templateflow_home), space="MNIInfant"))


def test_grayordinates_bring_their_own_surfaces(tmp_path: Path) -> None:
    axis = brain_models()
    names = {label: f"LH_Vis_{label}" for label in range(1, 11)} | {11: "Thalamus_L"}
    path = write_labels(tmp_path / "atlas-Mine_dseg.dlabel.nii", striped(axis, 10), names, axis)
    surface = surface_parcellation(load_parcellation(path, "fsLR"))
    assert (surface.space, surface.density) == ("fsLR", "32k")
    assert surface.absent.tolist() == [10]  # the thalamus
    whole = striped(brain_models(medial_wall=True), 10)[: 2 * VERTICES].reshape(2, VERTICES)
    for placed, expected in zip(surface.hemispheres.values(), whole, strict=True):
        np.testing.assert_array_equal(placed[placed > 0], expected[placed > 0])
        assert (placed[1000:3700] == 0).all()  # the medial wall


def test_a_small_image_is_widened_until_the_whole_cortex_lies_in_it() -> None:
    labels = np.zeros((4, 5, 6), dtype=np.int32)
    labels[1, 2, 3] = 7
    affine = np.array([[-8.0, 0, 0, 10], [0, 8, 0, -20], [0, 0, 8, 0], [0, 0, 0, 1]])
    points = np.array([[-70.0, -105, -40], [70, 70, 80]])
    wide, shifted = _around(labels, affine, points)
    voxels = (points - shifted[:3, 3]) @ np.linalg.inv(shifted[:3, :3]).T
    assert (voxels >= 0).all()
    assert (voxels <= np.array(wide.shape) - 1).all()
    (place,) = np.argwhere(wide == 7)
    np.testing.assert_allclose(shifted[:3, :3] @ place + shifted[:3, 3], affine[:3, :3] @ [1, 2, 3] + affine[:3, 3])
    same, unmoved = _around(labels, affine, np.array([[10.0 - 16, -20 + 16, 16]]))
    assert same.shape == labels.shape
    np.testing.assert_array_equal(unmoved, affine)
