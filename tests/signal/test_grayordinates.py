"""Regional means of series on grayordinates."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers.grayordinates import (
    AFFINE,
    CORTEX,
    NUCLEI,
    SHAPE,
    VERTICES,
    brain_models,
    striped,
    write_labels,
    write_scalars,
    write_series,
)
from nibabel.cifti2 import BrainModelAxis

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.errors import RunError
from bids_neurossm.signal import grayordinates
from bids_neurossm.signal.grayordinates import dense_series

NAMES = {label: f"7Networks_{'LH' if label <= 5 else 'RH'}_Vis_{label}" for label in range(1, 11)}
NAMES |= {11: "Thalamus_L", 12: "Nowhere"}


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    return 100 + np.random.default_rng(0).standard_normal((20, len(brain_models()))).astype(np.float32)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Parcellation:
    axis, folder = brain_models(), tmp_path_factory.mktemp("atlas")
    return load_parcellation(write_labels(folder / "mine.dlabel.nii", striped(axis, 10), NAMES, axis), "fsLR")


def bold(folder: Path, series: np.ndarray, axis: object = None) -> Path:
    return write_series(folder / "sub-01_space-fsLR_den-91k_bold.dtseries.nii", series, axis or brain_models())


def test_means_are_those_of_a_plain_computation(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    found = dense_series(bold(tmp_path, series), atlas)
    labels = striped(brain_models(), 10)
    expected = np.stack([series[:, labels == label].astype(np.float64).mean(axis=1) for label in range(1, 12)], axis=1)
    np.testing.assert_allclose(found.series[:, :11], expected, rtol=0, atol=1e-9)
    assert found.n_voxels.tolist() == [*(int((labels == label).sum()) for label in range(1, 12)), 0]
    np.testing.assert_array_equal(found.n_covered, found.n_voxels)


def test_a_region_without_a_vertex_has_no_series(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    found = dense_series(bold(tmp_path, series), atlas)
    assert atlas.names[11] == "Nowhere"
    assert np.isnan(found.series[:, 11]).all()
    assert found.coverage[11] == 0


def test_an_atlas_of_the_whole_cortex_counts_the_medial_wall_as_not_covered(tmp_path: Path, series: np.ndarray) -> None:
    whole = brain_models(medial_wall=True, nuclei=False)
    labels = striped(whole, 10)
    file = write_labels(tmp_path / "whole.dlabel.nii", labels, {key: NAMES[key] for key in range(1, 11)}, whole)
    found = dense_series(bold(tmp_path, series), load_parcellation(file, "fsLR"))
    on_run = striped(brain_models(), 10)
    np.testing.assert_allclose(found.series[:, 0], series[:, on_run == 1].astype(np.float64).mean(axis=1), atol=1e-9)
    assert found.n_voxels.sum() == 2 * VERTICES
    assert (found.n_voxels - found.n_covered).sum() == sum(CORTEX.values())
    assert found.n_voxels[0] - found.n_covered[0] == 2796


def test_silent_grayordinates_are_not_covered(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    labels = striped(brain_models(), 10)
    silent = series.copy()
    silent[:, np.flatnonzero(labels == 3)[:10]] = 0
    silent[:, np.flatnonzero(labels == 3)[10:15]] = np.nan
    silent[:, labels == 11] = 0
    found = dense_series(bold(tmp_path, silent), atlas)
    left = np.flatnonzero(labels == 3)[15:]
    np.testing.assert_allclose(found.series[:, 2], series[:, left].astype(np.float64).mean(axis=1), atol=1e-9)
    assert found.n_voxels[2] - found.n_covered[2] == 15
    assert np.isnan(found.series[:, 10]).all()


def test_the_size_of_the_pieces_changes_nothing(
    tmp_path: Path, series: np.ndarray, atlas: Parcellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bold(tmp_path, series)
    whole = dense_series(file, atlas)
    monkeypatch.setattr(grayordinates, "_PIECE_BYTES", 1 << 18)
    np.testing.assert_allclose(dense_series(file, atlas).series, whole.series, rtol=1e-12)


def test_memory_does_not_grow_with_the_length_of_the_run(
    tmp_path: Path, atlas: Parcellation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grayordinates, "_PIECE_BYTES", 1 << 20)
    peaks = []
    for n_volumes in (10, 200):
        file = bold(tmp_path / str(n_volumes), np.ones((n_volumes, len(brain_models())), dtype=np.float32))
        tracemalloc.start()
        dense_series(file, atlas)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert file.stat().st_size > 45e6
    assert peaks[1] - peaks[0] < 4e6


def test_values_missing_in_some_volumes_are_damage(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    damaged = series.copy()
    damaged[5, 100] = np.nan
    with pytest.raises(RunError, match="has 1 grayordinates inside the atlas that are NaN or infinite in some volumes"):
        dense_series(bold(tmp_path, damaged), atlas)


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    file = bold(tmp_path, series)
    file.write_bytes(file.read_bytes()[:-100_000])
    with pytest.raises(RunError, match=r"is damaged|is not a readable CIFTI-2 file"):
        dense_series(file, atlas)


def test_other_surfaces_and_other_voxels_are_refused(tmp_path: Path, series: np.ndarray, atlas: Parcellation) -> None:
    finer = brain_models(vertices=59292)
    file = bold(tmp_path, np.ones((3, len(finer))), finer)
    with pytest.raises(RunError, match=r"has 32492 vertices in CIFTI_STRUCTURE_CORTEX_LEFT, .* has 59292"):
        dense_series(file, atlas)


def test_voxels_are_matched_by_their_place(tmp_path: Path, atlas: Parcellation) -> None:
    moved = brain_models(shift=1)
    values = np.random.default_rng(2).standard_normal((4, len(moved)))
    found = dense_series(bold(tmp_path, values, moved), atlas)
    assert (found.n_voxels[10], found.n_covered[10]) == (27, 8)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x5c\x01\x00\x00" + b"\x00" * 600])
def test_what_is_no_cifti_file_is_refused(tmp_path: Path, content: bytes, atlas: Parcellation) -> None:
    file = tmp_path / "sub-01_bold.dtseries.nii"
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"is not a readable CIFTI-2 file|has no CIFTI-2 header|is empty"):
        dense_series(file, atlas)


def test_scalars_are_no_series(tmp_path: Path, atlas: Parcellation) -> None:
    axis = brain_models()
    file = write_scalars(tmp_path / "a.dscalar.nii", np.ones((3, len(axis))), axis)
    file = file.rename(tmp_path / "a_bold.dtseries.nii")
    with pytest.raises(RunError, match="is no dense series"):
        dense_series(file, atlas)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, -1)])
def test_voxels_in_another_order_or_direction_are_matched_in_millimetres(
    tmp_path: Path, atlas: Parcellation, signs: tuple[int, ...], order: tuple[int, ...]
) -> None:
    axis = brain_models()
    values = np.random.default_rng(3).standard_normal((4, len(axis))).astype(np.float32)
    expected = dense_series(bold(tmp_path / "plain", values), atlas)
    other, moved = respelled(axis, values, signs, order)
    found = dense_series(bold(tmp_path / "other", moved, other), atlas)
    np.testing.assert_allclose(found.series, expected.series, rtol=1e-6)
    assert found.n_covered[10] == 27


def test_grids_whose_places_do_not_coincide_are_refused(tmp_path: Path, atlas: Parcellation) -> None:
    axis = brain_models()
    axis.affine = AFFINE.copy()
    axis.affine[0, 3] += 1.0
    file = bold(tmp_path, np.ones((3, len(axis))), axis)
    with pytest.raises(RunError, match="subcortical voxels on different grids: their places in mm do not coincide"):
        dense_series(file, atlas)


def test_voxels_that_have_nothing_in_common_are_refused(tmp_path: Path, atlas: Parcellation) -> None:
    moved = brain_models(shift=20)
    file = bold(tmp_path, np.ones((3, len(moved))), moved)
    with pytest.raises(RunError, match="have no subcortical voxel in common"):
        dense_series(file, atlas)


def respelled(
    axis: BrainModelAxis, values: np.ndarray, signs: tuple[int, ...], order: tuple[int, ...]
) -> tuple[BrainModelAxis, np.ndarray]:
    """Store the voxels of a file along other axes, and in the opposite order within each structure."""
    turn = np.eye(4)[[*order, 3]]  # old indices from new ones
    turn = np.linalg.inv(turn)
    shape = tuple(SHAPE[index] for index in order)
    for position, sign in enumerate(signs):
        if sign < 0:
            flip = np.eye(4)
            flip[position, position], flip[position, 3] = -1, shape[position] - 1
            turn = turn @ flip
    voxels = np.rint((axis.voxel - turn[:3, 3]) @ np.linalg.inv(turn[:3, :3]).T).astype(int)
    rows = np.arange(len(axis))
    for name in NUCLEI:
        of_it = np.flatnonzero(axis.name == name)
        rows[of_it] = of_it[::-1]
    voxels[~axis.volume_mask] = -1
    other = BrainModelAxis(
        name=axis.name[rows],
        voxel=voxels[rows],
        vertex=axis.vertex[rows],
        affine=AFFINE @ turn,
        volume_shape=shape,
        nvertices=axis.nvertices,
    )
    return other, values[:, rows]
