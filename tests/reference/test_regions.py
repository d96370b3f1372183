"""Voxel maps become region values where the atlas says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.reference.maps import BrainMask, association_maps, default_mask
from bids_neurossm.reference.regions import (
    reference_region_maps,
    region_geometry,
    region_means,
    region_of_voxels,
    z_over_regions,
)
from bids_neurossm.reference.studies import Studies
from bids_neurossm.reference.terms import ClassTerms, load_term_table, match_classes, words_in_titles

Atlas = tuple[np.ndarray, np.ndarray, list[int]]


def test_the_nearest_label_is_taken_whatever_the_grids() -> None:
    mask = BrainMask(np.ones((4, 2, 2), dtype=bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = np.zeros((8, 4, 4), dtype=np.float32)
    labels[:4], labels[4:6] = 7, 3
    # Stored right to left, 1 mm voxels: index 0 lies at 7 mm.
    affine = np.array([[-1.0, 0, 0, 7], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    region = region_of_voxels(mask, labels, affine, [3, 7, 9])
    assert region.reshape(4, 4).tolist() == [[-1] * 4, [0] * 4, [1] * 4, [1] * 4]
    values = np.arange(16, dtype=np.float32)[None]
    np.testing.assert_allclose(region_means(values, mask, labels, affine, [3, 7, 9]), [[5.5, 11.5, np.nan]])


def test_sizes_and_centroids() -> None:
    labels = np.zeros((4, 4, 4), dtype=int)
    labels[1, 1, 1:3], labels[0, 0, 0] = 5, 2
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    sizes, centroids = region_geometry(labels, affine, [5, 2, 8])
    assert sizes.tolist() == [2, 1, 0]
    np.testing.assert_allclose(centroids, [[2, 3, 6], [0, 0, 0], [np.nan] * 3])


def test_images_that_are_no_label_images_are_refused() -> None:
    with pytest.raises(UsageError, match="not whole numbers"):
        region_geometry(np.full((2, 2, 2), 0.5), np.eye(4), [1])
    with pytest.raises(UsageError, match="differ from each other and from 0"):
        region_geometry(np.ones((2, 2, 2)), np.eye(4), [0, 1])


def test_z_leaves_missing_regions_missing_and_flat_maps_undefined() -> None:
    np.testing.assert_allclose(z_over_regions(np.array([1.0, np.nan, 3.0])), [-1, np.nan, 1])
    assert np.isnan(z_over_regions(np.full(5, 0.1))).all()
    assert np.isnan(z_over_regions(np.full(3, np.nan))).all()


def test_shipped_studies_give_opposite_maps_of_two_tasks(task_studies: Studies, schaefer200: Atlas) -> None:
    matched = match_classes(load_term_table("nback-flanker"), ["2-back", "flanker"])
    reference = reference_region_maps(task_studies, matched.classes, *schaefer200)
    assert list(reference.regions.columns) == ["2-back", "flanker"]
    assert reference.regions.index.tolist() == schaefer200[2]
    np.testing.assert_allclose(reference.regions["2-back"], -reference.regions["flanker"], atol=1e-5)
    np.testing.assert_allclose(reference.regions.std(ddof=0), 1)
    assert reference.terms["n_studies"].tolist() == [500, 406]
    assert any("906 studies with 9492 peaks" in note for note in reference.notes)
    # What can not be trusted is counted: unknown spaces, and peaks that lie in no brain.
    assert any(" UNKNOWN" in note and "all others taken as MNI" in note for note in reference.notes)
    (outside,) = [note for note in reference.notes if "lie outside the brain mask" in note]
    assert 0 < int(outside.split()[0]) < 0.05 * 9492


def test_a_class_map_is_the_mean_over_its_terms_then_over_voxels(task_studies: Studies, schaefer200: Atlas) -> None:
    titled = Studies(
        task_studies.ids, task_studies.titles, task_studies.peaks, task_studies.peak_study, task_studies.source
    )
    words = ("memory", "control")
    reference = reference_region_maps(
        titled, {"both": ClassTerms(words)}, *schaefer200[:2], [10, 999, 20, 30], evidence="titles"
    )
    mask = default_mask()
    maps = association_maps(titled, words_in_titles(titled.titles, words), mask).mean(axis=0)
    region = region_of_voxels(mask, *schaefer200[:2], [10, 20, 30])
    by_hand = np.array([maps[region == index].mean() for index in range(3)])
    got = reference.regions["both"]
    np.testing.assert_allclose(got.loc[[10, 20, 30]], z_over_regions(by_hand), rtol=1e-4)
    assert np.isnan(got.loc[999])
    assert any("1 of 4 regions have no voxel" in note for note in reference.notes)


def test_rare_words_are_left_out_and_a_class_without_words_is_refused(neurosynth: Studies, schaefer200: Atlas) -> None:
    few = neurosynth.subset(words_in_titles(neurosynth.titles, ["working memory"])[0])
    classes = {"load": ClassTerms(("load", "gait", "wm"))}
    with pytest.raises(UsageError, match="'gait' is not in the vocabulary"):
        reference_region_maps(few, classes, *schaefer200)
    reference = reference_region_maps(few, {"load": ClassTerms(("load", "wm"))}, *schaefer200)
    assert reference.terms["used"].tolist() == [True, False]
    assert any("wm (0)" in note for note in reference.notes)
    with pytest.raises(UsageError, match="none of its titles"):
        reference_region_maps(few, {"rare": ClassTerms(("wm",))}, *schaefer200)


def test_a_term_that_three_studies_carry_gives_no_map(task_studies: Studies, schaefer200: Atlas) -> None:
    # The last words of titles, and no vocabulary that would have to hold them.
    names = ("ids", "titles", "peaks", "peak_study", "source")
    titled = Studies(**{name: getattr(task_studies, name) for name in names})
    last = [title.split()[-1] for title in titled.titles if title]
    rare = next(word for word in last if words_in_titles(titled.titles, [word]).sum() == 3)
    with pytest.raises(UsageError, match="is carried by at least 10 studies"):
        reference_region_maps(titled, {"rare": ClassTerms((rare,))}, *schaefer200, evidence="titles")
    reference = reference_region_maps(titled, {"both": ClassTerms(("memory", rare))}, *schaefer200, evidence="titles")
    assert reference.terms["used"].tolist() == [True, False]
    assert reference.terms["n_studies"][1] == 3
    assert any(f"{rare} (3)" in note for note in reference.notes)


@pytest.mark.slow
def test_title_words_find_the_same_regions_as_neurosynths_own_terms(
    neurosynth: Studies, schaefer200: Atlas, shared_data: Path
) -> None:
    published = pd.read_csv(shared_data / "reference_maps" / "neurosynth_terms_schaefer200.tsv", sep="\t")
    published = published.drop(columns="parcel")
    expected = {
        "working memory": "workingmemory",
        "movement": "movement",
        "language": "language",
        "pain": "pain",
        "emotion": "emotion",
        "face": "facerecognition",
    }
    selections = words_in_titles(neurosynth.titles, list(expected))
    mask = default_mask()
    means = region_means(association_maps(neurosynth, selections, mask), mask, *schaefer200)
    matched = []
    for row, term in zip(means, expected.values(), strict=True):
        correlation = published.corrwith(pd.Series(row))
        assert correlation.idxmax() == term
        assert correlation[term] > 0.85
        matched.append(correlation[term])
    assert np.median(matched) >= 0.9
