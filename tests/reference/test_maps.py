"""Association maps are NiMARE's, for all selections at once."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from nimare.meta.cbma.mkda import MKDAChi2
from nimare.nimads import Studyset
from nimare.utils import get_resource_path

from bids_neurossm.errors import UsageError
from bids_neurossm.reference import maps as maps_module
from bids_neurossm.reference.maps import (
    BrainMask,
    association_maps,
    default_mask,
    peaks_outside,
)
from bids_neurossm.reference.studies import Studies


@pytest.fixture(scope="module")
def some_studies(task_studies: Studies) -> Studies:
    return task_studies.subset(np.arange(len(task_studies)) % 6 == 0)


def made_up(peaks: list[tuple[int, float, float, float]], n_studies: int) -> Studies:
    table = np.array(peaks, dtype=float).reshape(-1, 4)
    ids = tuple(f"study {index}" for index in range(n_studies))
    return Studies(ids, ("",) * n_studies, table[:, 1:], table[:, 0].astype(np.int64), "made up")


def test_two_selections_equal_two_fits_of_nimare(some_studies: Studies) -> None:
    assert some_studies.term_weights is not None
    n_back = some_studies.term_weights.toarray()[:, 0] > 0
    odd = np.arange(len(some_studies)) % 3 == 0
    selections = np.stack([n_back, odd])
    ours = association_maps(some_studies, selections)
    studyset = Studyset.from_parquet(str(Path(get_resource_path()) / "nback_vs_flanker_studyset_2026-07"))
    ids = np.array(some_studies.ids)
    for row, selected in zip(ours, selections, strict=True):
        fitted = MKDAChi2().fit(studyset.slice(list(ids[selected])), studyset.slice(list(ids[~selected])))
        theirs = fitted.get_map("z_desc-association", return_type="array")
        assert np.abs(theirs).max() > 2
        np.testing.assert_allclose(row, theirs, atol=1e-5, rtol=0)


def marked_voxels(studies: Studies, mask: BrainMask) -> list[np.ndarray]:
    """Which voxels each study marks, (V,) bool."""
    found = []
    for _, starts, voxels in maps_module._marked(studies, mask):
        for begin, end in itertools.pairwise(starts):
            found.append(np.isin(np.arange(mask.n_voxels), voxels[begin:end]))
    return found


def test_the_mask_is_nimares_own_at_2_mm() -> None:
    mask = default_mask()
    assert mask.inside.shape == (91, 109, 91)
    assert mask.coordinates.shape == (mask.n_voxels, 3)
    np.testing.assert_allclose(np.abs(np.diag(mask.affine))[:3], 2)


def test_a_study_marks_exactly_the_voxels_within_10_mm_of_its_peaks() -> None:
    mask = default_mask()
    peaks = [(0, 0, 0, 0), (0, 4, 0, 0), (2, -40, -20, 50)]
    for study, found in enumerate(marked_voxels(made_up(peaks, 3), mask)):
        expected = np.zeros(mask.n_voxels, dtype=bool)
        for index, *centre in peaks:
            if index == study:
                expected |= np.linalg.norm(mask.coordinates - centre, axis=1) <= 10 + 1e-9
        np.testing.assert_array_equal(found, expected)


def test_a_peak_at_or_beyond_the_edge_marks_what_its_sphere_still_reaches() -> None:
    mask = BrainMask(np.ones((10, 11, 12), dtype=bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    found = marked_voxels(made_up([(0, 0, 0, 0), (1, -6, 4, 4), (2, 500, 0, 0), (3, 18, 20, 30)], 4), mask)
    for voxels, centre in zip(found, [(0, 0, 0), (-6, 4, 4), (500, 0, 0), (18, 20, 30)], strict=True):
        expected = np.linalg.norm(mask.coordinates - centre, axis=1) <= 10
        np.testing.assert_array_equal(voxels, expected)


def test_blocks_do_not_change_the_result(some_studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    selection = np.arange(len(some_studies)) % 2 == 0
    whole = association_maps(some_studies, selection)
    monkeypatch.setattr(maps_module, "_MARKS_AT_A_TIME", 20_000)
    np.testing.assert_array_equal(association_maps(some_studies, selection), whole)


def test_studies_without_peaks_do_not_count() -> None:
    peaks = [(0, 0, 0, 0), (1, 0, 0, 0), (2, 30, 0, 0), (3, 30, 0, 0)]
    with_silent = association_maps(made_up(peaks, 6), np.array([1, 1, 0, 0, 1, 0]))
    without = association_maps(made_up(peaks, 4), np.array([1, 1, 0, 0]))
    np.testing.assert_array_equal(with_silent, without)
    np.testing.assert_allclose(np.unique(without), [-2, 0, 2])


@pytest.mark.parametrize("selection", [[0, 0, 0], [1, 1, 0]])
def test_a_selection_of_no_study_or_all_is_refused(selection: list[int]) -> None:
    studies = made_up([(0, 0, 0, 0), (1, 0, 0, 0)], 3)
    with pytest.raises(UsageError, match="needs some inside and some outside"):
        association_maps(studies, np.array(selection))


def test_jobs_that_share_a_cache_at_the_same_time_all_get_the_same_maps(some_studies: Studies, tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    selections = np.stack([np.arange(len(some_studies)) % n == 0 for n in (2, 3)])
    alone = association_maps(some_studies, selections)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: association_maps(some_studies, selections, cache_dir=tmp_path), range(8)))
    assert all(np.array_equal(each, alone) for each in found)
    # One file per map, and nothing half-written is left.
    assert len(list(tmp_path.iterdir())) == 2


def test_peaks_outside_the_brain_are_counted() -> None:
    mask = default_mask()
    inside = [(0, 0.0, 0.0, 0.0), (0, -40.0, -20.0, 50.0)]
    outside = [(1, 0.0, 0.0, 95.0), (1, 500.0, 0.0, 0.0), (2, -89.0, 0.0, 0.0)]
    assert peaks_outside(made_up(inside + outside, 3), mask) == 3


def test_the_cache_is_read_by_content_and_survives_damage(some_studies: Studies, tmp_path: Path) -> None:
    selections = np.stack([np.arange(len(some_studies)) % n == 0 for n in (2, 3)])
    first = association_maps(some_studies, selections, cache_dir=tmp_path)
    stored = sorted(tmp_path.iterdir())
    assert len(stored) == 2
    assert not any(path.name.startswith(".") for path in stored)
    np.savez(stored[0], z=np.full(first.shape[1], 7, dtype=np.float32))
    again = association_maps(some_studies, selections, cache_dir=tmp_path)
    assert (again == 7).all(axis=1).sum() == 1, "the map on disk is used"
    for damaged in (b"", b"PK\x03\x04 cut off", stored[1].read_bytes()[:-400]):
        stored[0].write_bytes(damaged)
        np.testing.assert_array_equal(association_maps(some_studies, selections, cache_dir=tmp_path), first)
    other = association_maps(some_studies.subset(np.arange(len(some_studies)) > 3), selections[:, 4:], None, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert not np.array_equal(other, first)
