"""Mean series of every region of one or several parcellations, in one pass over an image."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.orientation import is_oriented, missing_orientation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import RunError
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.signal.digest import FileDigest
from bids_neurossm.signal.stream import DAMAGE, ImageHeader, nifti_errors, read_header, reading_order, volumes


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
    header_repetition_time : float
        What the header of the image claims, in seconds; NaN where it claims nothing. Sidecars are believed instead.
    """

    series: npt.NDArray[np.float64]
    n_voxels: npt.NDArray[np.int64]
    n_covered: npt.NDArray[np.int64]
    header_repetition_time: float = float("nan")

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


def parcel_series(
    bold: Path,
    parcellations: Sequence[Parcellation],
    mask: Path | None,
    digest: FileDigest | None = None,
    allow_missing_orientation: bool = False,
) -> list[ParcelSeries]:
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
    digest : FileDigest, optional
        Takes the hash of the image while it is read.
    allow_missing_orientation : bool
        Take an image or a mask whose header has neither an sform nor a qform.

    Returns
    -------
    list of ParcelSeries

    Raises
    ------
    RunError
        If the image is damaged or its header states no orientation, or a voxel is NaN or infinite in some volumes only.
    """
    header = read_header(bold)
    if not (header.oriented or allow_missing_orientation):
        raise RunError(missing_orientation(bold))
    inside = (
        np.ones(int(np.prod(header.shape)), dtype=bool)
        if mask is None
        else _read_mask(mask, header, allow_missing_orientation)
    )
    placed = [parcellation.on_grid(header.shape, header.affine).ravel(order="F") for parcellation in parcellations]
    reducer = _Reducer(placed, [parcellation.n_regions for parcellation in parcellations], inside, header)
    with closing(volumes(bold, header, reducer.voxels, digest)) as stream:
        for index, volume in enumerate(stream):
            reducer.add(index, volume)
    return reducer.result(bold)


class _Reducer:
    """Running sums over the regions of all parcellations.

    Voxels that belong to the same region in every parcellation form a cell. The stream hands the voxels over cell by
    cell, one `reduceat` in double precision sums them, and the few cells are then added up to the regions of each
    parcellation: a further parcellation costs its additional voxels, and little else.

    Parameters
    ----------
    placed : list of ndarray of int32, shape (X * Y * Z,)
        Each parcellation on the run's grid in Fortran order: 0 outside, else the region's position plus one.
    n_regions : list of int
        R of each.
    inside : ndarray of bool, shape (X * Y * Z,)
        Brain mask.
    header : ImageHeader
        Of the run.
    """

    def __init__(
        self,
        placed: list[npt.NDArray[np.int32]],
        n_regions: list[int],
        inside: npt.NDArray[np.bool_],
        header: ImageHeader,
    ) -> None:
        self.header, self.n_regions = header, n_regions
        self.n_voxels = [
            np.bincount(each, minlength=n + 1)[1:].astype(np.int64) for each, n in zip(placed, n_regions, strict=True)
        ]
        voxels = np.flatnonzero(np.logical_or.reduce([each > 0 for each in placed]) & inside)
        order, self.starts = reading_order(voxels, _cells([each[voxels] for each in placed]), header)
        self.voxels = voxels[order]
        # Region plus one of every voxel, and of every stretch of voxels that is summed, for each parcellation.
        self.regions = [each[self.voxels] for each in placed]
        self.stretch_regions = [each[self.starts] for each in self.regions]
        self.sums = [np.zeros((header.n_volumes, n), dtype=np.float64) for n in n_regions]
        self.nothing = _stored_zero(header)
        # Voxels that have been zero or not finite in all volumes so far.
        self.silent = np.arange(self.voxels.size)
        self.n_bad = np.zeros(self.voxels.size, dtype=np.int32)
        self.first_bad = -1

    def add(self, index: int, volume: npt.NDArray[Any]) -> None:
        """Add one volume, as `volumes` yields it for `voxels`."""
        if not self.voxels.size:
            return
        values = volume if volume.dtype.isnative else volume.astype(volume.dtype.newbyteorder("="))
        # Infinities of both signs in one region are no accident to warn of: they are dealt with below.
        with np.errstate(invalid="ignore", over="ignore"):
            stretches = np.add.reduceat(values, self.starts, dtype=np.float64)
            if not np.isfinite(stretches).all():
                self._mark_bad(index, values)
                stretches = np.add.reduceat(values, self.starts, dtype=np.float64)
        for sums, regions, n_regions in zip(self.sums, self.stretch_regions, self.n_regions, strict=True):
            sums[index] = np.bincount(regions, weights=stretches, minlength=n_regions + 1)[1:]
        if self.silent.size:
            self.silent = self.silent[values[self.silent] == self.nothing]

    def _mark_bad(self, index: int, values: npt.NDArray[Any]) -> None:
        bad = ~np.isfinite(values)
        if bad.any() and self.first_bad < 0:
            self.first_bad = index
        self.n_bad += bad
        values[bad] = self.nothing  # adds nothing real to the sum, and leaves the voxel without signal

    def result(self, bold: Path) -> list[ParcelSeries]:
        """Turn sums into means."""
        sometimes = (self.n_bad > 0) & (self.n_bad < self.header.n_volumes)
        if sometimes.any():
            raise RunError(
                f"{bold} has {int(sometimes.sum())} voxels inside the atlas that are NaN or infinite in some volumes "
                f"(first in volume {self.first_bad + 1}) and finite in others; such an image is damaged, run fMRIPrep "
                "again for it."
            )
        found = []
        for sums, regions, n_voxels in zip(self.sums, self.regions, self.n_voxels, strict=True):
            n_silent = np.bincount(regions[self.silent], minlength=n_voxels.size + 1)[1:]
            n_covered = np.bincount(regions, minlength=n_voxels.size + 1)[1:] - n_silent
            # Silent voxels were summed with the others: take out what they are stored as.
            covered = n_covered > 0
            stored = sums[:, covered] - n_silent[covered] * (self.nothing if self.silent.size else 0.0)
            series = np.full(sums.shape, np.nan)
            series[:, covered] = stored / n_covered[covered] * self.header.slope + self.header.intercept
            if not np.isfinite(series[:, covered]).all():
                raise RunError(f"{bold} holds values too large to be averaged; run fMRIPrep again for it.")
            claimed = self.header.repetition_time if self.header.repetition_time > 0 else float("nan")
            found.append(ParcelSeries(series, n_voxels, n_covered.astype(np.int64), claimed))
        return found


def _cells(regions: list[npt.NDArray[np.int32]]) -> npt.NDArray[np.intp]:
    """Give every combination of regions that occurs a number."""
    cells = np.zeros(regions[0].size if regions else 0, dtype=np.intp)
    for each in regions:
        _, cells = np.unique(cells * (int(each.max(initial=0)) + 1) + each, return_inverse=True)
    return cells


def _stored_zero(header: ImageHeader) -> float:
    """Tell how a voxel outside the field of view is stored.

    Scale factors have single precision in the file, so that the zero of scaled whole numbers is seldom exactly zero:
    the whole number next to it is meant where it is off by less than a hundredth of a step.
    """
    zero = -header.intercept / header.slope
    nearest = float(np.rint(zero))
    return nearest if header.dtype.kind in "iu" and abs(zero - nearest) < 0.01 else zero


def _read_mask(path: Path, header: ImageHeader, allow_missing_orientation: bool = False) -> npt.NDArray[np.bool_]:
    """Read a brain mask and make sure that it is on the run's grid."""
    check_nifti(path, RunError)
    try:
        image: Any = load_nifti(path)
        if np.prod(image.shape, dtype=float) > 2 * np.prod(header.shape, dtype=float):
            raise ValueError(f"its header claims the shape {image.shape}")  # before memory is set aside for it
        data = np.asanyarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
        inside = np.nan_to_num(data) != 0
    except DAMAGE + nifti_errors() as error:
        raise RunError(f"{path} is not a readable brain mask ({error}); run fMRIPrep again for it.") from error
    oriented = is_oriented(image.header)
    if not (allow_missing_orientation or oriented):
        raise RunError(missing_orientation(path))
    inside = inside[..., 0] if inside.ndim == 4 and inside.shape[3] == 1 else inside
    # An affine that is a guess cannot be compared: voxel by voxel is what is left.
    comparable = oriented and header.oriented
    if inside.shape != header.shape or (comparable and not np.allclose(affine, header.affine, atol=1e-3)):
        raise RunError(
            f"{path} has shape {inside.shape}, the run has {header.shape}, or their affines differ; mask and run must "
            "be on one grid."
        )
    if not inside.any():
        raise RunError(f"{path} is empty: no voxel belongs to the brain; run fMRIPrep again for it.")
    return np.asarray(inside).ravel(order="F")
