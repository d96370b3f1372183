"""Label images on grayordinates: CIFTI-2 files with cortical vertices and subcortical voxels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.atlas.tables import LabelTable, network_of
from bids_neurossm.errors import ResourceMissingError, UsageError


@lru_cache(maxsize=4)
def read_dense_labels(path: Path) -> tuple[npt.NDArray[np.int32], Any, LabelTable | None]:
    """Read a label image on grayordinates.

    Parameters
    ----------
    path : Path
        ``.dlabel.nii``, or ``.dscalar.nii`` with whole numbers.

    Returns
    -------
    labels : ndarray of int32, shape (G,)
        Label of each grayordinate, 0 for none.
    axis : BrainModelAxis
        Which vertex or voxel each of them is.
    table : LabelTable or None
        Labels and names as a ``.dlabel.nii`` carries them; label 0 is left out.

    Raises
    ------
    ResourceMissingError
        If the file is missing, empty or damaged.
    UsageError
        If it has several maps, or holds values that are no labels.
    """
    import nibabel as nib
    from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis

    if not path.is_file() or path.stat().st_size == 0:
        raise ResourceMissingError(f"{path} is missing or empty; a CIFTI-2 label image is expected.")
    try:
        image = nib.load(path)
        if not isinstance(image, Cifti2Image):
            raise ValueError("it has no CIFTI-2 header")
        maps, axis = image.header.get_axis(0), image.header.get_axis(1)
        data = np.asarray(image.dataobj, dtype=np.float64)
    except Exception as error:  # nibabel lets errors of NIfTI, XML and CIFTI-2 of many classes through
        raise ResourceMissingError(f"{path} is not a readable CIFTI-2 label image ({error}); copy it again.") from error
    if not isinstance(axis, BrainModelAxis) or len(data) != 1:
        raise UsageError(f"{path} has {len(data)} maps; one map of labels on grayordinates is expected.")
    labels = np.rint(np.nan_to_num(data[0])).astype(np.int32)
    if not np.allclose(labels, np.nan_to_num(data[0]), atol=1e-3) or labels.min() < 0:
        raise UsageError(f"{path} holds values that are no labels; whole numbers from 0 are expected.")
    labels.flags.writeable = False  # shared by every run
    return labels, axis, _table(maps.label[0]) if isinstance(maps, LabelAxis) else None


def _table(named: dict[int, tuple[str, Any]]) -> LabelTable:
    rows = sorted((int(label), str(name)) for label, (name, _) in named.items() if int(label) > 0)
    names = tuple(name for _, name in rows)
    return LabelTable(tuple(label for label, _ in rows), names, tuple(network_of(name) for name in names))


def on_grayordinates(parcellation: Parcellation, axis: Any, run: Path) -> npt.NDArray[np.int32]:
    """Find the region of every grayordinate of a run.

    Vertices are matched by their number on the surface, voxels by their place in the volume, so that a parcellation of
    the whole cortex fits a run whose medial wall was left out, and the other way round.

    Parameters
    ----------
    parcellation : Parcellation
        Drawn on grayordinates.
    axis : BrainModelAxis
        Of the run.
    run : Path
        For messages.

    Returns
    -------
    ndarray of int32, shape (G,)
        0 outside, else the region's position plus one.

    Raises
    ------
    UsageError
        If surfaces or volumes of run and parcellation are not the same.
    """
    positions, mine = dense_positions(parcellation)
    placed = np.zeros(len(axis), dtype=np.int32)
    for name, count in axis.nvertices.items():
        known = mine.nvertices.get(name)
        if known is None:
            continue
        if known != count:
            raise UsageError(
                f"{parcellation.image_file} has {known} vertices in {name}, {run} has {count}; an atlas of the run's "
                "own density is expected."
            )
        surface = np.zeros(count, dtype=np.int32)
        surface[mine.vertex[mine.name == name]] = positions[mine.name == name]
        placed[axis.name == name] = surface[axis.vertex[axis.name == name]]
    if axis.volume_shape is None or mine.volume_shape is None:
        return placed
    if tuple(axis.volume_shape) != tuple(mine.volume_shape) or not np.allclose(axis.affine, mine.affine, atol=1e-3):
        raise UsageError(f"{parcellation.image_file} and {run} have subcortical voxels on different grids.")
    volume = np.zeros(axis.volume_shape, dtype=np.int32)
    volume[tuple(mine.voxel[mine.volume_mask].T)] = positions[mine.volume_mask]
    placed[axis.volume_mask] = volume[tuple(axis.voxel[axis.volume_mask].T)]
    return placed


def dense_positions(parcellation: Parcellation) -> tuple[npt.NDArray[np.int32], Any]:
    """Find the region of every grayordinate of the label image itself.

    Returns
    -------
    positions : ndarray of int32, shape (G,)
        0 outside, else the region's position plus one.
    axis : BrainModelAxis
        Which vertex or voxel each of them is.
    """
    labels, axis, _ = read_dense_labels(parcellation.image_file)
    return _positions(parcellation, labels), axis


def grayordinate_counts(parcellation: Parcellation) -> npt.NDArray[np.int64]:
    """Count the grayordinates of each region in the label image, shape (R,); 0 where it only names the region."""
    positions, _ = dense_positions(parcellation)
    return np.bincount(positions, minlength=parcellation.n_regions + 1)[1:].astype(np.int64)


def _positions(parcellation: Parcellation, labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    table = np.zeros(max(int(labels.max(initial=0)), *parcellation.labels) + 1, dtype=np.int32)
    table[list(parcellation.labels)] = np.arange(1, parcellation.n_regions + 1)
    return table[labels]
