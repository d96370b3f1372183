"""Cortical parcels with subcortical nuclei of another atlas, as one table of regions."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.atlas.catalogue import atlas_entities
from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.errors import UsageError

C2009, ASYM6 = "MNI152NLin2009cAsym", "MNI152NLin6Asym"
SUBCORTEX = """
name = "Schaefer400 Subcortex"

[[parts]]
atlas = "Schaefer400"

[[parts]]
atlas = "AAL3"
labels = [41, 42, 45, 46, "75-80"]
prefix = "AAL3_"
network = "Subcortical"
"""


@pytest.fixture
def atlases(shared_data: Path) -> Path:
    return shared_data / "atlases"


@pytest.fixture
def combined(atlases: Path, tmp_path: Path) -> Parcellation:
    return load_parcellation(written(tmp_path, SUBCORTEX), ASYM6, atlas_dir=atlases)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_cortex_and_nuclei_stand_in_one_table(combined: Parcellation) -> None:
    assert dict(combined.entities) == {"atlas": "Schaefer400Subcortex", "scale": "410"}
    assert combined.name == "Schaefer400Subcortex410"
    assert combined.labels == tuple(range(1, 411))
    assert combined.names[0] == "7Networks_LH_Vis_1"
    nuclei = ("Hippocampus", "Amygdala", "Caudate", "Putamen", "Pallidum")
    assert combined.names[400:] == tuple(f"AAL3_{name}_{side}" for name in nuclei for side in "LR")
    assert combined.networks[399:402] == ("Default", "Subcortical", "Subcortical")
    assert (combined.space, combined.any_space) == (ASYM6, False)
    assert combined.facts["title"].startswith("Schaefer 2018 cortical parcellation with Automated anatomical")


def test_voxels_are_those_of_each_atlas_and_the_first_part_wins(combined: Parcellation, atlases: Path) -> None:
    cortex, _, _ = load_parcellation("Schaefer400", ASYM6, atlas_dir=atlases).image()
    aal, _, _ = load_parcellation("AAL3", ASYM6, atlas_dir=atlases).image()
    expected = cortex.copy()
    for position, label in enumerate((41, 42, 45, 46, 75, 76, 77, 78, 79, 80), start=401):
        expected[(aal == label) & (cortex == 0)] = position
    claimed_twice = (cortex > 0) & np.isin(aal, (41, 42, 45, 46))
    assert claimed_twice.any()
    drawn, affine, _ = combined.image()
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(combined.on_grid(drawn.shape, affine), expected)
    assert np.unique(drawn).tolist() == list(range(411))


def test_the_order_of_the_parts_decides_who_keeps_shared_voxels(atlases: Path, tmp_path: Path) -> None:
    text = '[[parts]]\natlas = "AAL3"\nnames = ["Hippocampus_R"]\n[[parts]]\natlas = "Schaefer400"\n'
    first = load_parcellation(written(tmp_path, text), ASYM6, atlas_dir=atlases)
    aal, _, _ = load_parcellation("AAL3", ASYM6, atlas_dir=atlases).image()
    assert first.names[0] == "Hippocampus_R"
    assert first.entities["atlas"] == "mine"
    assert int((first.image()[0] == 1).sum()) == int((aal == 42).sum())


def test_a_part_on_another_grid_is_laid_over_the_grid_of_the_first(
    atlases: Path, templateflow_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    both = load_parcellation(written(tmp_path, SUBCORTEX), C2009, atlas_dir=atlases)
    drawn, affine, _ = both.image()
    assert (both.space, drawn.shape) == (C2009, (97, 115, 97))
    laid = load_parcellation("AAL3", C2009, atlas_dir=atlases).on_grid(drawn.shape, affine)
    caudate = load_parcellation("AAL3", C2009, atlas_dir=atlases).names.index("Caudate_L") + 1
    position = both.names.index("AAL3_Caudate_L") + 1
    np.testing.assert_array_equal(drawn == position, (laid == caudate) & (drawn == position))
    assert (drawn == position).sum() > 0.9 * (laid == caudate).sum()


def test_a_copy_is_equal_and_drawn_like_any_other(combined: Parcellation) -> None:
    again = copy.deepcopy(combined)
    assert again == combined
    drawn, _, _ = combined.image()
    np.testing.assert_array_equal(again.positions(), drawn)  # its labels are numbered from 1 on


def test_its_hash_tells_what_it_was_drawn_from(atlases: Path, combined: Parcellation, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    same = load_parcellation(written(tmp_path / "other", SUBCORTEX + "# a remark\n"), ASYM6, atlas_dir=atlases)
    less = SUBCORTEX.replace('"75-80"', '"75-78"')
    fewer = load_parcellation(written(tmp_path / "other", less), ASYM6, atlas_dir=atlases)
    assert same.sha256 == combined.sha256 != fewer.sha256


def test_it_is_written_with_image_and_table(combined: Parcellation, tmp_path: Path) -> None:
    write_atlas(tmp_path / "out", [combined])
    stem = f"tpl-{ASYM6}_atlas-Schaefer400Subcortex_scale-410"
    folder = tmp_path / "out" / f"tpl-{ASYM6}"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{stem}_res-02_dseg.nii.gz", f"{stem}_res-02_dseg.json", f"{stem}_dseg.tsv", f"{stem}_dseg.json")
    }
    assert "AAL3_Pallidum_R\tSubcortical" in (folder / f"{stem}_dseg.tsv").read_text()


def test_its_name_is_known_without_reading_images(tmp_path: Path) -> None:
    assert atlas_entities(str(written(tmp_path, SUBCORTEX))) == {"atlas": "Schaefer400Subcortex"}


def test_a_file_is_named_relative_to_the_toml(atlases: Path, tmp_path: Path) -> None:
    for name in ("AAL3v1.nii", "AAL3v1.xml"):
        (tmp_path / name).write_bytes((atlases / "aal3" / name).read_bytes())
    text = f'[[parts]]\nfile = "AAL3v1.nii"\nspace = "{ASYM6}"\nlabels = [77, 78]\n'
    atlas = load_parcellation(written(tmp_path, text), ASYM6)
    assert atlas.names == ("Putamen_L", "Putamen_R")
    assert atlas.layers[0].image_file == tmp_path / "AAL3v1.nii"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("parts = 3", r"no \[\[parts\]\]"),
        ("[[parts]]\n", "either atlas = NAME or file = PATH"),
        ('[[parts]]\natlas = "AAL3"\nfile = "x.nii"\n', "either atlas = NAME or file = PATH"),
        ('[[parts]]\natlas = "AAL3"\nlabel = [1]\n', "unknown setting 'label'"),
        ('[[parts]]\natlas = "AAL3"\nlabels = [35]\n', "has no region 35; its labels run from 1 to 170"),
        ('[[parts]]\natlas = "AAL3"\nlabels = ["80-75"]\n', "'80-75' is no label"),
        ('[[parts]]\natlas = "AAL3"\nlabels = []\n', "labels must be a list that is not empty"),
        ('[[parts]]\natlas = "AAL3"\nnames = ["Nucleus"]\n', "has no region Nucleus"),
        ('[[parts]]\natlas = "AAL3"\nnames = ["a"]\nlabels = [1]\n', "either labels or names"),
        ('[[parts]]\natlas = "AAL3"\n[[parts]]\natlas = "AAL3"\n', "two of its regions are called Precentral_L; give"),
        ('[[parts]]\natlas = "other.toml"\n', "can not be a combination itself"),
        ('[[parts]]\natlas = "AAL3"\nprefix = 3\n', "prefix = 3 in a part; text is expected"),
        ("[[parts]\n", "is not valid TOML"),
    ],
)
def test_files_that_make_no_sense_are_refused(atlases: Path, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_parcellation(written(tmp_path, text), ASYM6, atlas_dir=atlases)
