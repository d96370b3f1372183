"""The smallest study: fMRIPrep derivatives of white noise, an atlas of eight cubes, labels, a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np

SPACE = "MNIPediatricAsym"
RECIPE = """\
[model]
scales = [1, 2]
streams = ["raw"]
width = 4
state = 2
depth = 1
[training]
epochs = 1
batch_size = 16
window = 32
"""


def make_dataset(folder: Path, n: int = 12, damaged: bool = False) -> None:
    """Write runs of white noise, the last of them cut short if wanted, an atlas of eight cubes, labels, a recipe."""
    rng = np.random.default_rng(0)
    affine = np.diag([8.0, 8, 8, 1])
    labels = np.zeros((12, 12, 12), "i2")
    for number in range(8):
        x, y, z = (1 + 5 * (number >> shift & 1) for shift in (2, 1, 0))
        labels[x : x + 4, y : y + 4, z : z + 4] = number + 1
    atlas = folder / "atlas" / f"tpl-{SPACE}_atlas-Cubes_dseg.nii.gz"
    atlas.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(labels, affine), atlas)
    rows = "".join(f"{number}\tcube_{number}\n" for number in range(1, 9))
    (atlas.parent / f"tpl-{SPACE}_atlas-Cubes_dseg.tsv").write_text(f"index\tname\n{rows}")
    for number in range(1, n + 1):
        func = folder / "fmriprep" / f"sub-{number:02d}" / "func"
        func.mkdir(parents=True)
        stem = f"sub-{number:02d}_task-rest_space-{SPACE}_desc-"
        image = nib.Nifti1Image((1000 + 10 * rng.standard_normal((12, 12, 12, 64))).astype("f4"), affine)
        image.header["pixdim"][4] = 2
        nib.save(image, func / f"{stem}preproc_bold.nii.gz")
        mask = np.ones((12, 12, 12), "u1")
        nib.save(nib.Nifti1Image(mask, affine), func / f"{stem}brain_mask.nii.gz")
        (func / f"{stem}preproc_bold.json").write_text('{"RepetitionTime": 2.0}')
    if damaged:
        image_file = func / f"{stem}preproc_bold.nii.gz"
        image_file.write_bytes(image_file.read_bytes()[:50_000])
    (folder / "fmriprep" / "dataset_description.json").write_text(
        json.dumps({"Name": "t", "BIDSVersion": "1.9.0", "DatasetType": "derivative", "GeneratedBy": []})
    )
    table = "".join(f"sub-{number:02d}\t{'AB'[number % 2]}\n" for number in range(1, n + 1))
    (folder / "people.tsv").write_text(f"participant_id\tdx\n{table}")
    (folder / "own.toml").write_text(RECIPE)


def participant_options(folder: Path) -> list[str]:
    """Options of the participant level."""
    atlas = folder / "atlas" / f"tpl-{SPACE}_atlas-Cubes_dseg.nii.gz"
    return ["--atlas", str(atlas), "--space", SPACE, "--denoise", "none", "--nprocs", "2"]


def group_options(folder: Path) -> list[str]:
    """Options of the group level."""
    options = [
        "--target",
        "dx",
        "--participants-file",
        str(folder / "people.tsv"),
        "--recipe",
        str(folder / "own.toml"),
    ]
    return [
        *options,
        *["--folds", "2", "--baselines", "none", "--reference", "none", "--analysis-id", "g", "--nprocs", "2"],
    ]
