"""The same parcel has one name, whichever release of the label table it was read from."""

from __future__ import annotations

import csv
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.names import canonical_names, same_parcels
from bids_neurossm.atlas.parcellation import read_label_image
from bids_neurossm.atlas.tables import network_of, read_label_table

C2009, ASYM6 = "MNI152NLin2009cAsym", "MNI152NLin6Asym"


@pytest.fixture
def older(templateflow_home: Path) -> Path:
    return next((templateflow_home / f"tpl-{ASYM6}").glob("*_dseg.tsv"))


@pytest.fixture
def newer(shared_data: Path) -> Path:
    return shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order.txt"


def test_the_tables_of_templateflow_and_cbig_differ_in_66_names(older: Path, newer: Path) -> None:
    first, second = read_label_table(older), read_label_table(newer)
    differing = [(a, b) for a, b in zip(first.names, second.names, strict=True) if a != b]
    assert first.labels == second.labels
    assert len(differing) == 66
    assert ("7Networks_LH_SalVentAttn_FrOper_1", "7Networks_LH_SalVentAttn_FrOperIns_1") in differing


def test_both_become_the_newer_one(older: Path, newer: Path) -> None:
    first, second = read_label_table(older), read_label_table(newer)
    assert canonical_names(first.labels, first.names) == second.names
    assert canonical_names(second.labels, second.names) == second.names


def test_an_atlas_from_either_source_has_the_same_regions(
    shared_data: Path, templateflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    of_templateflow = load_parcellation("Schaefer400", C2009)
    of_cbig = load_parcellation("Schaefer400", ASYM6, atlas_dir=shared_data / "atlases")
    assert of_templateflow.names == of_cbig.names
    assert of_templateflow.networks == of_cbig.networks
    assert of_templateflow.labels == of_cbig.labels


def test_a_file_with_the_older_table_beside_it_gets_the_newer_names_too(
    older: Path, newer: Path, shared_data: Path, tmp_path: Path
) -> None:
    image = shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
    shutil.copyfile(image, tmp_path / f"tpl-{ASYM6}_atlas-mine_dseg.nii.gz")
    shutil.copyfile(older, tmp_path / f"tpl-{ASYM6}_atlas-mine_dseg.tsv")
    atlas = load_parcellation(tmp_path / f"tpl-{ASYM6}_atlas-mine_dseg.nii.gz")
    assert atlas.names == read_label_table(newer).names


def test_a_label_is_the_same_parcel_in_both_images(shared_data: Path, templateflow_home: Path) -> None:
    """What gives the right to rename: every parcel of one image overlaps most with its own label in the other."""
    six = load_parcellation("Schaefer400", ASYM6, atlas_dir=shared_data / "atlases")
    labels, affine, _ = read_label_image(next((templateflow_home / f"tpl-{C2009}").glob("*_dseg.nii.gz")))
    laid_over = six.on_grid(labels.shape, affine)
    overlap = np.zeros((401, 401), dtype=int)
    np.add.at(overlap, (labels.ravel(), laid_over.ravel()), 1)
    np.testing.assert_array_equal(overlap[1:, 1:].argmax(axis=1), np.arange(400))


def test_nothing_else_is_renamed(older: Path) -> None:
    table = read_label_table(older)
    assert canonical_names(table.labels[:399], table.names[:399]) == table.names[:399]
    changed = ("mine", *table.names[1:])
    assert "7Networks_LH_SalVentAttn_FrOperIns_1" in canonical_names(table.labels, changed)
    index = table.names.index("7Networks_LH_SalVentAttn_FrOper_1")
    other = (*table.names[:index], "mine", *table.names[index + 1 :])
    assert canonical_names(table.labels, other) == other


def test_a_renamed_parcel_stays_in_its_hemisphere_and_network() -> None:
    path = Path(str(files("bids_neurossm"))) / "data" / "atlases" / "schaefer_renamed.tsv"
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == 66
    for row in rows:
        assert row["older"].split("_")[:2] == row["name"].split("_")[:2]
        assert network_of(row["older"]) == network_of(row["name"])


def renamed(names: tuple[str, ...]) -> list[str]:
    """Another release: components have other names, and every parcel stays where it is."""
    return [f"{'_'.join(name.split('_')[:3])}_Component_{index}" for index, name in enumerate(names)]


@pytest.mark.parametrize("scale", [100, 400])
def test_another_release_of_the_same_order_names_the_same_parcels(shared_data: Path, scale: int) -> None:
    table = read_label_table(shared_data / "atlases" / f"Schaefer2018_{scale}Parcels_7Networks_order.txt")
    assert same_parcels(table.names, table.names)
    assert same_parcels(table.names, renamed(table.names))
    assert not same_parcels(table.names, table.names[::-1])  # the right hemisphere first
    assert not same_parcels(table.names, renamed(table.names)[:-1])
    assert not same_parcels(table.names, [name.replace("Vis", "SomMot") for name in table.names])
    assert not same_parcels(table.names, [f"region{index}" for index in range(scale)])


def test_the_real_tables_of_two_releases_name_the_same_parcels(older: Path, newer: Path) -> None:
    assert same_parcels(read_label_table(older).names, read_label_table(newer).names)


@pytest.mark.parametrize(
    ("scale", "networks", "kept"),
    [(200, 7, True), (1000, 7, True), (900, 7, False), (400, 17, True), (500, 17, False), (1000, 17, False)],
)
def test_parcels_are_matched_by_position_only_where_their_order_was_kept(scale: int, networks: int, kept: bool) -> None:
    network = {7: "Limbic", 17: "LimbicB"}[networks]
    first = [f"{networks}Networks_LH_Limbic_OFC_{index}" for index in range(scale)]
    assert same_parcels(first, [f"{networks}Networks_LH_{network}_TempPole_{index}" for index in range(scale)]) == kept
    assert same_parcels(first, list(first))


def test_no_other_names_are_matched_by_position() -> None:
    assert not same_parcels([], ["a"])
    assert not same_parcels(["Caudate_L"], ["Putamen_L"])
    assert not same_parcels(["7Networks_LH_Vis_1"], ["7Networks_LH_Vis_2"])  # one parcel alone, of whatever size
