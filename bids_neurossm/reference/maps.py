"""Modelled activation and association maps: many selections of studies, one pass over the peaks.

Multilevel kernel density analysis (Wager et al., 2007, SCAN 2:150) marks, for each study, the voxels within
10 mm of any of its peaks. The association test asks, voxel by voxel, whether selected studies are active there
more often than the others (Yarkoni et al., 2011, Nature Methods 8:665). One call of NiMARE's ``MKDAChi2``
answers this for one selection; here the studies are marked once and counted for all selections together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import config as numba_settings
from numba import njit
from numpy.typing import NDArray

from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.files.numpy_files import read_archive
from bids_neurossm.files.write import replacing
from bids_neurossm.reference.studies import Studies

RADIUS = 10.0
"""Radius of the sphere around a peak in mm, as in Neurosynth and NiMARE."""

# Largest number of marked voxels held at a time; as int32 this is 64 MiB at most.
_MARKS_AT_A_TIME = 16 * 1024 * 1024
_CACHE_VERSION = "association 1"

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _compiled(function: _Function) -> _Function:
    """Compile with numba, and keep the result on disk where that is possible."""
    try:
        return cast(_Function, njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # Neither the package's folder nor the home can be written: compile anew in each process.
        return cast(_Function, njit(nogil=True)(function))


@dataclass(frozen=True, eq=False)
class BrainMask:
    """The voxels of a meta-analysis.

    Parameters
    ----------
    inside : ndarray of bool, shape (X, Y, Z)
        The mask; V voxels in C order are the columns of every map.
    affine : ndarray, shape (4, 4)
        Voxel indices to mm, MNI152NLin6Asym.
    """

    inside: NDArray[np.bool_]
    affine: NDArray[np.float64]

    @property
    def n_voxels(self) -> int:
        """Number V of voxels in the mask."""
        return int(self.inside.sum())

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """Centres of the voxels in mm, shape (V, 3)."""
        return np.argwhere(self.inside) @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def content_hash(self) -> str:
        """SHA-256 of mask and affine."""
        digest = hashlib.sha256(np.packbits(self.inside).tobytes())
        digest.update(repr((self.inside.shape, np.round(self.affine, 6).tolist())).encode())
        return digest.hexdigest()


def default_mask() -> BrainMask:
    """Return NiMARE's brain mask of MNI152NLin6Asym at 2 mm, the one that its estimators use."""
    from nimare.utils import get_template

    image = get_template("mni152_2mm", mask="brain")
    return BrainMask(np.asarray(image.dataobj) > 0, np.asarray(image.affine, dtype=np.float64))


def peaks_outside(studies: Studies, mask: BrainMask) -> int:
    """Count the peaks whose own voxel is not in the mask; those near it still mark what their sphere reaches."""
    inverse = np.linalg.inv(mask.affine)
    indices = np.round(studies.peaks @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    near = ((indices >= 0) & (indices < mask.inside.shape)).all(axis=1)
    return len(indices) - int(mask.inside[tuple(indices[near].T)].sum())


def association_maps(
    studies: Studies,
    selections: NDArray[np.bool_],
    mask: BrainMask | None = None,
    cache_dir: Path | None = None,
) -> NDArray[np.float32]:
    """Association z of many selections of studies, from one pass over the peaks.

    Each row equals ``z_desc-association`` of NiMARE's ``MKDAChi2`` fitted on the selected studies against the
    others. Studies without a peak are left out, as NiMARE does.

    Parameters
    ----------
    studies : Studies
        S studies.
    selections : ndarray of bool, shape (n_selections, S)
        Studies that carry each term.
    mask : BrainMask, optional
        V voxels; by default those of :func:`default_mask`.
    cache_dir : Path, optional
        Folder where maps are kept by the content of studies, selection and mask; jobs may share it.

    Returns
    -------
    ndarray of float32, shape (n_selections, V)
        Signed square roots of the chi-square with one degree of freedom; 0 where no or every study is active.

    Raises
    ------
    UsageError
        If a selection holds no study with peaks, or all of them.
    """
    selections = np.atleast_2d(np.asarray(selections, dtype=bool))
    if selections.shape[1] != len(studies):
        raise UsageError(f"selections of {selections.shape[1]} studies do not fit {len(studies)} studies.")
    counted = selections & studies.has_peaks
    n_selected: NDArray[np.int64] = counted.sum(axis=1)
    n_studies = int(studies.has_peaks.sum())
    for index in np.flatnonzero((n_selected == 0) | (n_selected == n_studies)).tolist():
        raise UsageError(
            f"selection {index} of {studies.source} holds {n_selected[index]} of {n_studies} studies with peaks; "
            "an association needs some inside and some outside."
        )
    mask = mask or default_mask()
    maps = np.empty((len(selections), mask.n_voxels), dtype=np.float32)
    names = [_cache_name(studies, row, mask) for row in counted] if cache_dir else []
    missing = [
        index for index in range(len(maps)) if not (cache_dir and _read_map(cache_dir / names[index], maps[index]))
    ]
    if missing:
        active, active_selected = _count(studies, counted[missing], mask)
        for position, index in enumerate(missing):
            maps[index] = _association_z(active_selected[position], active, int(n_selected[index]), n_studies)
            if cache_dir:
                _write_map(cache_dir / names[index], maps[index])
    return maps


def _association_z(
    selected: NDArray[np.int32], active: NDArray[np.int32], n_selected: int, n_studies: int
) -> NDArray[np.float64]:
    """Signed root of the 2 x 2 chi-square (selected or not, active or not) at each voxel."""
    n_others = n_studies - n_selected
    inside, total = selected.astype(np.float64), active.astype(np.float64)
    # Integer counts: this difference is exact, and its sign is that of P(active|selected) - P(active|others).
    difference = inside * n_others - (total - inside) * n_selected
    denominator = total * (n_studies - total) * n_selected * n_others
    z = np.zeros_like(inside)
    defined = denominator > 0
    z[defined] = difference[defined] * np.sqrt(n_studies / denominator[defined])
    return z


def _count(
    studies: Studies, selections: NDArray[np.bool_], mask: BrainMask
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Active studies per voxel, (V,), and active selected studies per selection and voxel, (n_selections, V)."""
    # Selections of each study, side by side: the product needs no dense row of the study matrix.
    of_study, which = np.nonzero(selections.T)
    selection_start = np.searchsorted(of_study, np.arange(len(studies) + 1))
    selected = which.astype(np.int32)

    def count(part: tuple[int, int]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        active = np.zeros(mask.n_voxels, dtype=np.int32)
        active_selected = np.zeros((len(selections), mask.n_voxels), dtype=np.int32)
        for first, starts, voxels in _marked(studies, mask, part):
            _add_counts(first, starts, voxels, selection_start, selected, active, active_selected)
        return active, active_selected

    # Read as a setting: numba's own function would start a pool of threads that nothing here uses.
    parts = _parts(studies, numba_settings.NUMBA_NUM_THREADS)
    with ThreadPoolExecutor(len(parts)) as threads:
        # Whole numbers: their sum is the same in any order, and with any number of threads.
        (active, active_selected), *others = threads.map(count, parts)
    for more, more_selected in others:
        active += more
        active_selected += more_selected
    return active, active_selected


def _parts(studies: Studies, number: int) -> list[tuple[int, int]]:
    """Cut the studies into ranges with as many peaks each."""
    ends = np.searchsorted(studies.peak_study, np.arange(len(studies)), side="right")
    cuts = np.searchsorted(ends, np.arange(1, number) * (len(studies.peaks) / number))
    edges = [0, *cuts.tolist(), len(studies)]
    return [(first, until) for first, until in pairwise(edges) if first < until]


def _marked(
    studies: Studies, mask: BrainMask, part: tuple[int, int] | None = None
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int32]]]:
    """Give the study-by-voxel matrix in blocks: first study, starts of its rows, marked voxels (unsorted).

    Of all studies, or of a `part`: the first, and the one behind the last.
    """
    steps = np.linalg.norm(mask.affine[:3, :3], axis=0)
    reach = np.ceil(RADIUS / steps).astype(int) + 1
    grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    sphere = grid[np.sqrt(((grid * steps) ** 2).sum(axis=1)) <= RADIUS]
    # With this margin a sphere that overlaps the volume lies inside the padded one: no voxel needs a check.
    margin = 2 * reach
    voxel_number = np.full(mask.inside.shape, -1, dtype=np.int32)
    voxel_number[mask.inside] = np.arange(mask.n_voxels, dtype=np.int32)
    voxel_number = np.pad(voxel_number, np.stack([margin, margin], axis=1).tolist(), constant_values=-1)
    shape = np.array(mask.inside.shape) + 2 * margin
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    inverse = np.linalg.inv(mask.affine)
    indices = np.round(studies.peaks @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64) + margin
    # A peak whose sphere lies wholly outside the volume marks nothing, though its study counts.
    near = ((indices >= reach) & (indices < shape - reach)).all(axis=1)
    centre, of_study = indices[near] @ strides, studies.peak_study[near]
    peak_start = np.searchsorted(of_study, np.arange(len(studies) + 1))
    last_seen = np.full(mask.n_voxels, -1, dtype=np.int64)
    peaks_at_a_time = max(1, _MARKS_AT_A_TIME // len(sphere))
    first, last = part or (0, len(studies))
    while first < last:
        until = int(np.searchsorted(peak_start, peak_start[first] + peaks_at_a_time, side="right")) - 1
        until = min(max(until, first + 1), last)
        room = int(peak_start[until] - peak_start[first]) * len(sphere)
        # Pages of this buffer that are never written take no memory.
        voxels = np.empty(room, dtype=np.int32)
        starts = np.zeros(until - first + 1, dtype=np.int64)
        used = _mark(
            first, until, peak_start, centre, sphere @ strides, voxel_number.ravel(), last_seen, starts, voxels
        )
        yield first, starts, voxels[:used]
        first = until


@_compiled
def _mark(
    first: int,
    until: int,
    peak_start: NDArray[np.int64],
    centre: NDArray[np.int64],
    offsets: NDArray[np.int64],
    voxel_number: NDArray[np.int32],
    last_seen: NDArray[np.int64],
    starts: NDArray[np.int64],
    voxels: NDArray[np.int32],
) -> int:
    """Write the voxels near the peaks of studies `first` to `until`, each once per study; return how many."""
    used = 0
    for study in range(first, until):
        for peak in range(peak_start[study], peak_start[study + 1]):
            for offset in offsets:
                voxel = voxel_number[centre[peak] + offset]
                if voxel >= 0 and last_seen[voxel] != study:
                    last_seen[voxel] = study
                    voxels[used] = voxel
                    used += 1
        starts[study - first + 1] = used
    return used


@_compiled
def _add_counts(
    first: int,
    starts: NDArray[np.int64],
    voxels: NDArray[np.int32],
    selection_start: NDArray[np.int64],
    selection: NDArray[np.int32],
    active: NDArray[np.int32],
    active_selected: NDArray[np.int32],
) -> None:
    """Add one block of the sparse product (studies x voxels)' (studies x selections)."""
    for row in range(len(starts) - 1):
        begin, end = selection_start[first + row], selection_start[first + row + 1]
        # One map at a time: a whole row of counts stays in the processor's cache while it is written.
        for position in range(starts[row], starts[row + 1]):
            active[voxels[position]] += 1
        for index in range(begin, end):
            counts = active_selected[selection[index]]
            for position in range(starts[row], starts[row + 1]):
                counts[voxels[position]] += 1


def _cache_name(studies: Studies, selection: NDArray[np.bool_], mask: BrainMask) -> str:
    parts = (_CACHE_VERSION, str(RADIUS), studies.content_hash, mask.content_hash)
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(np.packbits(selection).tobytes())
    return f"association-{digest.hexdigest()[:32]}.npz"


def _read_map(path: Path, into: NDArray[np.float32]) -> bool:
    """Fill a map from the cache; False where it is not there or can not be used, so that it is made anew."""
    try:
        stored = read_archive(path).get("z")
    except RunError:
        return False
    if stored is None or stored.shape != into.shape or stored.dtype != into.dtype:
        return False
    into[:] = stored
    return True


def _write_map(path: Path, values: NDArray[np.float32]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, z=values)
