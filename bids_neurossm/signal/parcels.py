"""Mean series of every region of one or several parcellations, in one pass over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import RunError
from bids_neurossm.signal.stream import ImageHeader, read_header, volumes


@dataclass(frozen=True)
class ParcelSeries:
    """Regional series of one run and what they were taken from.

    Parameters
    ----------
    series : ndarray of float64, shape (T, R)
        Mean over the covered voxels; NaN for a region without any.
    n_voxels : ndarray of int64, shape (R,)
        Voxels of each region on the run's grid; 0 where the region vanishes at this resolution.
    n_covered : ndarray of int64, shape (R,)
        Those inside the brain mask that carry signal.
    """

    series: npt.NDArray[np.float64]
    n_voxels: npt.NDArray[np.int64]
    n_covered: npt.NDArray[np.int64]

    @property
    def coverage(self) -> npt.NDArray[np.float64]:
        """Share of each region's voxels that are covered, in [0, 1]."""
        return self.n_covered / np.maximum(self.n_voxels, 1)


def parcel_means(
    bold_file: str | Path, parcellations: Sequence[Parcellation], mask_file: str | Path | None = None
) -> list[npt.NDArray[np.float64]]:
    """Average an image over the regions of parcellations in one streamed pass.

    Parameters
    ----------
    bold_file : path-like
        4D NIfTI image, compressed or not.
    parcellations : sequence of Parcellation
        Laid over the image's own grid by nearest neighbour.
    mask_file : path-like, optional
        Brain mask on the same grid; voxels outside it are left out.

    Returns
    -------
    list of ndarray of float64, shape (T, R)
        One array per parcellation, NaN for a region without a covered voxel.

    Raises
    ------
    RunError
        If the image or the mask is damaged or does not fit.
    """
    found = parcel_series(Path(bold_file), parcellations, Path(mask_file) if mask_file else None)
    return [each.series for each in found]


def parcel_series(bold: Path, parcellations: Sequence[Parcellation], mask: Path | None) -> list[ParcelSeries]:
    """Average an image over regions, and count what each mean rests on.

    A voxel counts as covered where the mask holds and it is not zero, NaN or infinite throughout the run: such
    voxels lie outside the field of view, and would pull the mean of a region at its edge towards nothing.

    Parameters
    ----------
    bold : Path
        4D NIfTI image.
    parcellations : sequence of Parcellation
        R may differ between them.
    mask : Path or None
        Brain mask on the image's grid.

    Returns
    -------
    list of ParcelSeries

    Raises
    ------
    RunError
        If the image is damaged, or a voxel is NaN or infinite in some volumes only.
    """
    header = read_header(bold)
    inside = np.ones(int(np.prod(header.shape)), dtype=bool) if mask is None else _read_mask(mask, header)
    reducers = [_Reducer(parcellation, header, inside) for parcellation in parcellations]
    for index, volume in enumerate(volumes(bold, header)):
        for reducer in reducers:
            reducer.add(index, volume)
    return [reducer.result(bold) for reducer in reducers]


class _Reducer:
    """Running sums over the regions of one parcellation."""

    def __init__(self, parcellation: Parcellation, header: ImageHeader, inside: npt.NDArray[np.bool_]) -> None:
        placed = parcellation.on_grid(header.shape, header.affine).ravel(order="F")
        self.n_regions = parcellation.n_regions
        self.n_voxels = np.bincount(placed, minlength=self.n_regions + 1)[1:]
        voxels = np.flatnonzero((placed > 0) & inside)
        # Sorted by region, so that one `reduceat` sums each region's run of voxels.
        self.voxels = voxels[np.argsort(placed[voxels], kind="stable")]
        self.regions = placed[self.voxels] - 1
        self.present, self.starts = np.unique(self.regions, return_index=True)
        self.header = header
        self.values = np.empty(self.voxels.size, dtype=header.dtype.newbyteorder("="))
        # What a voxel outside the field of view is stored as.
        self.nothing = -header.intercept / header.slope
        self.alive = np.zeros(self.voxels.size, dtype=bool)
        self.n_alive = 0
        self.n_bad = np.zeros(self.voxels.size, dtype=np.int32)
        self.first_bad = -1
        self.sums = np.zeros((header.n_volumes, self.present.size), dtype=np.float64)

    def add(self, index: int, volume: npt.NDArray[Any]) -> None:
        """Add one volume."""
        if not self.voxels.size:
            return
        # mode="clip" lets numpy write into `out` without a buffer of its own; no index is out of range.
        native = volume if volume.dtype.isnative else volume.astype(self.values.dtype)
        np.take(native, self.voxels, out=self.values, mode="clip")
        sums = np.add.reduceat(self.values, self.starts, dtype=np.float64)
        if not np.isfinite(sums).all():
            self._mark_bad(index)
            sums = np.add.reduceat(self.values, self.starts, dtype=np.float64)
        self.sums[index] = sums
        if self.n_alive < self.alive.size:
            self.alive |= self.values != self.nothing
            self.n_alive = int(np.count_nonzero(self.alive))

    def _mark_bad(self, index: int) -> None:
        bad = ~np.isfinite(self.values)
        if bad.any() and self.first_bad < 0:
            self.first_bad = index
        self.n_bad += bad
        self.values[bad] = self.nothing  # adds nothing real to the sum, and leaves the voxel without signal

    def result(self, bold: Path) -> ParcelSeries:
        """Turn sums into means."""
        sometimes = (self.n_bad > 0) & (self.n_bad < self.header.n_volumes)
        if sometimes.any():
            raise RunError(
                f"{bold} has {int(sometimes.sum())} voxels inside the atlas that are NaN or infinite in some volumes "
                f"(first in volume {self.first_bad + 1}) and finite in others; such an image is damaged, run fMRIPrep "
                "again for it."
            )
        slope, intercept = self.header.slope, self.header.intercept
        n_covered = np.bincount(self.regions[self.alive], minlength=self.n_regions)
        series = np.full((self.header.n_volumes, self.n_regions), np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            n_summed = np.bincount(self.regions, minlength=self.n_regions)[self.present]
            real = self.sums * slope + intercept * n_summed
            series[:, self.present] = real / n_covered[self.present]
        series[:, n_covered == 0] = np.nan
        return ParcelSeries(series, self.n_voxels.astype(np.int64), n_covered.astype(np.int64))


def _read_mask(path: Path, header: ImageHeader) -> npt.NDArray[np.bool_]:
    """Read a brain mask and make sure that it is on the run's grid."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        raise RunError(f"{path} is not a readable brain mask ({error}); run fMRIPrep again for it.") from error
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.shape != header.shape or not np.allclose(affine, header.affine, atol=1e-3):
        raise RunError(
            f"{path} has shape {data.shape}, the run has {header.shape}, or their affines differ; mask and run must be "
            "on one grid."
        )
    if not np.any(data):
        raise RunError(f"{path} is empty: no voxel belongs to the brain; run fMRIPrep again for it.")
    return np.asarray(data != 0).ravel(order="F")
