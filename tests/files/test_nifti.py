"""Headers of images: extensions and remarks."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.atlas.parcellation import read_label_image
from bids_neurossm.errors import ResourceMissingError, RunError
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.signal.stream import read_header


def _image(path: Path, offset: float, flag: int = 1) -> Path:
    """Write an image whose header says that its voxels begin at `offset`."""
    content = bytearray(nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4)).to_bytes())
    struct.pack_into("<f", content, 108, offset)
    content[348] = flag
    path.write_bytes(gzip.compress(bytes(content)))
    return path


@pytest.mark.parametrize("offset", [2.0**24 + 512, 1.5 * 2**30, float("inf"), float("-inf"), float("nan")])
def test_header_extensions_that_take_memory_are_refused_before_they_are_read(tmp_path, offset):
    path = _image(tmp_path / "x_bold.nii.gz", offset)
    with pytest.raises(RunError, match="header extensions"):
        read_header(path)
    with pytest.raises(ResourceMissingError, match="header extensions"):
        read_label_image(path)


def test_header_extensions_without_an_end_are_refused(tmp_path):
    with pytest.raises(RunError, match="has header extensions that have no end"):
        check_nifti(_image(tmp_path / "x.nii.gz", 0), RunError)


def test_an_image_with_a_comment_is_read(tmp_path):
    image = nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    image.header["pixdim"][4] = 2
    nib.save(image, tmp_path / "x_bold.nii.gz")
    assert read_header(tmp_path / "x_bold.nii.gz").n_volumes == 3


def test_what_nibabel_remarks_about_a_header_is_logged_with_the_path_and_not_printed(tmp_path, capfd, caplog):
    content = bytearray(nib.Nifti1Image(np.ones((4, 4, 4, 3), "f4"), np.eye(4)).to_bytes())
    struct.pack_into("<h", content, 252, 1024)  # the code of the qform
    path = tmp_path / "x_bold.nii"
    path.write_bytes(bytes(content))
    with caplog.at_level("INFO", logger="bids_neurossm"):
        assert load_nifti(path).shape == (4, 4, 4, 3)
    assert caplog.messages == [f"{path}: qform_code 1024 not valid; setting to 0"]
    assert capfd.readouterr() == ("", "")
