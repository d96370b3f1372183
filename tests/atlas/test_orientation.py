"""Whether a header states which side is left."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.atlas.orientation import has_orientation, is_oriented, missing_orientation


@pytest.mark.parametrize(("sform", "qform", "oriented"), [(4, 0, True), (0, 1, True), (2, 2, True), (0, 0, False)])
def test_one_of_both_codes_is_enough(tmp_path: Path, sform: int, qform: int, oriented: bool) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), "f4"), np.eye(4))
    image.header["sform_code"], image.header["qform_code"] = sform, qform
    image.set_sform(np.eye(4), sform)
    image.set_qform(np.eye(4), qform)
    nib.save(image, tmp_path / "a.nii.gz")
    assert has_orientation(tmp_path / "a.nii.gz") is oriented


def test_formats_without_such_codes_are_taken_as_they_are() -> None:
    assert is_oriented(nib.freesurfer.MGHImage(np.zeros((2, 2, 2), "f4"), np.eye(4)).header)


def test_the_remedy_is_said() -> None:
    said = missing_orientation(Path("a.nii.gz"))
    assert said.startswith("The header of a.nii.gz states no orientation: both sform and qform are 0")
    assert said.endswith("or add --allow-missing-orientation.")
