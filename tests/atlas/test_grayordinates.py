"""Label images on grayordinates: with their own names, or with a table beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.grayordinates import brain_models, striped, write_labels, write_scalars

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.catalogue import atlas_entities
from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.atlas.tables import read_label_table
from bids_neurossm.errors import ResourceMissingError, UsageError

NAMES = {label: f"7Networks_LH_Vis_{label}" for label in range(1, 11)} | {11: "Thalamus_L"}


def labels_file(path: Path, names: dict[int, str] | None = None) -> Path:
    axis = brain_models()
    return write_labels(path, striped(axis, 10), NAMES if names is None else names, axis)


def test_names_and_networks_come_from_the_file(tmp_path: Path) -> None:
    file = labels_file(tmp_path / "atlas-Mine_dseg.dlabel.nii")
    atlas = load_parcellation(file, "fsLR")
    assert (atlas.space, atlas.dense, atlas.n_regions) == ("fsLR", True, 11)
    assert dict(atlas.entities) == {"atlas": "Mine", "scale": "11"} == atlas_entities(str(file))
    assert atlas.names == tuple(NAMES.values())
    assert atlas.networks[9:] == ("Vis", "n/a")


def test_cbigs_own_file_is_found_by_name_and_gets_the_newest_names(tmp_path: Path, shared_data: Path) -> None:
    table = read_label_table(next((shared_data / "atlases" / "templateflow").glob("*6Asym/*_dseg.tsv")))
    newest = read_label_table(shared_data / "atlases" / "Schaefer2018_400Parcels_7Networks_order.txt")
    axis = brain_models(nuclei=False)
    names = dict(zip(table.labels, table.names, strict=True))
    write_labels(tmp_path / "Schaefer2018_400Parcels_7Networks_order.dlabel.nii", striped(axis, 400), names, axis)
    atlas = load_parcellation("Schaefer400", "fsLR", atlas_dir=tmp_path)
    assert dict(atlas.entities) == {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "400"}
    assert atlas.names == newest.names


def test_scalars_need_a_table(tmp_path: Path) -> None:
    axis = brain_models()
    file = write_scalars(tmp_path / "mine.dscalar.nii", striped(axis, 10)[np.newaxis], axis)
    with pytest.raises(UsageError, match=r"no table stands beside it; mine\.tsv is expected"):
        load_parcellation(file, "fsLR")
    (tmp_path / "mine.tsv").write_text("index\tname\n" + "".join(f"{key}\t{name}\n" for key, name in NAMES.items()))
    assert load_parcellation(file, "fsLR").names == tuple(NAMES.values())


def test_a_label_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has 1 label\(s\) that .* does not name, the first is 11"):
        load_parcellation(labels_file(tmp_path / "a.dlabel.nii", {key: NAMES[key] for key in range(1, 11)}), "fsLR")


def test_voxels_and_grayordinates_are_not_mixed_up(tmp_path: Path, shared_data: Path) -> None:
    file = labels_file(tmp_path / "a.dlabel.nii")
    with pytest.raises(UsageError, match=r"The runs are in MNI152NLin6Asym, the atlas a\.dlabel\.nii is drawn in fsLR"):
        load_parcellation(file, "MNI152NLin6Asym")
    for name in ("Schaefer400", "AAL3", "HarvardOxford"):
        with pytest.raises(
            UsageError, match=r"give the path of a label image on grayordinates as --atlas FILE\.dlabel"
        ):
            load_parcellation(name, "fsLR", atlas_dir=shared_data / "atlases")
    with pytest.raises(UsageError, match="is drawn on grayordinates and can not be laid over voxels"):
        load_parcellation(file, "fsLR").image()


def test_several_maps_and_broken_files_are_refused(tmp_path: Path) -> None:
    axis = brain_models()
    several = write_scalars(tmp_path / "a.dscalar.nii", np.ones((2, len(axis))), axis)
    with pytest.raises(UsageError, match="has 2 maps; one map"):
        load_parcellation(several, "fsLR")
    fractions = write_scalars(tmp_path / "b.dscalar.nii", np.full((1, len(axis)), 0.5), axis)
    with pytest.raises(UsageError, match="holds values that are no labels"):
        load_parcellation(fractions, "fsLR")
    (tmp_path / "c.dlabel.nii").write_bytes(b"no image at all")
    with pytest.raises(ResourceMissingError, match="is not a readable CIFTI-2 label image"):
        load_parcellation(tmp_path / "c.dlabel.nii", "fsLR")
    with pytest.raises(UsageError, match="there is no such file"):
        load_parcellation(tmp_path / "d.dlabel.nii", "fsLR")


def test_a_copy_with_its_table_goes_into_the_output(tmp_path: Path) -> None:
    file = labels_file(tmp_path / "atlas-Mine_dseg.dlabel.nii")
    write_atlas(tmp_path / "out", [load_parcellation(file, "fsLR")])
    stem = "tpl-fsLR_atlas-Mine_scale-11"
    assert {path.name for path in (tmp_path / "out" / "tpl-fsLR").iterdir()} == {
        *(f"{stem}_den-91k_dseg.dlabel.nii", f"{stem}_den-91k_dseg.json", f"{stem}_dseg.tsv", f"{stem}_dseg.json")
    }
    copy = tmp_path / "out" / "tpl-fsLR" / f"{stem}_den-91k_dseg.dlabel.nii"
    assert copy.read_bytes() == file.read_bytes()
