"""From voxels to regions: term maps averaged in the regions of an atlas, one reference map per class.

Maps and atlas must be in the same space, MNI152NLin6Asym: the 2009cAsym version of an atlas laid over these maps
misses its own regions by millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.errors import UsageError
from bids_neurossm.reference.maps import BrainMask, association_maps, default_mask, peaks_outside
from bids_neurossm.reference.studies import Studies
from bids_neurossm.reference.terms import (
    MINIMUM_STUDIES,
    ClassTerms,
    Evidence,
    available_evidence,
    select_studies,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ReferenceMaps:
    """Reference maps of the classes, and what they rest on.

    Parameters
    ----------
    regions : DataFrame, regions x classes
        z over regions; the index holds the label values, NaN where a region has no voxel in the brain mask.
    terms : DataFrame
        One row per class and term: ``class``, ``term``, ``evidence``, ``n_studies``, ``used``.
    notes : list of str
        What was left out, in words.
    """

    regions: pd.DataFrame
    terms: pd.DataFrame
    notes: list[str]


def reference_region_maps(
    studies: Studies,
    terms_by_class: Mapping[str, ClassTerms],
    atlas_labels: NDArray[Any],
    atlas_affine: NDArray[np.float64],
    label_values: Sequence[int],
    *,
    evidence: Evidence | None = None,
    minimum_studies: int = MINIMUM_STUDIES,
    cache_dir: Path | None = None,
) -> ReferenceMaps:
    """Average the association maps of each class's terms in each region (docs/methods.md, section 4).

    Parameters
    ----------
    studies : Studies
        The literature.
    terms_by_class : mapping of str to ClassTerms
        As :func:`bids_neurossm.reference.terms.match_classes` gives it in ``classes``.
    atlas_labels : ndarray of whole numbers, shape (X, Y, Z)
        Label image in MNI152NLin6Asym.
    atlas_affine : ndarray, shape (4, 4)
        Its voxel indices to mm.
    label_values : sequence of int
        Label of each of the R regions.
    evidence : {"terms", "titles", "topics"}, optional
        How studies are selected; by default the best that this copy allows.
    minimum_studies : int
        Terms that fewer studies carry are left out, and noted.
    cache_dir : Path, optional
        Folder where voxel maps are kept by content.

    Raises
    ------
    UsageError
        If a word is not in the vocabulary, or a class keeps no term.
    """
    import pandas as pd

    evidence = evidence or available_evidence(studies)
    words_of = {name: entry.topics if evidence == "topics" else entry.terms for name, entry in terms_by_class.items()}
    words = list(dict.fromkeys(word for of_class in words_of.values() for word in of_class))
    selections = select_studies(studies, words, evidence) & studies.has_peaks
    n_studies = dict(zip(words, selections.sum(axis=1).tolist(), strict=True))
    used = [word for word in words if minimum_studies <= n_studies[word] < studies.has_peaks.sum()]
    for name, of_class in words_of.items():
        if not set(of_class) & set(used):
            raise UsageError(
                f"class {name!r}: none of its {evidence} ({', '.join(of_class) or 'none named'}) is carried by "
                f"at least {minimum_studies} studies of {studies.source}; name other words with --reference-terms."
            )
    mask = default_mask()
    position = {word: index for index, word in enumerate(words)}
    maps = association_maps(studies, selections[[position[word] for word in used]], mask, cache_dir)
    means = dict(zip(used, region_means(maps, mask, atlas_labels, atlas_affine, label_values), strict=True))
    columns = {
        name: z_over_regions(np.mean([means[word] for word in of_class if word in means], axis=0))
        for name, of_class in words_of.items()
    }
    regions = pd.DataFrame(columns, index=pd.Index(list(label_values), name="label"))
    rows = [(name, word, evidence, n_studies[word], word in means) for name in words_of for word in words_of[name]]
    terms = pd.DataFrame(rows, columns=["class", "term", "evidence", "n_studies", "used"])
    return ReferenceMaps(regions, terms, _notes(studies, terms, regions, minimum_studies, mask))


def _notes(
    studies: Studies, terms: pd.DataFrame, regions: pd.DataFrame, minimum_studies: int, mask: BrainMask
) -> list[str]:
    """Say in words what the maps rest on and what was left out."""
    stated = ", ".join(f"{count} {space}" for space, count in studies.spaces.items())
    notes = [f"{studies.source}: {int(studies.has_peaks.sum())} studies with {len(studies.peaks)} peaks."]
    if stated:
        notes.append(f"Space as stated by the studies: {stated}; Talairach converted to MNI, all others taken as MNI.")
    outside = peaks_outside(studies, mask)
    if outside:
        share = outside / len(studies.peaks)
        notes.append(
            f"{outside} peaks ({share:.1%}) lie outside the brain mask; they count where their 10 mm reach it."
        )
    dropped = terms.loc[~terms["used"]].drop_duplicates("term")
    if len(dropped):
        listed = ", ".join(f"{row.term} ({row.n_studies})" for row in dropped.itertuples())
        notes.append(f"Left out, for fewer than {minimum_studies} studies or all of them carry the word: {listed}.")
    empty = int(regions.isna().all(axis=1).sum())
    if empty:
        notes.append(f"{empty} of {len(regions)} regions have no voxel in the brain mask of the reference.")
    return notes


def region_of_voxels(
    mask: BrainMask, atlas_labels: NDArray[Any], atlas_affine: NDArray[np.float64], label_values: Sequence[int]
) -> NDArray[np.int64]:
    """Sample an atlas at the voxels of a mask, nearest neighbour.

    Returns
    -------
    ndarray of int64, shape (V,)
        Index into `label_values`, -1 where the atlas has another label or does not reach.
    """
    labels = _whole_numbers(atlas_labels)
    inverse = np.linalg.inv(np.asarray(atlas_affine, dtype=np.float64))
    indices = np.round(mask.coordinates @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    inside = ((indices >= 0) & (indices < labels.shape)).all(axis=1)
    sampled = np.zeros(len(indices), dtype=np.int64)
    sampled[inside] = labels[tuple(indices[inside].T)]
    return _index_of(sampled, label_values)


def region_means(
    maps: NDArray[np.float32],
    mask: BrainMask,
    atlas_labels: NDArray[Any],
    atlas_affine: NDArray[np.float64],
    label_values: Sequence[int],
) -> NDArray[np.float64]:
    """Average voxel maps, shape (n, V), in each region: shape (n, R), NaN for a region without voxels."""
    region = region_of_voxels(mask, atlas_labels, atlas_affine, label_values)
    covered, n_regions = region >= 0, len(label_values)
    counts = np.bincount(region[covered], minlength=n_regions).astype(np.float64)
    counts[counts == 0] = np.nan
    sums = [np.bincount(region[covered], weights=row[covered], minlength=n_regions) for row in maps]
    return np.array(sums).reshape(-1, n_regions) / counts


def region_geometry(
    atlas_labels: NDArray[Any], atlas_affine: NDArray[np.float64], label_values: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Voxels of each region, shape (R,), and its centroid in mm, shape (R, 3), NaN for an absent region."""
    labels = _whole_numbers(atlas_labels)
    voxels = np.argwhere(labels != 0)
    region = _index_of(labels[labels != 0], label_values)
    voxels, region = voxels[region >= 0], region[region >= 0]
    sizes = np.bincount(region, minlength=len(label_values))
    affine = np.asarray(atlas_affine, dtype=np.float64)
    sums = np.stack([np.bincount(region, weights=axis, minlength=len(label_values)) for axis in voxels.T], axis=1)
    centres = sums / np.where(sizes > 0, sizes, np.nan)[:, None]
    return sizes, centres @ affine[:3, :3].T + affine[:3, 3]


def z_over_regions(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standardise over the regions that have a value; a map without variance is all NaN."""
    present = np.isfinite(values)
    known = np.where(present, values, 0.0)
    count = np.maximum(present.sum(axis=-1, keepdims=True), 1)
    centred = np.where(present, values - known.sum(axis=-1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count)
    # A spread of rounding errors is none.
    varies = spread > 1e-12 * np.abs(known).max(axis=-1, keepdims=True)
    return np.asarray(np.where(present & varies, centred / np.where(varies, spread, 1.0), np.nan))


def _whole_numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels as integers; some atlases are stored as float."""
    rounded = np.round(labels)
    if not np.array_equal(rounded, labels):
        raise UsageError("the atlas is not a label image: it holds values that are not whole numbers.")
    return rounded.astype(np.int64)


def _index_of(labels: NDArray[np.int64], label_values: Sequence[int]) -> NDArray[np.int64]:
    values = np.asarray(label_values, dtype=np.int64)
    if len(np.unique(values)) != len(values) or (values == 0).any():
        raise UsageError("label values of an atlas must differ from each other and from 0, the background.")
    order = np.argsort(values)
    position = np.minimum(np.searchsorted(values[order], labels), len(values) - 1)
    return np.where(values[order][position] == labels, order[position], -1).astype(np.int64)
