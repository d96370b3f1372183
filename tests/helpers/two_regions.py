"""An atlas of two regions."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from bids_neurossm.atlas import Parcellation, load_parcellation

SPACE = "MNI152NLin6Asym"


def slabs() -> np.ndarray:
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    labels[1], labels[2] = 1, 2
    return labels


def drawn(folder: Path, labels: np.ndarray, space: str = SPACE, affine: np.ndarray | None = None) -> Parcellation:
    """Write a label image of two regions and load it."""
    folder.mkdir()
    affine = np.diag([2.0, 2, 2, 1]) if affine is None else affine
    image = folder / f"tpl-{space}_atlas-Two_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels, affine), image)
    (folder / f"tpl-{space}_atlas-Two_dseg.tsv").write_text("index\tname\n1\ta\n2\tb\n")
    return load_parcellation(image)
