"""The grid on which maps are shown: every map is brought onto it once, and slices, projections and surfaces are cut.

Anatomy (template, glass brain, surface mesh) is what nilearn ships. Its files are read where they lie: importing
nilearn's plotting and dataset packages costs four seconds and 110 MB, which the report of a participant does not need.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from bids_neurossm.errors import ResourceMissingError, RunError
from bids_neurossm.files.nifti import load_nifti

ORIGIN = np.array([-90.0, -126.0, -72.0])
SHAPE = (91, 109, 91)
STEP = 2.0


def nilearn_file(*parts: str) -> Path:
    """Return the path of a file that nilearn ships, without importing nilearn.

    Raises
    ------
    ResourceMissingError
        If this nilearn does not have it.
    """
    spec = importlib.util.find_spec("nilearn")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    path = Path(folders[0], *parts) if folders else Path(*parts)
    if not path.is_file():
        raise ResourceMissingError(
            f"nilearn lacks {'/'.join(parts)}, which reports draw; install nilearn 0.13 (pip install 'nilearn<0.14')."
        )
    return path


def on_display_grid(path: Path) -> np.ndarray:
    """Sample a map on the display grid, the nearest voxel each.

    Parameters
    ----------
    path : Path
        NIfTI of three dimensions in an MNI space, in any orientation.

    Returns
    -------
    ndarray, shape (91, 109, 91), float32
        First axis left to right, then posterior to anterior, then inferior to superior; NaN outside the map.

    Raises
    ------
    RunError
        If the file can not be read or is not of three dimensions.
    """
    try:
        image: Any = load_nifti(path)
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise RunError(f"{path} is not a readable NIfTI image ({error}); delete it and run again.") from error
    if data.ndim != 3:
        raise RunError(f"{path} has {data.ndim} dimensions, a map of 3 is expected; delete it and run again.")
    return sampled(data, np.asarray(image.affine))


def sampled(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Take the nearest voxel at every point of the display grid, slice by slice to keep the memory small.

    Parameters
    ----------
    data : ndarray, shape (X, Y, Z)
        Values.
    affine : ndarray, shape (4, 4)
        Voxel to mm.

    Returns
    -------
    ndarray, shape (91, 109, 91), float32
        NaN outside the image.
    """
    inverse = np.linalg.inv(affine)
    axes = [ORIGIN[i] + STEP * np.arange(SHAPE[i]) for i in range(3)]
    if np.count_nonzero(inverse[:3, :3]) == 3:
        return _sampled_along_axes(data, inverse, axes)
    result = np.full(SHAPE, np.nan, dtype=np.float32)
    plane = np.stack(np.meshgrid(axes[0], axes[1], indexing="ij")).reshape(2, -1)
    for place, z in enumerate(axes[2]):
        points = inverse[:3, :2] @ plane + (inverse[:3, 2] * z + inverse[:3, 3])[:, None]
        # The small shift decides ties between two voxels the same way on every machine.
        voxels = np.floor(points + 0.5 - 1e-6).astype(np.int64)
        inside = np.all((voxels >= 0) & (voxels < np.array(data.shape)[:, None]), axis=0)
        row = np.full(plane.shape[1], np.nan, dtype=np.float32)
        row[inside] = data[tuple(voxels[:, inside])]
        result[:, :, place] = row.reshape(SHAPE[:2])
    return result


def _sampled_along_axes(data: np.ndarray, inverse: np.ndarray, axes: list[np.ndarray]) -> np.ndarray:
    """Do the same for voxels that lie along the axes, as nearly all do: three look-ups instead of a million."""
    kept, found = [], []
    for voxel_axis in range(3):
        world = int(np.flatnonzero(inverse[voxel_axis, :3])[0])
        places = inverse[voxel_axis, world] * axes[world] + inverse[voxel_axis, 3]
        voxels = np.floor(places + 0.5 - 1e-6).astype(np.int64)
        inside = np.flatnonzero((voxels >= 0) & (voxels < data.shape[voxel_axis]))
        kept.append((world, inside))
        found.append(voxels[inside])
    values = data[np.ix_(*found)]
    order = np.argsort([world for world, _ in kept])
    result = np.full(SHAPE, np.nan, dtype=np.float32)
    result[np.ix_(*(kept[place][1] for place in order))] = values.transpose(order)
    return result


@lru_cache(maxsize=1)
def background() -> np.ndarray:
    """Return the anatomical background, shape (91, 109, 91), 0 to 1, NaN outside the brain."""
    image: Any = nib.load(nilearn_file("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"))
    data = np.asarray(image.dataobj)
    # The template has voxels of 1 mm, stored left to right: eight of them make one of the grid.
    start = np.round(ORIGIN - np.asarray(image.affine)[:3, 3]).astype(int)
    x, y, z = (slice(first, first + 2 * size) for first, size in zip(start, SHAPE, strict=True))
    share: np.ndarray = (
        data[x, y, z].reshape(SHAPE[0], 2, SHAPE[1], 2, SHAPE[2], 2).mean(axis=(1, 3, 5), dtype=np.float32)
    )
    share /= share.max()
    share[~(share > 0.05)] = np.nan
    return share


def grid_index(points: np.ndarray) -> np.ndarray:
    """Return the flat index into the display grid of points in mm, clipped to the grid.

    Parameters
    ----------
    points : ndarray, shape (..., 3)
        Coordinates in mm.
    """
    voxels = np.floor((points - ORIGIN) / STEP + 0.5).astype(np.int64)
    voxels = np.clip(voxels, 0, np.array(SHAPE) - 1)
    flat: np.ndarray = np.ravel_multi_index(tuple(np.moveaxis(voxels, -1, 0)), SHAPE).astype(np.int32)
    return flat
