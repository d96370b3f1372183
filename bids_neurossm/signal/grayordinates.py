"""Mean series of every region of a run on grayordinates (CIFTI-2), read piece by piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.grayordinates import grayordinate_counts, on_grayordinates
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.nifti import check_nifti, load_nifti
from bids_neurossm.signal.parcels import ParcelSeries
from bids_neurossm.signal.stream import DAMAGE, nifti_errors

#: What is held of a run at a time, as double precision.
_PIECE_BYTES = 1 << 24


def is_dense(bold: Path) -> bool:
    """Tell from its name whether a run is on grayordinates."""
    return bold.name.endswith(".dtseries.nii")


def dense_series(bold: Path, parcellation: Parcellation) -> ParcelSeries:
    """Average a run on grayordinates over regions, and count what each mean rests on.

    Every grayordinate counts alike, whatever the area of a vertex or the volume of a voxel. As for images of voxels, a
    grayordinate is covered where it is not zero, NaN or infinite throughout the run.

    Parameters
    ----------
    bold : Path
        ``.dtseries.nii``.
    parcellation : Parcellation
        Drawn on grayordinates.

    Returns
    -------
    ParcelSeries
        `n_voxels` counts the grayordinates of a region in the label image: those that the run lacks, such as vertices
        of the medial wall, are not covered. A region without any is NaN.

    Raises
    ------
    RunError
        If the file is damaged, no dense series, or on other surfaces or voxels than the parcellation.
    """
    image, axis = _open(bold)
    try:
        placed = on_grayordinates(parcellation, axis, bold)
    except UsageError as error:
        raise RunError(str(error)) from error
    n_volumes, n_grayordinates = image.shape
    sums = np.zeros((n_volumes, parcellation.n_regions))
    n_covered = np.zeros(parcellation.n_regions, dtype=np.int64)
    n_damaged = 0
    # The series of one grayordinate lies together in the file, so pieces of grayordinates are read, not of time.
    step = max(1, _PIECE_BYTES // (8 * n_volumes))
    for start in range(0, n_grayordinates, step):
        regions = placed[start : start + step]
        if not regions.any():
            continue
        values = _read(bold, image, slice(start, start + step))[:, regions > 0]
        finite = np.isfinite(values)
        n_damaged += int((finite.any(axis=0) & ~finite.all(axis=0)).sum())
        covered = finite.all(axis=0) & (values != 0).any(axis=0)
        _add(sums, n_covered, values[:, covered], regions[regions > 0][covered])
    if n_damaged:
        raise RunError(
            f"{bold} has {n_damaged} grayordinates inside the atlas that are NaN or infinite in some volumes and "
            "finite in others; such a file is damaged, run fMRIPrep again for it."
        )
    series = np.full(sums.shape, np.nan)
    series[:, n_covered > 0] = sums[:, n_covered > 0] / n_covered[n_covered > 0]
    return ParcelSeries(series, grayordinate_counts(parcellation), n_covered)


def _add(
    sums: npt.NDArray[np.float64],
    n_covered: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    regions: npt.NDArray[np.int32],
) -> None:
    """Add the covered grayordinates of a piece, shape (T, V), to the sums of their regions."""
    if not regions.size:
        return
    order = np.argsort(regions, kind="stable")
    present, starts = np.unique(regions[order], return_index=True)
    sums[:, present - 1] += np.add.reduceat(values[:, order], starts, axis=1)
    n_covered += np.bincount(regions, minlength=n_covered.size + 1)[1:]


def _open(bold: Path) -> tuple[Any, Any]:
    """Open a dense series and give it with its axis of grayordinates; no data are read."""
    from nibabel.cifti2 import BrainModelAxis, Cifti2HeaderError, Cifti2Image, SeriesAxis

    remedy = "copy it again or run fMRIPrep again for it."
    if not is_dense(bold):
        raise RunError(f"{bold} is no .dtseries.nii file; a dense series as fMRIPrep writes it is expected.")
    check_nifti(bold, RunError)
    try:
        image = load_nifti(bold)
        if not isinstance(image, Cifti2Image):
            raise RunError(f"{bold} has no CIFTI-2 header; {remedy}")
        time, axis = image.header.get_axis(0), image.header.get_axis(1)
    except (*DAMAGE, *nifti_errors(), Cifti2HeaderError, IndexError) as error:
        raise RunError(f"{bold} is not a readable CIFTI-2 file ({error}); {remedy}") from error
    if not isinstance(time, SeriesAxis) or not isinstance(axis, BrainModelAxis):
        raise RunError(f"{bold} is no dense series: volumes by grayordinates are expected.")
    if image.shape != (len(time), len(axis)) or len(time) < 2:
        raise RunError(
            f"{bold} has shape {image.shape}; at least two volumes of {len(axis)} grayordinates are expected."
        )
    return image, axis


def _read(bold: Path, image: Any, piece: slice) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(image.dataobj[:, piece], dtype=np.float64)
    except DAMAGE as error:
        raise RunError(
            f"{bold} is damaged: grayordinates from {piece.start + 1} on can not be read ({error}); copy it again or "
            "run fMRIPrep again for it."
        ) from error
