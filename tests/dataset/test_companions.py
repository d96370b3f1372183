"""Which file belongs to an image: by the entities of its name, in any order; two that fit equally well are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.dataset.companions import (
    BRAIN_MASK,
    CONFOUNDS,
    LABEL_TABLE,
    MIXING,
    NOISE_COMPONENTS,
    Companion,
    Folders,
    find_companion,
)
from bids_neurossm.errors import RunError, UsageError

REST = "sub-01_task-rest"
MNI = "space-MNI152NLin6Asym"


def found(tmp_path: Path, image: str, kind: Companion, *names: str) -> str | None:
    for name in (image, *names):
        (tmp_path / name).touch()
    path = find_companion(tmp_path / image, kind, Folders())
    return None if path is None else path.name


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (f"{REST}_{MNI}_desc-preproc_bold.nii.gz", f"{REST}_{MNI}_desc-brain_mask.nii.gz"),
        (f"{REST}_{MNI}_desc-preproc_part-mag_bold.nii.gz", f"{REST}_{MNI}_desc-brain_part-mag_mask.nii.gz"),
        (f"{REST}_part-mag_{MNI}_desc-preproc_bold.nii.gz", f"{REST}_{MNI}_desc-brain_mask.nii.gz"),
        (f"{REST}_{MNI}_desc-preproc_bold.nii.gz", f"{REST}_part-mag_{MNI}_desc-brain_mask.nii"),
        (f"{REST}_echo-1_{MNI}_desc-preproc_bold.nii", f"{REST}_{MNI}_desc-brain_mask.nii.gz"),
        (f"{REST}_run-1_{MNI}_desc-preproc_bold.nii.gz", f"{REST}_run-01_{MNI}_desc-brain_mask.nii.gz"),
        (
            f"{REST}_space-MNIPediatricAsym_cohort-5_res-2_desc-preproc_bold.nii.gz",
            f"{REST}_space-MNIPediatricAsym_res-2_cohort-5_desc-brain_mask.nii.gz",
        ),
    ],
)
def test_a_mask_may_spell_its_entities_in_any_order(tmp_path: Path, image: str, mask: str) -> None:
    assert found(tmp_path, image, BRAIN_MASK, mask) == mask


@pytest.mark.parametrize(
    "other",
    [
        f"sub-01_task-nback_{MNI}_desc-brain_mask.nii.gz",
        f"{REST}_space-T1w_desc-brain_mask.nii.gz",
        f"{REST}_desc-brain_mask.nii.gz",
        f"{REST}_acq-mb_{MNI}_desc-brain_mask.nii.gz",
        f"{REST}_run-10_{MNI}_desc-brain_mask.nii.gz",
        f"{REST}_echo-2_{MNI}_desc-brain_mask.nii.gz",
        f"{REST}_part-phase_{MNI}_desc-brain_mask.nii.gz",
        f"{REST}_{MNI}_desc-aroma_mask.nii.gz",
        f"{REST}_{MNI}_desc-brain_mask.json",
    ],
)
def test_a_mask_of_something_else_is_not_taken(tmp_path: Path, other: str) -> None:
    assert found(tmp_path, f"{REST}_run-1_echo-1_{MNI}_desc-preproc_bold.nii.gz", BRAIN_MASK, other) is None


def test_the_mask_that_says_most_of_the_image_is_its_own(tmp_path: Path) -> None:
    own = f"{REST}_echo-1_{MNI}_desc-brain_mask.nii.gz"
    image = f"{REST}_echo-1_{MNI}_desc-preproc_bold.nii.gz"
    assert found(tmp_path, image, BRAIN_MASK, f"{REST}_{MNI}_desc-brain_mask.nii.gz", own) == own


def test_two_masks_that_fit_equally_well_are_named(tmp_path: Path) -> None:
    masks = [f"{REST}_{MNI}_desc-brain_mask.nii", f"{REST}_{MNI}_desc-brain_mask.nii.gz"]
    with pytest.raises(RunError, match=r"two brain masks that fit .*preproc_bold.nii.gz equally well, .*mask\.nii and"):
        found(tmp_path, f"{REST}_{MNI}_desc-preproc_bold.nii.gz", BRAIN_MASK, *masks)


@pytest.mark.parametrize("extra", ["echo-1", "part-mag", "part-phase", "echo-2_part-mag"])
def test_confounds_belong_to_the_recording(tmp_path: Path, extra: str) -> None:
    image = f"{REST}_{extra}_{MNI}_res-2_desc-preproc_bold.nii.gz"
    table = f"{REST}_desc-confounds_timeseries.tsv"
    assert found(tmp_path, image, CONFOUNDS, table, f"{REST}_run-2_desc-confounds_timeseries.tsv") == table
    nearer = f"{REST}_{extra}_desc-confounds_timeseries.tsv"
    assert found(tmp_path, image, CONFOUNDS, nearer) == nearer


def test_two_tables_of_confounds_are_named(tmp_path: Path) -> None:
    tables = [f"{REST}_desc-confounds_{suffix}.tsv" for suffix in ("regressors", "timeseries")]
    with pytest.raises(RunError, match=r"two tables of confounds .*regressors\.tsv and .*timeseries\.tsv: remove"):
        found(tmp_path, f"{REST}_{MNI}_desc-preproc_bold.nii.gz", CONFOUNDS, *tables)


def test_what_ica_aroma_left_belongs_to_the_recording(tmp_path: Path) -> None:
    image = f"{REST}_run-01_{MNI}_desc-preproc_bold.nii.gz"
    mixing, noise = f"{REST}_run-1_desc-MELODIC_mixing.tsv", f"{REST}_run-1_AROMAnoiseICs.csv"
    assert found(tmp_path, image, MIXING, mixing) == mixing
    assert found(tmp_path, image, NOISE_COMPONENTS, noise) == noise


@pytest.mark.parametrize(
    ("image", "table"),
    [
        ("tpl-S_res-02_atlas-A_desc-400Parcels_dseg.nii.gz", "tpl-S_atlas-A_desc-400Parcels_dseg.tsv"),
        ("atlas-4S456Parcels_space-S_res-01_dseg.nii.gz", "atlas-4S456Parcels_dseg.tsv"),
        ("atlas-A_den-91k_dseg.dlabel.nii", "atlas-A_dseg.csv"),
        ("AAL3v1.nii", "AAL3v1.xml"),
        ("my_own_atlas.nii.gz", "my_own_atlas.txt"),
    ],
)
def test_a_label_table_may_leave_the_grid_out(tmp_path: Path, image: str, table: str) -> None:
    others = ("tpl-S_atlas-A_desc-100Parcels_dseg.tsv", "atlas-B_dseg.tsv", "our_own_atlas.txt", "AAL3v2.xml")
    assert found(tmp_path, image, LABEL_TABLE, table, *others) == table


def test_of_two_label_tables_the_tsv_is_read(tmp_path: Path) -> None:
    assert found(tmp_path, "AAL3v1.nii", LABEL_TABLE, "AAL3v1.xml", "AAL3v1.tsv") == "AAL3v1.tsv"


def test_label_tables_that_fit_equally_well_are_refused(tmp_path: Path) -> None:
    for name in ("tpl-S_res-1_atlas-A_dseg.nii.gz", "tpl-S_atlas-A_dseg.tsv", "res-1_atlas-A_dseg.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="two label tables"):
        find_companion(tmp_path / "tpl-S_res-1_atlas-A_dseg.nii.gz", LABEL_TABLE, Folders(), UsageError)


def test_a_link_whose_content_was_not_fetched_is_found(tmp_path: Path) -> None:
    mask = tmp_path / f"{REST}_{MNI}_desc-brain_mask.nii.gz"
    mask.symlink_to("../.git/annex/objects/a")
    assert find_companion(tmp_path / f"{REST}_{MNI}_desc-preproc_bold.nii.gz", BRAIN_MASK, Folders()) == mask


def test_a_folder_is_listed_once(tmp_path: Path) -> None:
    folders = Folders()
    assert folders.files(tmp_path) == ()
    (tmp_path / f"{REST}_bold.nii.gz").touch()
    assert folders.files(tmp_path) == ()
    assert [each.suffix for each in Folders().files(tmp_path)] == ["bold"]
