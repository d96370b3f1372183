"""Whether the header of a NIfTI image states its orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_neurossm.files.nifti import load_nifti

_REMEDY = (
    "both sform and qform are 0, so left and right and the place of the image are a guess; run the pipeline that wrote "
    "it again, set the codes with FSL's fslorient (-setsformcode, -setqformcode) if you know that the affine is right, "
    "or add --allow-missing-orientation"
)


def is_oriented(header: Any) -> bool:
    """Tell whether a NIfTI header has an sform or a qform; nibabel makes an affine up where it has neither."""
    try:
        return int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    except (KeyError, ValueError, IndexError, TypeError):
        return True  # another format, which has no such codes


def has_orientation(path: Path) -> bool:
    """Tell whether the header of a NIfTI image states its orientation."""
    image: Any = load_nifti(path)
    return is_oriented(image.header)


def missing_orientation(path: Path) -> str:
    """Say in one sentence that an image has no orientation, and what can be done."""
    return f"The header of {path} states no orientation: {_REMEDY}."
