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
from bids_neurossm.files.nifti import check_nifti, load_nifti

#: More grayordinates than any surface has: a header that claims more is damaged, and no memory is set aside for it.
_MOST_LABELS = 10_000_000


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
    from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis

    if not path.is_file() or path.stat().st_size == 0:
        raise ResourceMissingError(f"{path} is missing or empty; a CIFTI-2 label image is expected.")
    check_nifti(path, ResourceMissingError)
    try:
        image = load_nifti(path)
        if not isinstance(image, Cifti2Image):
            raise ValueError("it has no CIFTI-2 header")
        if np.prod(image.shape, dtype=float) > _MOST_LABELS:
            raise ValueError(f"its header claims the shape {image.shape}")
        maps, axis = image.header.get_axis(0), image.header.get_axis(1)
        data = np.asarray(image.dataobj, dtype=np.float64)
    except Exception as error:  # nibabel lets errors of NIfTI, XML and CIFTI-2 of many classes through
        raise ResourceMissingError(f"{path} is not a readable CIFTI-2 label image ({error}); copy it again.") from error
    if not isinstance(axis, BrainModelAxis) or len(data) != 1:
        raise UsageError(f"{path} has {len(data)} maps; one map of labels on grayordinates is expected.")
    with np.errstate(invalid="ignore"):  # what does not fit is refused next
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

    Vertices are matched by their number on the surface, voxels by their place in mm, whatever the order and the
    direction of the axes in which the two files store them: a parcellation of the whole cortex fits a run whose medial
    wall was left out, and the other way round.

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
    placed[axis.volume_mask] = _matched_voxels(axis, mine, positions[mine.volume_mask], parcellation.image_file, run)
    return placed


def _matched_voxels(
    axis: Any, mine: Any, positions: npt.NDArray[np.int32], image_file: Path, run: Path
) -> npt.NDArray[np.int32]:
    """Give the voxels of a run the regions of the atlas voxels at the same place in mm, in the run's order."""
    theirs = axis.voxel[axis.volume_mask]
    atlas = mine.voxel[mine.volume_mask]
    # Voxel indices of the atlas, counted along the axes of the run.
    step = np.linalg.inv(axis.affine) @ mine.affine
    exact = atlas @ step[:3, :3].T + step[:3, 3]
    moved = np.rint(exact).astype(np.int64)
    if not np.allclose(exact, moved, atol=1e-2) or not np.isclose(abs(np.linalg.det(step[:3, :3])), 1, atol=1e-3):
        raise UsageError(
            f"{image_file} and {run} have subcortical voxels on different grids: their places in mm do not coincide."
        )
    known = dict(zip(map(tuple, moved.tolist()), positions.tolist(), strict=True))
    found = [known.get(place) for place in map(tuple, theirs.tolist())]
    if len(found) and positions.any() and all(each is None for each in found):
        raise UsageError(f"{image_file} and {run} have no subcortical voxel in common: they are of different spaces.")
    return np.array([each or 0 for each in found], dtype=np.int32)


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
