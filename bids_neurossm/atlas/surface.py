"""Parcellations on the cortical surface: which region each vertex of a hemisphere belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.grayordinates import dense_positions
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import UsageError

# MNI305, in which fsaverage is drawn, to MNI152: the affine that FreeSurfer publishes (its page CoordinateSystems).
_MNI305_TO_MNI152 = np.array(
    [[0.9975, -0.0073, 0.0176, -0.0429], [0.0146, 1.0009, -0.0024, 1.5496], [-0.0130, -0.0093, 0.9971, 1.1840]]
)
# Places between white matter and pial surface at which the label image is read.
_DEPTHS = 10
# A region with this share of its voxels on one side is none of the other hemisphere.
_ONE_SIDED = 0.9
_HEMISPHERES = {"L": "left", "R": "right"}
_CORTEX = {"L": "CIFTI_STRUCTURE_CORTEX_LEFT", "R": "CIFTI_STRUCTURE_CORTEX_RIGHT"}
_DENSITIES = {32492: "32k", 59292: "59k", 163842: "164k"}


@dataclass(frozen=True, eq=False)
class SurfaceParcellation:
    """A parcellation on the vertices of both hemispheres.

    Parameters
    ----------
    space, density : str
        ``fsLR`` with the density of the label image, or ``fsaverage`` with ``10k`` (fsaverage5).
    hemispheres : mapping of {"L", "R"} to ndarray of int32, shape (V,)
        0 outside, else the region's position plus one.
    method : str
        How vertices came to their regions, in words.
    n_regions : int
        R of the parcellation.
    """

    space: str
    density: str
    hemispheres: Mapping[str, npt.NDArray[np.int32]]
    method: str
    n_regions: int

    @property
    def absent(self) -> npt.NDArray[np.int64]:
        """Positions of the regions that have no vertex: those below the cortex, and those that are too small."""
        present = np.concatenate([np.unique(placed) for placed in self.hemispheres.values()])
        return np.setdiff1d(np.arange(self.n_regions), present - 1)


def surface_parcellation(parcellation: Parcellation) -> SurfaceParcellation:
    """Bring a parcellation to the cortical surface.

    One on grayordinates has its surfaces already. One of voxels in an MNI152 space is read along the way from the
    white matter to the pial surface of fsaverage5, which comes with nilearn: each vertex takes the label that it
    meets most often. The vertices are moved from MNI305 to MNI152 by FreeSurfer's affine first. That is good enough
    to look at (Schaefer-400: 87 % of the vertices, the medial wall among the rest, and all 400 regions are met, none
    in the wrong hemisphere; centres lie 2.5 mm from those of the volume, median), and not meant for statistics on
    vertices: folding differs between people, and an affine can not undo that (Wu et al., 2018, Human Brain Mapping
    39:3793).

    Raises
    ------
    UsageError
        If the parcellation has no surface; the message says why.
    """
    if parcellation.dense:
        return _of_grayordinates(parcellation)
    if not parcellation.any_space and not parcellation.space.startswith("MNI152"):
        raise UsageError(
            f"{parcellation.name} is drawn in {parcellation.space}, and only atlases in an MNI152 space can be laid "
            "over the surface of fsaverage."
        )
    return _on_fsaverage(parcellation)


def _of_grayordinates(parcellation: Parcellation) -> SurfaceParcellation:
    positions, axis = dense_positions(parcellation)
    placed = {}
    for hemisphere, structure in _CORTEX.items():
        if structure in axis.nvertices:
            of_it = axis.name == structure
            placed[hemisphere] = np.zeros(axis.nvertices[structure], dtype=np.int32)
            placed[hemisphere][axis.vertex[of_it]] = positions[of_it]
    if not any(each.any() for each in placed.values()):
        raise UsageError(f"{parcellation.image_file.name} has no region on the cortex.")
    size = max(each.size for each in placed.values())
    density = _DENSITIES.get(size, f"{round(size / 1000)}k")
    return SurfaceParcellation(
        parcellation.space, density, placed, "The vertices of the label image.", parcellation.n_regions
    )


def _on_fsaverage(parcellation: Parcellation) -> SurfaceParcellation:
    import nibabel as nib
    from nilearn.datasets import load_fsaverage
    from nilearn.surface import InMemoryMesh, vol_to_surf

    positions = parcellation.positions()
    _, affine, _ = parcellation.image()
    meshes = load_fsaverage("fsaverage5")
    side = _side(positions, affine, parcellation.n_regions)

    def moved(surface: str, part: str) -> Any:
        mesh = meshes[surface].parts[part]
        return InMemoryMesh(mesh.coordinates @ _MNI305_TO_MNI152[:, :3].T + _MNI305_TO_MNI152[:, 3], mesh.faces)

    vertices = np.concatenate([moved("pial", part).coordinates for part in _HEMISPHERES.values()])
    wide, shifted = _around(positions, affine, vertices)
    image = nib.Nifti1Image(wide.astype(np.float32), shifted)
    placed = {}
    for hemisphere, part in _HEMISPHERES.items():
        sampled = vol_to_surf(
            image, moved("pial", part), inner_mesh=moved("white_matter", part), n_samples=_DEPTHS,
            interpolation="nearest_most_frequent",
        )  # fmt: skip
        found = np.nan_to_num(sampled).round().astype(np.int32)
        other = "R" if hemisphere == "L" else "L"
        placed[hemisphere] = np.where(side[found] == other, 0, found).astype(np.int32)
    if not any(each.any() for each in placed.values()):
        raise UsageError(f"no region of {parcellation.name} reaches the cortical surface of fsaverage.")
    method = (
        f"Most frequent label at {_DEPTHS} depths between white matter and pial surface of fsaverage5, its vertices "
        "moved from MNI305 to MNI152 by FreeSurfer's affine; to look at, not for statistics on vertices."
    )
    return SurfaceParcellation("fsaverage", "10k", placed, method, parcellation.n_regions)


def _around(
    positions: npt.NDArray[np.int32], affine: npt.NDArray[np.float64], points: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Widen a label image until all points lie in it: nilearn has no label for a vertex beside the image."""
    voxels = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    before = np.maximum(0, 1 - np.floor(voxels.min(axis=0)).astype(int))
    after = np.maximum(0, np.ceil(voxels.max(axis=0)).astype(int) + 2 - np.array(positions.shape))
    shifted = affine.copy()
    shifted[:3, 3] -= affine[:3, :3] @ before
    return np.pad(positions, list(zip(before, after, strict=True))), shifted


def _side(positions: npt.NDArray[np.int32], affine: npt.NDArray[np.float64], n_regions: int) -> npt.NDArray[np.str_]:
    """Tell the hemisphere of each region, shape (R + 1,), empty for those on both sides; the first is the outside."""
    voxels = np.argwhere(positions > 0)
    left = (voxels @ affine[0, :3] + affine[0, 3]) < 0
    inside = positions[positions > 0]
    size = np.maximum(np.bincount(inside, minlength=n_regions + 1), 1)
    share = np.bincount(inside, weights=left, minlength=n_regions + 1) / size
    side = np.where(share >= _ONE_SIDED, "L", np.where(share <= 1 - _ONE_SIDED, "R", ""))
    side[0] = ""
    return side
