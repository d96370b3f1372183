"""Studies and atlases that several specifications share."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.reference.studies import Studies, load_neurosynth, load_nimare_task_studies


@pytest.fixture(scope="session")
def task_studies() -> Studies:
    return load_nimare_task_studies()


@pytest.fixture(scope="session")
def neurosynth(shared_data: Path) -> Studies:
    return load_neurosynth(shared_data / "neurosynth")


@pytest.fixture(scope="session")
def schaefer200(shared_data: Path) -> tuple[np.ndarray, np.ndarray, list[int]]:
    image = nib.load(shared_data / "atlases" / "Schaefer200_space-MNI152NLin6_res-2x2x2.nii.gz")
    return np.asarray(image.dataobj), image.affine, list(range(1, 201))
