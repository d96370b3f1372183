"""Images on the grid that reports show them on."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.reports.figures.display_grid import ORIGIN, STEP, on_display_grid


def test_left_stays_left_whichever_way_the_image_is_stored(tmp_path: Path) -> None:
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    data = np.full((91, 109, 91), np.nan, dtype=np.float32)
    # Stored right to left: voxel 65 lies at 90 - 2 x 65 = -40 mm, left of the midline.
    data[65, 60, 45] = 7
    path = tmp_path / "map.nii.gz"
    nib.save(nib.Nifti1Image(data, affine), path)
    values = on_display_grid(path)
    assert np.argwhere(values == 7).tolist() == [[25, 60, 45]]
    assert np.isfinite(values).sum() == 1


def test_an_image_of_four_dimensions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 2), dtype=np.float32), np.eye(4)), path)
    with pytest.raises(RunError, match="4 dimensions"):
        on_display_grid(path)


def test_the_display_grid_takes_any_orientation(tmp_path: Path) -> None:
    from bids_neurossm.reports.figures.display_grid import on_display_grid

    generator = np.random.default_rng(0)
    data = generator.random((20, 22, 24)).astype(np.float32)
    affine = np.array([[-4.0, 0, 0, 40], [0, 4, 0, -44], [0, 0, 4, -48], [0, 0, 0, 1]])
    turned = np.array([[0.0, 4, 0, -44], [4, 0, 0, -40], [0, 0, -4, 44], [0, 0, 0, 1]])
    slanted = affine.copy()
    slanted[0, 1] = 1e-9  # no voxel moves by this, yet the axes are no longer told apart exactly
    found = []
    for name, matrix in (("a", affine), ("b", slanted), ("c", turned)):
        nib.save(nib.Nifti1Image(data, matrix), tmp_path / f"{name}.nii.gz")
        found.append(on_display_grid(tmp_path / f"{name}.nii.gz"))
    np.testing.assert_array_equal(found[0], found[1])
    # Voxel (i, j, k) of the turned image lies at x = 4 j - 44, y = 4 i - 40, z = 44 - 4 k.
    inside = np.argwhere(np.isfinite(found[2]))
    x, y, z = (ORIGIN + STEP * inside[len(inside) // 2]).astype(int)
    expected = data[round((y + 40) / 4 - 1e-6), round((x + 44) / 4 - 1e-6), round((44 - z) / 4 - 1e-6)]
    assert found[2][tuple(inside[len(inside) // 2])] == expected
