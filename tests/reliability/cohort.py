"""A cohort so small that a command on it takes a second, and an atlas for it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.files.write import write_json, write_nifti, write_text
from bids_neurossm.simulation import Grid, paint_run, simulate_confounds
from bids_neurossm.simulation.confounds import autoregressive

#: No surface is known for this space, which spares reports most of their drawing.
SPACE = "MNIPediatricAsym"
REPETITION_TIME = 2.0
N_VOLUMES = 64
N_REGIONS = 8
#: 8 mm voxels around the middle of the brain.
SHAPE = (12, 12, 12)
AFFINE = np.array([[8.0, 0, 0, -48], [0, 8, 0, -48], [0, 0, 8, -32], [0, 0, 0, 1]])

#: The smallest model there is, trained for a moment.
RECIPE = """\
[model]
scales = [1, 2]
streams = ["raw"]
width = 4
state = 2
depth = 1
fusion = "additive"

[training]
epochs = 2
batch_size = 16
window = 32
"""


def write_atlas(folder: Path) -> Path:
    """Write eight cubes as a label image with a table beside it.

    Parameters
    ----------
    folder : Path
        Where they go.

    Returns
    -------
    Path
        The label image.
    """
    labels = np.zeros(SHAPE, dtype=np.int16)
    corners = [(x, y, z) for x in (1, 6) for y in (1, 6) for z in (1, 6)]
    for index, (x, y, z) in enumerate(corners, start=1):
        labels[x : x + 4, y : y + 4, z : z + 4] = index
    image = folder / f"tpl-{SPACE}_atlas-Cubes_dseg.nii.gz"
    write_nifti(image, labels, AFFINE)
    rows = [f"{index}\tcube_{index}" for index in range(1, N_REGIONS + 1)]
    write_text(folder / f"tpl-{SPACE}_atlas-Cubes_dseg.tsv", "\n".join(["index\tname", *rows]) + "\n")
    return image


def write_recipe(folder: Path, recipe: str = RECIPE, name: str = "smallest.toml") -> Path:
    """Write the smallest recipe, or another one."""
    path = folder / name
    write_text(path, recipe)
    return path


def write_plugin(folder: Path) -> Path:
    """Write a plugin file that keeps the work in the process of the command."""
    path = folder / "linear.yml"
    write_text(path, "plugin: Linear\n")
    return path


def write_dataset(folder: Path, atlas: Path, n_participants: int, tasks: tuple[str, ...] = ("nback",)) -> Path:
    """Write fMRIPrep-like derivatives of a few participants.

    Parameters
    ----------
    folder : Path
        The dataset.
    atlas : Path
        Label image of `write_atlas`.
    n_participants : int
        How many; labels are 001, 002 ...
    tasks : tuple of str
        One run each. The second has a rhythm in half of the regions, so that there is something to learn.

    Returns
    -------
    Path
        `folder`.
    """
    parcellation = load_parcellation(atlas, SPACE)
    rng = np.random.default_rng(0)
    mask = np.ones(SHAPE, dtype=bool)
    mask[0] = False
    for number in range(1, n_participants + 1):
        for task in tasks:
            paint_run(
                folder,
                {"sub": f"{number:03d}", "task": task, "space": SPACE},
                _series(task == tasks[0], rng),
                parcellation,
                Grid(SHAPE, AFFINE),
                mask,
                simulate_confounds(N_VOLUMES, REPETITION_TIME, rng, n_dummy=1),
                REPETITION_TIME,
                rng,
            )
    _describe(folder)
    return folder


def _series(plain: bool, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    series = autoregressive(N_VOLUMES, N_REGIONS, 0.5, rng)
    if not plain:
        series[:, : N_REGIONS // 2] += np.sin(2 * np.pi * np.arange(N_VOLUMES) / 12)[:, None]
    return 1000 + 10 * series


def _describe(folder: Path) -> None:
    write_json(
        folder / "dataset_description.json",
        {
            "Name": "simulated",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0"}],
        },
    )


def multiply(source: Path, folder: Path, n_participants: int) -> Path:
    """Make many participants of a few by hard links: the n-th is the copy of the n-th, modulo those there are.

    Parameters
    ----------
    source : Path
        A dataset of `write_dataset`.
    folder : Path
        The large dataset.
    n_participants : int
        How many it gets; labels are 001, 002 ...

    Returns
    -------
    Path
        `folder`.
    """
    originals = sorted(path.name for path in source.glob("sub-*"))
    for number in range(n_participants):
        original, name = originals[number % len(originals)], f"sub-{number + 1:03d}"
        for path in sorted((source / original).rglob("*")):
            if path.is_file():
                relative = str(path.relative_to(source)).replace(original, name)
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                os.link(path, folder / relative)
    _describe(folder)
    return folder
