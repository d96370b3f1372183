"""Painting regional series into images, written as fMRIPrep would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.names import build_name
from bids_neurossm.files.write import replacing, write_json, write_nifti, write_tsv

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (X, Y, Z) and the affine that turns voxel indices into mm."""

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]


def paint_run(
    dataset: Path,
    entities: Mapping[str, str],
    series: npt.NDArray[np.float64],
    parcellation: Parcellation,
    grid: Grid,
    mask: npt.NDArray[np.bool_],
    confounds: pd.DataFrame | None,
    repetition_time: float,
    rng: np.random.Generator,
    voxel_noise: float = 15.0,
    dtype: str = "int16",
) -> Path:
    """Paint regional series into an image, and write it as fMRIPrep would.

    Parameters
    ----------
    dataset : Path
        Root of the derivatives.
    entities : mapping
        ``sub``, ``task``, ``space`` and others that name the run.
    series : ndarray, shape (T, R)
        Value of every region in every volume.
    parcellation : Parcellation
        Whose regions are painted, laid over `grid` by nearest neighbour.
    grid : Grid
        Of the image.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain mask; outside it voxels are 0.
    confounds : DataFrame or None
        One row per volume; None leaves the table away.
    repetition_time : float
        Seconds.
    rng : Generator
        Source of the voxel noise.
    voxel_noise : float
        Its standard deviation.
    dtype : str
        ``int16`` or ``float32``.

    Returns
    -------
    Path
        The image.
    """
    folder = dataset / f"sub-{entities['sub']}" / (f"ses-{entities['ses']}" if "ses" in entities else "") / "func"
    bold = folder / build_name({**entities, "desc": "preproc"}, "bold", ".nii.gz")
    n_dummy = 0
    if confounds is not None:
        n_dummy = sum(str(name).startswith("non_steady_state_outlier") for name in confounds)
        source = {name: value for name, value in entities.items() if name not in ("space", "res")}
        write_tsv(folder / build_name({**source, "desc": "confounds"}, "timeseries", ".tsv"), confounds)
    placed = parcellation.on_grid(grid.shape, grid.affine).ravel(order="F")
    voxels = np.flatnonzero(mask.ravel(order="F"))
    regions = placed[voxels] - 1
    # A voxel of the brain that belongs to no region still has a signal of its own.
    level = np.where(regions >= 0, 0.0, 1000.0)
    _write_volumes(bold, grid, len(series), repetition_time, dtype)(
        _volume(voxels, regions, level, row, index < n_dummy, voxel_noise, grid, dtype, rng)
        for index, row in enumerate(series)
    )
    write_nifti(
        folder / build_name({**entities, "desc": "brain"}, "mask", ".nii.gz"), mask.astype(np.uint8), grid.affine
    )
    sidecar = {"RepetitionTime": repetition_time, "TaskName": entities["task"], "SkullStripped": False}
    write_json(bold.with_name(bold.name.replace(".nii.gz", ".json")), sidecar)
    return bold


def _volume(
    voxels: npt.NDArray[np.int64],
    regions: npt.NDArray[np.int32],
    level: npt.NDArray[np.float64],
    row: npt.NDArray[np.float64],
    dummy: bool,
    voxel_noise: float,
    grid: Grid,
    dtype: str,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    values = level + np.where(regions >= 0, row[regions], 0.0)
    alive = values != 0
    values[alive] += rng.standard_normal(int(alive.sum()), dtype=np.float32) * voxel_noise
    if dummy:
        values *= 1.3  # before the magnetisation settles, everything is brighter
    volume = np.zeros(int(np.prod(grid.shape)), dtype=dtype)
    volume[voxels] = np.rint(values) if dtype == "int16" else values
    return volume


def _write_volumes(path: Path, grid: Grid, n_volumes: int, repetition_time: float, dtype: str) -> Any:
    """Give a function that writes volumes one by one into a gzipped NIfTI image."""
    import nibabel as nib
    from isal import igzip

    header = nib.Nifti1Header()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape((*grid.shape, n_volumes))
    header.set_qform(grid.affine, 4)
    header.set_sform(grid.affine, 4)
    header.set_zooms((*np.linalg.norm(grid.affine[:3, :3], axis=0), repetition_time))
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"

    def write(stream_of_volumes: Any) -> None:
        with (
            replacing(path) as temporary,
            temporary.open("wb") as raw,
            # No name and no time in the gzip header: the same seed gives the same bytes.
            igzip.IGzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as stream,
        ):
            stream.write(header.binaryblock + b"\0" * 4)
            for volume in stream_of_volumes:
                stream.write(volume.tobytes())

    return write
