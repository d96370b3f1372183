"""What the steps of a run hand to each other: dataclasses of arrays, kept as npz without pickle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bids_neurossm.files.numpy_files import read_archive

_Arrays = TypeVar("_Arrays")


@dataclass(frozen=True)
class CleanRun:
    """One run in one parcellation after denoising; T volumes were read, T_kept are kept, R regions.

    Parameters
    ----------
    series : ndarray of float64, shape (T_kept, R)
        NaN in regions that are not used.
    segments : ndarray of int64, shape (S, 2)
        Rows ``start:stop`` without a gap in time.
    degrees_of_freedom : ndarray of int64, shape ()
        Volumes kept less the parameters that were fitted.
    n_voxels, n_covered : ndarray of int64, shape (R,)
        Voxels of each region, and those that carry signal.
    coverage, mean, tsnr : ndarray of float64, shape (R,)
        As `bids_neurossm.signal.quality.RegionQuality` has them.
    used : ndarray of bool, shape (R,)
        Regions that are used.
    kept : ndarray of int64, shape (T_kept,)
        Volumes that are kept.
    framewise_displacement : ndarray of float64, shape (T,)
        mm; NaN where it is not known.
    n_dummy, n_censored : ndarray of int64, shape ()
        Volumes dropped at the start, and for motion.
    columns : ndarray of str, shape (K,)
        Confounds that were regressed out.
    noise_components : ndarray of str, shape (N,)
        Independent components that were taken out non-aggressively.
    header_repetition_time : ndarray of float64, shape ()
        What the header of the image claims, in seconds; NaN where it claims nothing.
    """

    series: npt.NDArray[np.float64]
    segments: npt.NDArray[np.int64]
    degrees_of_freedom: npt.NDArray[np.int64]
    n_voxels: npt.NDArray[np.int64]
    n_covered: npt.NDArray[np.int64]
    coverage: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    tsnr: npt.NDArray[np.float64]
    used: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.int64]
    framewise_displacement: npt.NDArray[np.float64]
    n_dummy: npt.NDArray[np.int64]
    n_censored: npt.NDArray[np.int64]
    columns: npt.NDArray[np.str_]
    noise_components: npt.NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=np.str_))
    header_repetition_time: npt.NDArray[np.float64] = field(default_factory=lambda: np.array(np.nan))


def save_arrays(path: Path, arrays: Any) -> str:
    """Write a dataclass whose fields are arrays, and give back the path as text, as Nipype passes it on."""
    fields = {field.name: getattr(arrays, field.name) for field in dataclasses.fields(arrays)}
    np.savez(path, allow_pickle=False, **fields)
    return str(path)


def load_arrays(path: str | Path, kind: type[_Arrays]) -> _Arrays:
    """Read back what `save_arrays` wrote."""
    assert dataclasses.is_dataclass(kind)
    stored = read_archive(Path(path))
    return kind(**{field.name: stored[field.name] for field in dataclasses.fields(kind)})
