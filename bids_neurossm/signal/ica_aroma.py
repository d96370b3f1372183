"""Taking noise components out of a run non-aggressively: with the signal components in the same fit."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bids_neurossm.errors import RunError
from bids_neurossm.files.safe_reading import MAX_TABLE_BYTES, MAX_TOML_BYTES, read_utf8

if TYPE_CHECKING:
    import pandas as pd

_AROMA = "aroma_motion_"
_REMEDY = "run fMRIPrep up to 23.0 with --use-aroma, or use another strategy."


@dataclass(frozen=True)
class ComponentFiles:
    """What fMRIPrep leaves of ICA-AROMA beside a run.

    Parameters
    ----------
    mixing : Path or None
        ``*_desc-MELODIC_mixing.tsv``: time courses of all components, without a line of names.
    noise : Path or None
        ``*_AROMAnoiseICs.csv``: numbers of the noise components, from 1, on one line.
    """

    mixing: Path | None = None
    noise: Path | None = None


@dataclass(frozen=True)
class Components:
    """Independent components of one run.

    Parameters
    ----------
    mixing : ndarray of float64, shape (T, C)
        Time courses; rows of zeros at the start are volumes that MELODIC did not see.
    noise : ndarray of bool, shape (C,)
        Those that are noise.
    """

    mixing: npt.NDArray[np.float64]
    noise: npt.NDArray[np.bool_]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the noise components, as fMRIPrep's table of confounds has them."""
        return tuple(f"{_AROMA}{index + 1:02d}" for index in np.flatnonzero(self.noise))


def read_components(files: ComponentFiles, content: pd.DataFrame | None, n_volumes: int, strategy: str) -> Components:
    """Read the components of a run, and make sure that they are those of this run.

    Parameters
    ----------
    files : ComponentFiles
        Where they are.
    content : DataFrame or None
        The table of confounds. Its columns ``aroma_motion_*`` name the noise components where there is no list of
        them, and are compared with their time courses.
    n_volumes : int
        Volumes of the image, T.
    strategy : str
        Name of the strategy, for messages.

    Returns
    -------
    Components

    Raises
    ------
    RunError
        If a file is missing or damaged, has another number of volumes, or contradicts the table.
    """
    if files.mixing is None:
        raise RunError(
            "the run has no *_desc-MELODIC_mixing.tsv beside it, the time courses of all components, which --denoise "
            f"{strategy} needs; {_REMEDY}"
        )
    mixing = _read_mixing(files.mixing, n_volumes)
    named = {
        int(str(name).removeprefix(_AROMA)) - 1: str(name)
        for name in ([] if content is None else content)
        if str(name).startswith(_AROMA) and str(name).removeprefix(_AROMA).isdigit()
    }
    noise = _listed_noise(files.noise) if files.noise is not None else set(named)
    if files.noise is None and not noise:
        raise RunError(
            f"nothing says which components of {files.mixing} are noise: there is no *_AROMAnoiseICs.csv beside it, "
            f"and the table of confounds has no column {_AROMA}*; {_REMEDY}"
        )
    if noise and (min(noise) < 0 or max(noise) >= mixing.shape[1]):
        raise RunError(
            f"{files.mixing} has {mixing.shape[1]} components, and number {max(noise) + 1} is called noise: both must "
            "come from one run of fMRIPrep."
        )
    if named and (set(named) != noise or not _agree(mixing, named, content)):
        raise RunError(
            f"the columns {_AROMA}* of the table of confounds are not the noise components of {files.mixing}: both "
            "must come from one run of fMRIPrep."
        )
    is_noise = np.zeros(mixing.shape[1], dtype=bool)
    is_noise[sorted(noise)] = True
    return Components(mixing, is_noise)


def _read_mixing(path: Path, n_volumes: int) -> npt.NDArray[np.float64]:
    try:
        mixing = np.loadtxt(io.StringIO(read_utf8(path, RunError, MAX_TABLE_BYTES)), ndmin=2)
    except ValueError as error:
        raise RunError(f"{path} is not a readable table of components ({error}); run fMRIPrep again for it.") from error
    if mixing.shape[0] != n_volumes:
        raise RunError(
            f"{path} has {mixing.shape[0]} rows, the image has {n_volumes} volumes; both must come from one run of "
            "fMRIPrep."
        )
    if not np.isfinite(mixing).all() or mixing.shape[1] >= n_volumes:
        raise RunError(f"{path} holds no time courses of components; run fMRIPrep again for it.")
    return mixing


def _listed_noise(path: Path) -> set[int]:
    try:
        numbers = read_utf8(path, RunError, MAX_TOML_BYTES).replace(",", " ").split()
        return {int(number) - 1 for number in numbers}
    except ValueError as error:
        raise RunError(f"{path} is not a list of component numbers ({error}); run fMRIPrep again for it.") from error


def _agree(mixing: npt.NDArray[np.float64], named: dict[int, str], content: pd.DataFrame | None) -> bool:
    """Compare time courses with the columns of the table, which may be rounded."""
    assert content is not None
    table = content[list(named.values())].to_numpy(dtype=np.float64)
    return bool(np.allclose(mixing[:, list(named)], table, rtol=1e-3, atol=1e-4))


def without_noise(values: npt.NDArray[np.float64], components: Components) -> npt.NDArray[np.float64]:
    """Take the noise components out of series non-aggressively.

    All components are fitted at once, and only the part that the fit ascribes to the noise components is subtracted:
    what they share with signal components stays (Griffanti et al. 2014, NeuroImage 95:232-247; Pruim et al. 2015,
    NeuroImage 112:267-277). It is linear in the data, so that taking components out of regional means gives, but for
    rounding, the means of an image from which they were taken voxel by voxel.

    Parameters
    ----------
    values : ndarray, shape (T, N)
        Series of all volumes, without NaN in the volumes that MELODIC saw.
    components : Components
        Of the same run.

    Returns
    -------
    ndarray of float64, shape (T, N)
        With the means of `values` over the volumes that MELODIC saw; the other volumes as they are.
    """
    result = np.array(values, dtype=np.float64)
    seen = components.mixing.any(axis=1)
    if not components.noise.any() or not seen.any():
        return result
    design = components.mixing[seen] - components.mixing[seen].mean(axis=0)
    centred = result[seen] - result[seen].mean(axis=0)
    weights = np.linalg.lstsq(design, centred, rcond=None)[0]
    result[seen] -= design[:, components.noise] @ weights[components.noise]
    return result
