"""A tiny dataset with fMRIPrep's names on a grid of 8 mm: eight regions of 120 voxels, 60 volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

SPACE = "MNI152NLin6Asym"
AFFINE = np.diag([8.0, 8.0, 8.0, 1.0])
AFFINE[:3, 3] = (-76, -108, -68)
SHAPE = (20, 24, 20)
N_VOLUMES = 60


def region_labels() -> np.ndarray:
    """Eight boxes of 5 x 4 x 6 voxels."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    for index in range(8):
        x, y = 3 + 7 * (index % 2), 3 + 5 * (index // 2)
        labels[x : x + 5, y : y + 4, 6:12] = index + 1
    return labels


def save(path: Path, data: np.ndarray, oriented: bool = True) -> Path:
    """Write an image; without orientation both form codes are 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(data, AFFINE)
    code = 4 if oriented else 0
    image.set_sform(AFFINE, code)
    image.set_qform(AFFINE, code)
    nib.save(image, path)
    return path


def write_atlas(folder: Path, name: str = f"tpl-{SPACE}_atlas-Boxes_dseg", oriented: bool = True) -> Path:
    """Write the label image with its table."""
    image = save(folder / f"{name}.nii.gz", region_labels(), oriented)
    rows = "".join(f"{label}\tbox{label}\n" for label in range(1, 9))
    (folder / f"{name}.tsv").write_text(f"index\tname\n{rows}")
    return image


def describe(dataset: Path) -> Path:
    """Say that a folder is a dataset of fMRIPrep."""
    dataset.mkdir(parents=True, exist_ok=True)
    generated = [{"Name": "fMRIPrep", "Version": "24.1.1"}]
    description = {"Name": "fMRIPrep", "BIDSVersion": "1.4.0", "DatasetType": "derivative", "GeneratedBy": generated}
    (dataset / "dataset_description.json").write_text(json.dumps(description))
    return dataset


def add_run(dataset: Path, source: str, space: str = SPACE, seed: int = 0, **options: Any) -> dict[str, Path]:
    """Add a run with mask, confounds and sidecar.

    The mask takes 48 of the 120 voxels of every second region: those on its first two sagittal slices.

    Parameters
    ----------
    dataset : Path
        Root; it gets a description.
    source : str
        Entities of the recording, ``sub-01_task-rest``.
    space : str
        With what follows it, ``MNIPediatricAsym_cohort-5_res-2``.
    seed : int
        Of the noise.
    options
        ``mask``, ``oriented``, ``seconds``.
    """
    describe(dataset)
    random = np.random.default_rng(seed)
    entities = dict(pair.split("-", 1) for pair in source.split("_"))
    folder = dataset / f"sub-{entities['sub']}" / (f"ses-{entities['ses']}" if "ses" in entities else "") / "func"
    labels = region_labels()
    signal = np.column_stack([np.zeros(N_VOLUMES), random.standard_normal((N_VOLUMES, 8))])
    data = 1000 + 20 * np.moveaxis(signal[:, labels], 0, -1) + random.standard_normal((*SHAPE, N_VOLUMES))
    named = folder / f"{source}_space-{space}"
    oriented = bool(options.get("oriented", True))
    files = {"bold": save(Path(f"{named}_desc-preproc_bold.nii.gz"), data.astype(np.float32), oriented)}
    files["sidecar"] = Path(f"{named}_desc-preproc_bold.json")
    seconds = options.get("seconds", 2.0)
    files["sidecar"].write_text("{}" if seconds is None else json.dumps({"RepetitionTime": seconds}))
    if options.get("mask", True):
        inside = labels > 0
        inside[3:5] = False
        files["mask"] = save(Path(f"{named}_desc-brain_mask.nii.gz"), inside.astype(np.uint8), oriented)
    files["confounds"] = folder / f"{source}_desc-confounds_timeseries.tsv"
    confounds(random).to_csv(files["confounds"], sep="\t", index=False, na_rep="n/a")
    return files


def confounds(random: np.random.Generator) -> pd.DataFrame:
    """What the strategy `simple` needs."""
    columns: dict[str, np.ndarray] = {}
    for name in ("csf", "white_matter", *(f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz")):
        values = np.cumsum(random.standard_normal(N_VOLUMES)) * 0.01
        derivative = np.r_[np.nan, np.diff(values)]
        columns |= {name: values, f"{name}_derivative1": derivative, f"{name}_power2": values**2}
        columns[f"{name}_derivative1_power2"] = derivative**2
    columns["framewise_displacement"] = np.r_[np.nan, np.full(N_VOLUMES - 1, 0.1)]
    columns["std_dvars"] = np.r_[np.nan, np.ones(N_VOLUMES - 1)]
    columns["cosine00"] = np.cos(np.pi * (np.arange(N_VOLUMES) + 0.5) / N_VOLUMES)
    return pd.DataFrame(columns)


def dangle(path: Path) -> Path:
    """Replace a file by a link to content that was not fetched, as DataLad leaves it."""
    path.unlink()
    path.symlink_to("../../.git/annex/objects/Xx/Yy/SHA256E-s1--0/SHA256E-s1--0")
    return path


def point(path: Path) -> Path:
    """Replace a file by a pointer of git-annex."""
    path.write_text("/annex/objects/SHA256E-s8123456--0123456789abcdef.nii.gz\n")
    return path
