"""Every shipped strategy on the tables of every fMRIPrep: the regressors and the volumes that nilearn gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds as by_components
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.signal import clean

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import load_confounds
from bids_neurossm.signal.denoise import contiguous_segments, denoise
from bids_neurossm.signal.strategy import load_strategy

RealTable = Callable[..., Path]
Nilearn = tuple[pd.DataFrame, Any]

VERSIONS = ("1.4", "20.0", "20.2", "21.0", "23.2", "25.0")
WITH_AROMA = ("1.4", "20.0", "20.2")
PRESETS = ("simple", "scrubbing", "compcor")
MOTION = {"strategy": ("high_pass", "motion"), "motion": "full"}
EVERYTHING = {
    "strategy": ("high_pass", "motion", "wm_csf", "global_signal"),
    **dict.fromkeys(("motion", "wm_csf", "global_signal"), "full"),
}
AROMA = {"strategy": ("high_pass", "wm_csf", "ica_aroma"), "ica_aroma": "basic"}

BY_NAME: dict[str, Callable[[str], Nilearn]] = {
    **{name: lambda image, name=name: load_confounds_strategy(image, name) for name in PRESETS},
    **{
        f"{name}+gsr": lambda image, name=name: load_confounds_strategy(image, name, global_signal="basic")
        for name in PRESETS
    },
    "24p": lambda image: by_components(image, **MOTION),
    "24p+gsr": lambda image: by_components(image, **{**MOTION, "strategy": (*MOTION["strategy"], "global_signal")}),
    "36p": lambda image: by_components(image, **EVERYTHING),
    "ica_aroma": lambda image: by_components(image, **AROMA),
    "ica_aroma+gsr": lambda image: by_components(image, **{**AROMA, "strategy": (*AROMA["strategy"], "global_signal")}),
}
CASES = [(name, version) for name in BY_NAME for version in (WITH_AROMA if "aroma" in name else VERSIONS)]


def image_beside(table: Path) -> str:
    """Name of the image that nilearn is called with; it need not be there."""
    return str(table.with_name("sub-01_task-rest_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz"))


def all_or(sample_mask: Any, n_volumes: int) -> np.ndarray:
    return np.arange(n_volumes) if sample_mask is None else sample_mask


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "version"), CASES)
def test_regressors_and_volumes_are_those_of_nilearn(real_table: RealTable, name: str, version: str) -> None:
    table = real_table(version, repeated=4)
    expected, sample_mask = BY_NAME[name](image_beside(table))
    confounds = load_confounds(table, load_strategy(name), 120)
    assert confounds.columns == tuple(expected.columns)
    np.testing.assert_array_equal(confounds.regressors, expected.to_numpy())
    np.testing.assert_array_equal(confounds.kept, all_or(sample_mask, 120))
    assert confounds.n_dummy + confounds.n_censored + confounds.kept.size == 120


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "version"), [case for case in CASES if "compcor" not in case[0] or case[1] >= "21"])
def test_clean_series_are_those_of_nilearn(real_table: RealTable, name: str, version: str) -> None:
    table, n_volumes = real_table(version, repeated=6), 180
    series = 1000 + np.cumsum(np.random.default_rng(0).normal(size=(n_volumes, 5)), axis=0)
    regressors, sample_mask = BY_NAME[name](image_beside(table))
    expected = clean(
        series, confounds=regressors, sample_mask=sample_mask, detrend=True, standardize=None, filter=False, t_r=1.0
    )
    strategy = load_strategy(name)
    cleaned = denoise(series, np.ones(5, dtype=bool), load_confounds(table, strategy, n_volumes), strategy, 1.0)
    assert cleaned.degrees_of_freedom > 0
    np.testing.assert_array_equal(cleaned.series, expected)


@pytest.mark.parametrize(
    ("name", "n_parameters"), [("24p", 24), ("24p+gsr", 25), ("36p", 36), ("simple", 26), ("scrubbing", 32)]
)
@pytest.mark.parametrize("version", VERSIONS)
def test_strategies_have_the_parameters_that_their_names_say(
    real_table: RealTable, name: str, n_parameters: int, version: str
) -> None:
    confounds = load_confounds(real_table(version), load_strategy(name), 30)
    assert sum(not column.startswith("cosine") for column in confounds.columns) == n_parameters


@pytest.mark.parametrize(("version", "n_components"), [("1.4", 57), ("20.2", 57), ("21.0", 5), ("23.2", 5)])
def test_compcor_takes_the_components_of_the_combined_mask(
    real_table: RealTable, version: str, n_components: int
) -> None:
    table = real_table(version)
    confounds = load_confounds(table, load_strategy("compcor"), 30)
    components = [name for name in confounds.columns if "comp" in name]
    beside = json.loads(table.with_suffix(".json").read_text())
    assert len(components) == n_components
    assert {beside[name]["Mask"] for name in components} == {"combined"}


@pytest.mark.parametrize("version", ["1.4", "21.0", "25.0"])
def test_compcor_of_separate_masks_works_before_and_after_the_change_of_names(
    real_table: RealTable, tmp_path: Path, version: str
) -> None:
    arguments = {"strategy": ["high_pass", "compcor"], "compcor": "anat_separated", "n_compcor": 3}
    (tmp_path / "mine.json").write_text(json.dumps({"Confounds": {"nilearn": arguments}}))
    table = real_table(version)
    confounds = load_confounds(table, load_strategy(str(tmp_path / "mine.json")), 30)
    beside = json.loads(table.with_suffix(".json").read_text())
    masks = [beside[name]["Mask"] for name in confounds.columns if "comp" in name]
    assert sorted(masks) == ["CSF"] * 3 + ["WM"] * 3


def test_compcor_without_metadata_names_the_file_that_is_missing(real_table: RealTable) -> None:
    table = real_table("21.0")
    beside = table.with_suffix(".json")
    beside.unlink()
    with pytest.raises(RunError, match=f"{beside} is missing, and --denoise compcor needs it"):
        load_confounds(table, load_strategy("compcor"), 30)
    for content in ("{", "[]"):
        beside.write_text(content)
        with pytest.raises(RunError, match=f"{beside} (is not|must hold a JSON object)"):
            load_confounds(table, load_strategy("compcor"), 30)


def test_a_component_that_the_metadata_names_and_the_table_lacks_is_an_error(real_table: RealTable) -> None:
    table = real_table("21.0")
    content = pd.read_csv(table, sep="\t").drop(columns="a_comp_cor_02")
    content.to_csv(table, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(RunError, match=r"does not serve --denoise compcor: .*a_comp_cor_02.*; it has the columns"):
        load_confounds(table, load_strategy("compcor"), 30)


@pytest.mark.parametrize("version", ["21.0", "23.2", "25.0"])
def test_a_run_without_aroma_says_which_fmriprep_has_it(real_table: RealTable, version: str) -> None:
    with pytest.raises(RunError, match=r"it has no components of ICA-AROMA, which fMRIPrep up to 23\.0 writes"):
        load_confounds(real_table(version), load_strategy("ica_aroma"), 30)


def test_aroma_regresses_the_noise_components_out_of_the_unsmoothed_image(real_table: RealTable) -> None:
    columns = load_confounds(real_table("20.2"), load_strategy("ica_aroma"), 30).columns
    assert sum(name.startswith("aroma_motion_") for name in columns) == 13
    assert {"csf", "white_matter", "cosine00"} < set(columns)


def test_scrubbing_keeps_what_its_thresholds_allow_in_stretches_that_are_long_enough(real_table: RealTable) -> None:
    table = real_table("21.0", repeated=4)
    content = pd.read_csv(table, sep="\t")
    confounds = load_confounds(table, load_strategy("scrubbing"), 120)
    assert 0 < confounds.kept.size < 117
    assert not (content["framewise_displacement"][confounds.kept] > 0.5).any()
    assert not (content["std_dvars"][confounds.kept] > 1.5).any()
    for start, stop in contiguous_segments(confounds.kept):
        assert stop - start >= 5


def test_scrubbing_takes_another_threshold_from_the_command_line(real_table: RealTable) -> None:
    table = real_table("20.2", repeated=4)
    strategy = load_strategy("scrubbing")
    _, expected = load_confounds_strategy(image_beside(table), "scrubbing", fd_threshold=0.15)
    stricter = load_confounds(table, strategy, 120, fd_threshold=0.15)
    np.testing.assert_array_equal(stricter.kept, expected)
    assert stricter.kept.size < load_confounds(table, strategy, 120).kept.size


def test_a_number_of_dummy_scans_replaces_the_marks_but_not_the_scrubbing(real_table: RealTable) -> None:
    table = real_table("21.0", repeated=4)
    strategy = load_strategy("scrubbing")
    automatic = load_confounds(table, strategy, 120)
    assert automatic.n_dummy == 3
    for dummy_scans in (0, 3, 10):
        confounds = load_confounds(table, strategy, 120, dummy_scans=dummy_scans)
        assert confounds.n_dummy == dummy_scans
        # The first volumes that are marked as not steady move too much as well.
        np.testing.assert_array_equal(confounds.kept, automatic.kept[automatic.kept >= dummy_scans])
    simple = load_confounds(table, load_strategy("simple"), 120, dummy_scans=1)
    assert simple.kept.tolist() == list(range(1, 120))


def test_scrubbing_that_keeps_nothing_is_no_error(real_table: RealTable) -> None:
    strategy = load_strategy("scrubbing")
    confounds = load_confounds(real_table("21.0"), strategy, 30)
    assert confounds.kept.size == 0
    assert (confounds.n_dummy, confounds.n_censored) == (3, 27)
    cleaned = denoise(np.ones((30, 4)), np.zeros(4, dtype=bool), confounds, strategy, 2.0)
    assert cleaned.series.shape == (0, 4)
    assert cleaned.segments == ()
    assert cleaned.degrees_of_freedom < 0


@pytest.mark.parametrize("name", ["simple", "scrubbing", "compcor", "24p", "36p"])
def test_a_run_of_one_volume_is_no_error(real_table: RealTable, name: str) -> None:
    table = real_table("21.0")
    pd.read_csv(table, sep="\t")[4:5].to_csv(table, sep="\t", index=False, na_rep="n/a")
    strategy = load_strategy(name)
    confounds = load_confounds(table, strategy, 1)
    cleaned = denoise(np.ones((1, 3)), np.ones(3, dtype=bool), confounds, strategy, 2.0)
    assert cleaned.degrees_of_freedom <= 0
    assert np.isnan(cleaned.series).all()


def test_a_byte_order_mark_does_not_hide_the_first_column(real_table: RealTable) -> None:
    table = real_table("21.0")
    strategy = load_strategy("36p")  # global_signal is the first column
    expected = load_confounds(table, strategy, 30)
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    np.testing.assert_array_equal(load_confounds(table, strategy, 30).regressors, expected.regressors)


def test_letters_in_the_path_of_the_dataset_do_not_mislead_nilearn(real_table: RealTable, tmp_path: Path) -> None:
    table = real_table("21.0")
    folder = tmp_path / "tsv_files"
    folder.mkdir()
    for path in (table, table.with_suffix(".json")):
        (folder / path.name).write_bytes(path.read_bytes())
    expected = load_confounds(table, load_strategy("compcor"), 30)
    assert load_confounds(folder / table.name, load_strategy("compcor"), 30).columns == expected.columns


def test_letters_in_the_folder_for_temporary_files_are_said(
    real_table: RealTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tsv"))
    with pytest.raises(RunError, match="set TMPDIR to another one"):
        load_confounds(real_table("21.0"), load_strategy("compcor"), 30)


def test_a_random_folder_with_these_letters_is_not_used(
    real_table: RealTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    # The random part of the name of a folder, drawn again and again.
    names = iter(["atsvb", "tsv", "fine"])
    monkeypatch.setattr(tempfile, "_get_candidate_names", lambda: names)
    table = real_table("21.0")
    assert "a_comp_cor_00" in load_confounds(table, load_strategy("compcor"), 30).columns
    assert list(names) == []


@pytest.mark.parametrize("name", ["simple", "compcor"])
def test_a_number_that_is_missing_in_a_kept_volume_is_never_filled(real_table: RealTable, name: str) -> None:
    table = real_table("21.0")
    content = pd.read_csv(table, sep="\t")
    content.loc[[1, 9], ["trans_x"]] = np.nan
    content.to_csv(table, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(RunError, match="trans_x has no number in 1 of the 27 volumes that are kept, first in row 10"):
        load_confounds(table, load_strategy(name), 30)
