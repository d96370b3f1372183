"""Label images as they are stored, and how they come to lie on another grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.atlas.parcellation import read_label_image
from bids_neurossm.errors import ResourceMissingError

ASYM6 = "MNI152NLin6Asym"


@pytest.fixture(scope="module")
def cbig(shared_data: Path) -> Parcellation:
    """CBIG's 100 parcels: float labels, stored from right to left."""
    return load_parcellation(shared_data / "atlases" / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz")


@pytest.fixture(scope="module")
def aal3(shared_data: Path) -> Parcellation:
    return load_parcellation("AAL3", ASYM6, atlas_dir=shared_data / "atlases")


@pytest.fixture(scope="module")
def bold_grid(templateflow_home: Path) -> tuple[tuple[int, int, int], np.ndarray]:
    """The RAS grid on which fMRIPrep writes MNI152NLin6Asym res-2."""
    image = nib.load(templateflow_home / f"tpl-{ASYM6}" / f"tpl-{ASYM6}_res-02_T1w.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    return image.shape, image.affine


def test_float_labels_are_read_as_whole_numbers(cbig: Parcellation) -> None:
    stored = nib.load(cbig.image_file)
    assert stored.get_data_dtype() == np.float32
    labels, affine, _ = cbig.image()
    assert labels.dtype == np.int32
    assert np.unique(labels).tolist() == list(range(101))
    assert nib.aff2axcodes(affine) == ("L", "A", "S")


def test_on_its_own_grid_nothing_moves(cbig: Parcellation) -> None:
    labels, affine, _ = cbig.image()
    placed = cbig.on_grid(labels.shape, affine)
    np.testing.assert_array_equal(placed, labels)
    with pytest.raises(ValueError, match="read-only"):
        placed[0, 0, 0] = 1


def test_storage_from_right_to_left_is_turned_onto_the_grid_of_the_bold(
    cbig: Parcellation, bold_grid: tuple[tuple[int, int, int], np.ndarray]
) -> None:
    shape, affine = bold_grid
    placed = cbig.on_grid(shape, affine)
    labels, _, _ = cbig.image()
    np.testing.assert_array_equal(placed, labels[::-1])
    for position, name in enumerate(cbig.names, start=1):
        x = nib.affines.apply_affine(affine, np.argwhere(placed == position).mean(axis=0))[0]
        assert (x < 0) == ("_LH_" in name), name


def test_it_lies_where_nilearn_would_put_it(cbig: Parcellation) -> None:
    from nilearn.image import resample_img

    affine = np.array([[3.0, 0, 0, -91.5], [0, 3, 0, -127], [0, 0, 3, -71], [0, 0, 0, 1]])
    shape = (61, 73, 61)
    expected = resample_img(
        str(cbig.image_file), affine, shape, interpolation="nearest", force_resample=True, copy_header=True
    ).get_fdata()
    np.testing.assert_array_equal(cbig.on_grid(shape, affine), expected)


def test_regions_follow_the_order_of_the_table_across_gaps(aal3: Parcellation) -> None:
    labels, affine, _ = aal3.image()
    placed = aal3.on_grid(labels.shape, affine)
    assert np.unique(placed).tolist() == list(range(167))
    for position, label in enumerate(aal3.labels, start=1):
        assert np.array_equal(placed == position, labels == label)
    table = aal3.index_map()
    assert table[[34, 35, 36, 37, 170]].tolist() == [34, 0, 0, 35, 166]


@pytest.mark.parametrize(("millimetres", "vanished"), [(2.0, []), (2.5, [170]), (4.0, [133, 134, 168])])
def test_small_nuclei_vanish_on_the_coarse_grids_of_fmriprep(
    aal3: Parcellation, millimetres: float, vanished: list[int]
) -> None:
    """In the box of MNI152NLin2009cAsym; each keeps its place in the table."""
    affine = np.diag([millimetres, millimetres, millimetres, 1])
    affine[:3, 3] = (-96.5, -132.5, -78.5)
    shape = (int(np.ceil(194 / millimetres)), int(np.ceil(230 / millimetres)), int(np.ceil(194 / millimetres)))
    placed = aal3.on_grid(shape, affine)
    absent = np.setdiff1d(np.arange(1, 167), placed)
    assert [aal3.labels[position - 1] for position in absent] == vanished


def test_the_drawings_of_two_spaces_differ(shared_data: Path, templateflow_home: Path) -> None:
    """Why another space is refused: on one grid, the parcels of 6Asym and 2009c overlap only in part."""
    six = load_parcellation("Schaefer400", ASYM6, atlas_dir=shared_data / "atlases")
    labels, affine, _ = read_label_image(next((templateflow_home / "tpl-MNI152NLin2009cAsym").glob("*_dseg.nii.gz")))
    laid_over = six.on_grid(labels.shape, affine)
    overlap = np.bincount(labels[labels == laid_over], minlength=401)[1:]
    sizes = np.bincount(labels.ravel(), minlength=401)[1:] + np.bincount(laid_over.ravel(), minlength=401)[1:]
    assert 0.7 < float(np.median(2 * overlap / sizes)) < 0.9


def test_the_hash_is_that_of_the_file(cbig: Parcellation) -> None:
    import hashlib

    assert cbig.sha256 == hashlib.sha256(cbig.image_file.read_bytes()).hexdigest()


def save(path: Path, data: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    return path


def test_a_fourth_axis_of_length_one_and_nan_outside_are_accepted(tmp_path: Path) -> None:
    data = np.array([0, 1, 2, np.nan], dtype=np.float32).reshape(2, 2, 1, 1)
    labels, _, _ = read_label_image(save(tmp_path / "a.nii.gz", data))
    assert labels.ravel().tolist() == [0, 1, 2, 0]
    assert labels.shape == (2, 2, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.full((2, 2, 2), 1.5, dtype=np.float32), "holds values that are no labels"),
        (np.full((2, 2, 2), -1, dtype=np.int16), "holds values that are no labels"),
        (np.zeros((2, 2, 2, 3), dtype=np.int16), r"has shape \(2, 2, 2, 3\); a 3D image"),
        (np.zeros((2, 2), dtype=np.int16), r"has shape \(2, 2\); a 3D image"),
    ],
)
def test_images_that_hold_no_labels_are_refused(tmp_path: Path, data: np.ndarray, message: str) -> None:
    with pytest.raises(ResourceMissingError, match=message):
        read_label_image(save(tmp_path / "a.nii.gz", data))


def test_absent_empty_and_damaged_images_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ResourceMissingError, match="does not exist"):
        read_label_image(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(ResourceMissingError, match=r"is empty \(a stub that was never downloaded\)"):
        read_label_image(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(ResourceMissingError, match="is not a readable label image"):
        read_label_image(tmp_path / "a.nii.gz")
    whole = save(tmp_path / "b.nii.gz", np.random.default_rng(0).integers(0, 9, (9, 9, 9)).astype(np.int16))
    (tmp_path / "c.nii.gz").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ResourceMissingError, match="is not a readable label image"):
        read_label_image(tmp_path / "c.nii.gz")
