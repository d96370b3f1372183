"""A parcellation: a label image with names, and how it is laid over the grid of an image."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.drawing import Drawing, labels_hash
from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.files.hashing import hash_content, hash_file
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.files.safe_reading import missing_content

#: Names that other software gives to the spaces of TemplateFlow.
SPACE_ALIASES = {
    "MNI152NLin6": "MNI152NLin6Asym",
    "FSLMNI152": "MNI152NLin6Asym",
    "MNI152NLin2009c": "MNI152NLin2009cAsym",
}


#: Label images on grayordinates (CIFTI-2): cortical vertices and subcortical voxels.
DENSE_EXTENSIONS = (".dlabel.nii", ".dscalar.nii")


@dataclass(frozen=True)
class Layer:
    """Regions that are taken from one label image.

    Parameters
    ----------
    image_file : Path
        The label image.
    labels : tuple of int
        Labels that are taken, in the order of the regions.
    """

    image_file: Path
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Parcellation:
    """A label image with a name for every region.

    Parameters
    ----------
    entities : mapping
        BIDS entities that name it: ``atlas``, and where they apply ``seg`` and ``scale``.
    space : str
        TemplateFlow name of the space in which it is drawn.
    image_file, table_file : Path
        Where it was read from.
    labels : tuple of int
        Label of each region in the image, ascending.
    names, networks : tuple of str
        Name and network of each region; ``n/a`` where there is no network.
    any_space : bool
        Whether it may be laid over another MNI space (with a warning).
    facts : mapping
        Title, licence, citation, DOI.
    layers : tuple of Layer
        Of a combined parcellation: what it takes from which image. A voxel that two layers claim belongs to the first
        of them; everything is drawn on the grid of the first image, with labels from 1 to R in the order of the
        layers. Empty for a parcellation that is one label image.
    """

    entities: Mapping[str, str]
    space: str
    image_file: Path
    table_file: Path
    labels: tuple[int, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]
    any_space: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()

    @property
    def name(self) -> str:
        """Entities as one label, for instance ``Schaefer20187Networks400``."""
        return "".join(self.entities[key] for key in ("atlas", "seg", "scale") if key in self.entities)

    @property
    def n_regions(self) -> int:
        """Number of regions, R."""
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """SHA-256 of the image file; of a combined parcellation, of everything that it is drawn from."""
        if not self.layers:
            return hash_file(self.image_file)
        return hash_content([[hash_file(layer.image_file), layer.labels] for layer in self.layers])

    @property
    def image_files(self) -> tuple[Path, ...]:
        """All label images that it is drawn from."""
        return tuple(layer.image_file for layer in self.layers) or (self.image_file,)

    @property
    def drawing(self) -> Drawing:
        """Where its regions are drawn; the label image is read once for many calls."""
        if self.dense:
            return Drawing(self.space, "", hash_file(self.image_file))
        return Drawing(self.space, *_identity(self.layers or (Layer(self.image_file, self.labels),), self.image_hashes))

    @property
    def image_hashes(self) -> tuple[str, ...]:
        """SHA-256 of each of `image_files`."""
        return tuple(hash_file(path) for path in self.image_files)

    @property
    def dense(self) -> bool:
        """Whether it is drawn on grayordinates, for CIFTI series, and not on a grid of voxels."""
        return self.image_file.name.endswith(DENSE_EXTENSIONS)

    def image(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], Any]:
        """Read the label image.

        Returns
        -------
        labels : ndarray of int32, shape (X, Y, Z)
        affine : ndarray, shape (4, 4)
        header : Nifti1Header

        Raises
        ------
        ResourceMissingError
            If the file is empty or damaged.
        UsageError
            If it is drawn on grayordinates.
        """
        self._refuse_dense()
        if not self.layers:
            return read_label_image(self.image_file)
        _, affine, header = read_label_image(self.layers[0].image_file)
        return _positions(self.layers).copy(), affine, header

    def index_map(self) -> npt.NDArray[np.int32]:
        """Table that turns a label into a region's position plus one; other labels become 0."""
        table = np.zeros(max(self.labels) + 1, dtype=np.int32)
        table[list(self.labels)] = np.arange(1, self.n_regions + 1)
        return table

    def positions(self) -> npt.NDArray[np.int32]:
        """Find the region of every voxel of the label image, (X, Y, Z): 0 outside, else its position plus one."""
        labels, _, _ = self.image()
        table = self.index_map()
        return np.where(labels < table.size, table[np.minimum(labels, table.size - 1)], 0).astype(np.int32)

    def on_grid(self, shape: tuple[int, int, int], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
        """Lay the parcellation over a grid by nearest neighbour.

        Parameters
        ----------
        shape : tuple of int, (X, Y, Z)
            Size of the grid in voxels.
        affine : ndarray, shape (4, 4)
            Voxel indices to mm.

        Returns
        -------
        ndarray of int32, shape (X, Y, Z)
            0 outside, else the region's position plus one. Regions can vanish on a coarse grid.
        """
        self._refuse_dense()
        layers = self.layers or (Layer(self.image_file, self.labels),)
        return _on_grid(layers, shape, tuple(np.asarray(affine, float).ravel()))

    def _refuse_dense(self) -> None:
        if self.dense:
            raise UsageError(
                f"{self.image_file} is drawn on grayordinates and can not be laid over voxels; choose runs with "
                f"--space {self.space}, or an atlas that is a NIfTI image."
            )


#: Larger than an atlas of 0.5 mm: a header that claims more is damaged, and no memory is set aside for it.
_MOST_VOXELS = 400**3


def read_label_image(path: Path) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], Any]:
    """Read a 3D image of labels, which some atlases store as floating point.

    Raises
    ------
    ResourceMissingError
        If the file is empty, damaged, not 3D, or holds values that are no labels.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError, ImageDataError

    problem = missing_content(path)
    if problem is not None and (path.is_symlink() or path.stat().st_size > 0):
        raise ResourceMissingError(problem)
    if not path.is_file() or path.stat().st_size == 0:
        state = "is empty (a stub that was never downloaded)" if path.is_file() else "does not exist"
        raise ResourceMissingError(f"{path} {state}; run `bids-neurossm-fetch DIR` where there is internet.")
    check_nifti(path, ResourceMissingError)
    try:
        image = load_nifti(path)
        if np.prod(image.shape, dtype=float) > _MOST_VOXELS:
            raise ValueError(f"its header claims the shape {image.shape}")
        data = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (ImageFileError, HeaderDataError, ImageDataError, OSError, EOFError, ValueError, zlib.error) as error:
        raise ResourceMissingError(f"{path} is not a readable label image ({error}); fetch it again.") from error
    if data.ndim == 4 and data.shape[3] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise ResourceMissingError(f"{path} has shape {data.shape}; a 3D image of labels is expected.")
    with np.errstate(invalid="ignore"):  # what does not fit is refused next
        labels = np.rint(np.nan_to_num(data)).astype(np.int32)
    if not np.allclose(labels, np.nan_to_num(data), atol=1e-3) or labels.min() < 0:
        raise ResourceMissingError(f"{path} holds values that are no labels; whole numbers from 0 are expected.")
    if not labels.any():
        raise ResourceMissingError(f"{path} holds no region: every voxel is 0.")
    return labels, affine, image.header


@lru_cache(maxsize=4)
def _positions(layers: tuple[Layer, ...]) -> npt.NDArray[np.int32]:
    """Draw layers on the grid of the first image: 0 outside, else the region's position plus one."""
    first = layers[0]
    labels, affine, _ = read_label_image(first.image_file)
    table = np.zeros(max(int(labels.max()), *first.labels) + 1, dtype=np.int32)
    table[list(first.labels)] = np.arange(1, len(first.labels) + 1)
    drawn = table[labels]
    n_regions = len(first.labels)
    for layer in layers[1:]:
        placed = _on_grid((layer,), labels.shape, tuple(affine.ravel()))
        drawn = np.where((drawn == 0) & (placed > 0), placed + n_regions, drawn)
        n_regions += len(layer.labels)
    drawn.flags.writeable = False  # shared by every run
    return drawn


@lru_cache(maxsize=8)
def _identity(layers: tuple[Layer, ...], hashes: tuple[str, ...]) -> tuple[str, str]:
    """Return the resolution of a drawing and the hash of its labels; `hashes` are those of the files."""
    _, affine, _ = read_label_image(layers[0].image_file)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    # Not the cached regions: they could be those of an earlier content of the file.
    return "x".join(f"{size:.3g}" for size in sizes), labels_hash(_positions.__wrapped__(layers), affine)


@lru_cache(maxsize=4)
def _on_grid(
    layers: tuple[Layer, ...], shape: tuple[int, ...], flat_affine: tuple[float, ...]
) -> npt.NDArray[np.int32]:
    """Resample as nilearn does, so that voxels on a tie fall where its maskers put them, but without importing it."""
    placed = _positions(layers)
    _, affine, _ = read_label_image(layers[0].image_file)
    target = np.asarray(flat_affine).reshape(4, 4)
    if placed.shape != tuple(shape) or not np.allclose(affine, target, atol=1e-4):
        from scipy.ndimage import affine_transform

        step = np.linalg.inv(affine) @ target
        turn = step[:3, :3]
        # A vector instead of a diagonal matrix makes scipy take its separable path: other ties, and nilearn's.
        turn = np.diag(turn) if np.array_equal(np.diag(np.diag(turn)), turn) else turn
        placed = affine_transform(placed, turn, offset=step[:3, 3], output_shape=shape, order=0)
        placed.flags.writeable = False  # shared by every run on this grid
    return placed
