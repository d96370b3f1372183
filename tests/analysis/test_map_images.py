"""Painted maps are read back by the programs that draw them: right place, right type, nothing outside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from helpers.grayordinates import brain_models, striped, write_labels
from helpers.painted import schaefer400

from bids_neurossm.analysis.map_images import Namer, Painter
from bids_neurossm.atlas import load_parcellation


def named(folder: Path) -> Namer:
    def name(entities: Mapping[str, str | None], extension: str) -> Path:
        pairs = [f"{key}-{value}" for key, value in entities.items() if value]
        return folder / ("_".join([*pairs, "boldmap"]) + extension)

    return name


@pytest.fixture(scope="module")
def images(templateflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The three kinds of maps of Schaefer-400, in the volume and on both hemispheres."""
    folder = tmp_path_factory.mktemp("maps")
    painter = Painter(schaefer400(templateflow_home), surfaces=True)
    assert painter.notes == []
    values = np.arange(400) / 400
    facts = {"Description": "a map"}
    return {
        "score": painter.paint(named(folder / "score"), values, "score", facts),
        "mask": painter.paint(named(folder / "mask"), values >= 0.75, "mask", facts),
        "again": painter.paint(named(folder / "again"), values, "score", facts),
        "labels": painter.paint(named(folder / "labels"), np.arange(400) % 3, "labels", facts, ["none", "raw", "fast"]),
    }


def test_volumes_lie_on_the_atlas_with_its_affine_and_codes(
    images: dict[str, list[Path]], templateflow_home: Path
) -> None:
    atlas = nib.load(schaefer400(templateflow_home).image_file)
    labels = np.asarray(atlas.dataobj)
    expected = {"score": (np.float32, (labels - 1) / 400), "mask": (np.uint8, labels > 300), "labels": (np.int16, None)}
    for kind, (dtype, values) in expected.items():
        image = nib.load(images[kind][0])
        assert image.get_data_dtype() == dtype
        np.testing.assert_allclose(image.affine, atlas.affine)
        assert image.header["sform_code"] == image.header["qform_code"] > 0
        assert image.header.get_xyzt_units()[0] == "mm"
        data = np.asarray(image.dataobj)
        outside = data[labels == 0]
        assert np.isnan(outside).all() if kind == "score" else (outside == 0).all()
        if values is not None:
            np.testing.assert_allclose(data[labels > 0], values[labels > 0], rtol=1e-6)


def test_nilearn_loads_and_draws_them(images: dict[str, list[Path]], tmp_path: Path) -> None:
    from nilearn.image import load_img
    from nilearn.plotting import plot_stat_map

    image = load_img(images["score"][0])
    assert np.nanmax(image.get_fdata()) == pytest.approx(399 / 400)
    drawn = tmp_path / "map.png"
    with pytest.warns(UserWarning, match="Non-finite"):  # NaN is what lies outside the atlas
        plot_stat_map(image, bg_img=None, display_mode="z", cut_coords=[20], output_file=drawn, colorbar=False)
    assert drawn.stat().st_size > 5000


def test_hemispheres_carry_the_values_of_their_regions(images: dict[str, list[Path]]) -> None:
    from nilearn.surface import load_surf_data

    _, left, right = images["score"]
    assert left.name == "space-fsaverage_den-10k_hemi-L_boldmap.func.gii"
    for path, structure, (low, high) in ((left, "CortexLeft", (0, 199)), (right, "CortexRight", (200, 399))):
        values = load_surf_data(path)
        assert values.shape == (10242,)
        assert np.nanmin(values) == pytest.approx(low / 400)
        assert np.nanmax(values) == pytest.approx(high / 400)
        assert nib.load(path).meta["AnatomicalStructurePrimary"] == structure
    sidecar = json.loads(left.with_name("space-fsaverage_den-10k_hemi-L_boldmap.json").read_text())
    assert sidecar["RegionsWithoutVertex"] == 0
    assert sidecar["Description"] == "a map"
    named_labels = nib.load(images["labels"][1]).labeltable.get_labels_as_dict()
    assert named_labels == {0: "none", 1: "raw", 2: "fast"}


def test_the_same_map_is_the_same_bytes(images: dict[str, list[Path]]) -> None:
    for before, after in zip(images["score"], images["again"], strict=True):
        assert before.read_bytes() == after.read_bytes()


def test_labels_have_a_table_beside_them(images: dict[str, list[Path]]) -> None:
    table = pd.read_csv(images["labels"][0].with_name("boldmap.tsv"), sep="\t")
    assert table.to_numpy().tolist() == [[0, "none"], [1, "raw"], [2, "fast"]]
    assert len(list(images["labels"][0].parent.glob("*.tsv"))) == 1


def test_grayordinates_become_cifti_and_gifti(tmp_path: Path) -> None:
    axis = brain_models()
    names = {label: f"LH_Vis_{label}" for label in range(1, 11)} | {11: "Thalamus_L"}
    labels = striped(axis, 10)
    atlas = load_parcellation(write_labels(tmp_path / "atlas-Mine_dseg.dlabel.nii", labels, names, axis), "fsLR")
    painter = Painter(atlas, surfaces=True)
    assert painter.notes == [
        "1 of 11 regions have no vertex on the surface of fsLR, and are missing in the maps on it."
    ]
    dense, left, right = painter.paint(named(tmp_path), np.arange(11.0), "score", {"Description": "a map"})
    assert (dense.name, left.name) == ("boldmap.dscalar.nii", "space-fsLR_den-32k_hemi-L_boldmap.func.gii")
    image = nib.load(dense)
    assert image.header.get_axis(1) == axis
    data = image.get_fdata()[0]
    np.testing.assert_array_equal(data[labels > 0], labels[labels > 0] - 1)
    assert np.isnan(data[labels == 0]).all()
    values = np.asarray(nib.load(right).agg_data())
    assert np.unique(values[np.isfinite(values)]).tolist() == [5, 6, 7, 8, 9]
    dominant = painter.paint(named(tmp_path / "labels"), np.arange(11) % 3, "labels", {}, ["none", "raw", "fast"])
    table = nib.load(dominant[0]).header.get_axis(0).label[0]
    assert [table[key][0] for key in range(3)] == ["none", "raw", "fast"]
    assert (tmp_path / "labels" / "boldmap.tsv").is_file()


def test_an_atlas_without_a_surface_is_painted_without_and_says_why(tmp_path: Path, templateflow_home: Path) -> None:
    painter = Painter(replace(schaefer400(templateflow_home), space="MNIInfant"), surfaces=True)
    paths = painter.paint(named(tmp_path), np.arange(400.0), "score", {})
    assert [path.name for path in paths] == ["boldmap.nii.gz"]
    assert painter.notes[0].startswith("No maps on a surface: ")
