"""From real tables of four generations of fMRIPrep to regressors and kept volumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy

from bids_neurossm.errors import RunError
from bids_neurossm.signal.confounds import load_confounds
from bids_neurossm.signal.strategy import Strategy, load_strategy

V21 = "test-v21_desc-confounds_timeseries.tsv"
V1 = "test_desc-confounds_regressors.tsv"
STEADY = "no_nonsteady_desc-confounds_regressors.tsv"
CAMEL = "ds000031_sub-01_ses-002_task-rest_run-001_desc-confounds_timeseries.tsv"
NONE, SIMPLE = load_strategy("none"), load_strategy("simple")


@pytest.fixture
def staged(shared_data: Path, tmp_path: Path) -> dict[str, Path]:
    """Real tables under the names that fMRIPrep gives, each in a folder of its own."""
    tables = {}
    for number, name in enumerate((V21, V1, STEADY, CAMEL), start=1):
        folder = tmp_path / f"sub-{number:02d}" / "func"
        folder.mkdir(parents=True)
        suffix = "regressors" if "regressors" in name else "timeseries"
        tables[name] = folder / f"sub-{number:02d}_task-rest_desc-confounds_{suffix}.tsv"
        shutil.copyfile(shared_data / "confounds" / name, tables[name])
    return tables


def of_columns(*columns: str) -> Strategy:
    return Strategy("mine", columns=columns, detrend=True)


@pytest.mark.parametrize(("name", "n_dummy"), [(V21, 3), (V1, 1), (STEADY, 0)])
def test_simple_equals_the_strategy_of_nilearn(staged: dict[str, Path], name: str, n_dummy: int) -> None:
    table = staged[name]
    image = table.with_name(table.name.split("_desc-")[0] + "_space-MNI152NLin6Asym_desc-preproc_bold.nii.gz")
    expected, sample_mask = load_confounds_strategy(str(image), "simple")
    confounds = load_confounds(table, SIMPLE, 30)
    assert confounds.columns == tuple(expected.columns)
    np.testing.assert_array_equal(confounds.regressors, expected.to_numpy())
    np.testing.assert_array_equal(confounds.kept, np.arange(30) if sample_mask is None else sample_mask)
    assert (confounds.n_dummy, confounds.n_censored) == (n_dummy, 0)


def test_siblings_of_other_acquisitions_do_not_confuse_it(staged: dict[str, Path]) -> None:
    table = staged[V21]
    alone = load_confounds(table, SIMPLE, 30)
    for entities in ("acq-mb_desc-confounds", "desc-confounds_acq-2"):
        shutil.copyfile(staged[V1], table.with_name(f"sub-01_task-rest_{entities}_timeseries.tsv"))
    again = load_confounds(table, SIMPLE, 30)
    assert again.columns == alone.columns
    np.testing.assert_array_equal(again.regressors, alone.regressors)


def test_camel_case_of_fmriprep_1_0_is_refused_in_one_sentence(staged: dict[str, Path]) -> None:
    with pytest.raises(RunError) as caught:
        load_confounds(staged[CAMEL], SIMPLE, 40)
    message = str(caught.value)
    assert message.startswith(f"{staged[CAMEL]} has column names in camel case, as fMRIPrep before 1.2 wrote them")
    assert "run a newer fMRIPrep, or name the columns in a JSON strategy" in message
    assert message.count(". ") == 0
    assert "Index(" not in message


def test_a_camel_case_table_can_still_be_used_by_column(staged: dict[str, Path]) -> None:
    confounds = load_confounds(staged[CAMEL], of_columns("trans_?", "rot_?", "vx-wisestdDVARS"), 40)
    assert len(confounds.columns) == 7
    assert load_confounds(staged[CAMEL], NONE, 40).kept.tolist() == list(range(40))


@pytest.mark.parametrize("n_volumes", [29, 31])
def test_rows_unlike_volumes_are_refused(staged: dict[str, Path], n_volumes: int) -> None:
    with pytest.raises(RunError, match=f"has 30 rows, the image has {n_volumes} volumes"):
        load_confounds(staged[V21], SIMPLE, n_volumes)


def test_missing_columns_are_said_with_those_that_are_there(staged: dict[str, Path]) -> None:
    table = staged[V21]
    content = pd.read_csv(table, sep="\t")
    content.drop(columns=["csf", "white_matter"]).to_csv(table, sep="\t", index=False, na_rep="n/a")
    with pytest.raises(RunError, match=r"does not serve --denoise simple: .*csf.*; it has the columns .* in all\)"):
        load_confounds(table, SIMPLE, 30)


def test_no_table_is_said_with_the_remedy() -> None:
    with pytest.raises(RunError, match=r"which --denoise simple needs; .* or use --denoise none"):
        load_confounds(None, SIMPLE, 30)
    with pytest.raises(RunError, match="which --fd-threshold needs"):
        load_confounds(None, NONE, 30, fd_threshold=0.5)
    confounds = load_confounds(None, NONE, 30)
    assert confounds.regressors is None
    assert confounds.framewise_displacement is None
    assert confounds.kept.tolist() == list(range(30))


def test_wildcards_name_columns_once_in_the_order_of_the_table(staged: dict[str, Path]) -> None:
    confounds = load_confounds(staged[V21], of_columns("csf", "cosine*", "trans_[xy]", "c?f"), 30)
    assert confounds.columns == ("csf", "cosine00", "trans_x", "trans_y")


def test_columns_are_centred_and_the_missing_first_row_is_neutral(staged: dict[str, Path]) -> None:
    content = pd.read_csv(staged[V21], sep="\t")
    assert np.isnan(content["trans_x_derivative1"][0])
    confounds = load_confounds(staged[V21], of_columns("trans_x_derivative1", "csf"), 30)
    assert confounds.regressors is not None
    assert confounds.regressors[0, 0] == 0
    expected = content["trans_x_derivative1"][1:] - content["trans_x_derivative1"][1:].mean()
    np.testing.assert_allclose(confounds.regressors[1:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(confounds.regressors.mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("column", ["X", "aroma_motion_*", "CSF"])
def test_a_column_that_is_not_there_is_never_left_out_silently(staged: dict[str, Path], column: str) -> None:
    with pytest.raises(RunError, match=r"has no column .*, which --denoise mine names; it has global_signal") as caught:
        load_confounds(staged[V21], of_columns("csf", column), 30)
    assert f"no column {column}," in str(caught.value)


def test_text_in_a_column_is_said(staged: dict[str, Path]) -> None:
    content = pd.read_csv(staged[V21], sep="\t").astype({"framewise_displacement": object, "csf": object})
    content.loc[3, ["framewise_displacement", "csf"]] = "broken"
    content.to_csv(staged[V21], sep="\t", index=False)
    for strategy in (of_columns("csf"), NONE):
        with pytest.raises(RunError, match="holds text where numbers are expected"):
            load_confounds(staged[V21], strategy, 30)


def test_rows_longer_than_the_header_are_never_shifted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("csf\ttrans_x\n" + "900\t0.1\t7\n" * 30)
    with pytest.raises(RunError, match="line 2, which begins with '900', has 3 cells, the first line has 2"):
        load_confounds(tmp_path / "a.tsv", of_columns("csf"), 30)


def test_a_row_that_lost_a_cell_is_never_shifted(tmp_path: Path) -> None:
    rows = ["0.1\t900\tcalm"] * 30
    rows[17] = "900\tcalm"
    (tmp_path / "a.tsv").write_text("trans_x\tcsf\tremark\n" + "\n".join(rows) + "\n")
    with pytest.raises(RunError, match="line 19, which begins with '900', has 2 cells, the first line has 3"):
        load_confounds(tmp_path / "a.tsv", of_columns("trans_x"), 30)


def test_a_file_that_is_no_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xff\xfe\x00")
    for table in (tmp_path / "a.tsv", tmp_path / "absent.tsv"):
        with pytest.raises(RunError, match=r"is UTF-16 text|cannot be read"):
            load_confounds(table, SIMPLE, 30)


def test_dummy_scans_are_counted_from_the_table_unless_a_number_is_given(staged: dict[str, Path]) -> None:
    for dummy_scans, expected in ((None, 3), (0, 0), (5, 5), (99, 30)):
        confounds = load_confounds(staged[V21], SIMPLE, 30, dummy_scans=dummy_scans)
        assert confounds.n_dummy == expected
        assert confounds.kept.tolist() == list(range(expected, 30))
        assert confounds.n_censored == 0


def test_without_denoising_every_volume_is_kept_unless_a_number_is_given(staged: dict[str, Path]) -> None:
    assert load_confounds(staged[V21], NONE, 30).kept.size == 30
    assert load_confounds(staged[V21], NONE, 30, dummy_scans=4).kept[0] == 4


def test_a_column_strategy_drops_the_unsteady_volumes_too(staged: dict[str, Path]) -> None:
    assert load_confounds(staged[V21], of_columns("csf"), 30).kept[0] == 3


@pytest.mark.parametrize("threshold", [0.1, 0.2, 0.5])
def test_volumes_above_the_threshold_of_motion_are_censored(staged: dict[str, Path], threshold: float) -> None:
    displacement = pd.read_csv(staged[V1], sep="\t")["framewise_displacement"].to_numpy()
    confounds = load_confounds(staged[V1], SIMPLE, 30, fd_threshold=threshold)
    expected = [t for t in range(1, 30) if not displacement[t] > threshold]
    assert confounds.kept.tolist() == expected
    assert confounds.n_censored == 29 - len(expected)
    np.testing.assert_array_equal(confounds.framewise_displacement, displacement)


def test_the_first_volume_has_no_displacement_and_is_kept(staged: dict[str, Path]) -> None:
    confounds = load_confounds(staged[STEADY], NONE, 30, fd_threshold=0.01)
    assert np.isnan(confounds.framewise_displacement[0])
    assert 0 in confounds.kept


def test_a_threshold_without_the_column_is_refused(staged: dict[str, Path]) -> None:
    content = pd.read_csv(staged[V21], sep="\t").drop(columns="framewise_displacement")
    content.to_csv(staged[V21], sep="\t", index=False, na_rep="n/a")
    with pytest.raises(RunError, match="has no column framewise_displacement, which --fd-threshold needs"):
        load_confounds(staged[V21], NONE, 30, fd_threshold=0.5)


def test_scrubbing_by_nilearn_is_counted_as_censoring(staged: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "scrub.json"
    arguments = {"strategy": ["motion", "scrub"], "scrub": 0, "fd_threshold": 0.5, "std_dvars_threshold": 100}
    path.write_text(json.dumps({"Confounds": {"nilearn": arguments}}))
    displacement = pd.read_csv(staged[V21], sep="\t")["framewise_displacement"].to_numpy()
    confounds = load_confounds(staged[V21], load_strategy(str(path)), 30)
    assert confounds.n_dummy == 3
    assert confounds.n_censored > 0
    assert confounds.kept.size == 30 - confounds.n_dummy - confounds.n_censored
    assert not (displacement[confounds.kept] > 0.5).any()


def test_a_run_without_outliers_has_no_columns_for_them(staged: dict[str, Path]) -> None:
    spikes = of_columns("csf", "motion_outlier*")
    assert load_confounds(staged[V1], spikes, 30).columns == ("csf",)
    assert len(load_confounds(staged[V21], spikes, 30).columns) == 1 + 23
    only = load_confounds(staged[STEADY], of_columns("motion_outlier*", "non_steady_state_outlier*"), 30)
    assert only.columns == ()
    assert only.kept.size == 30


def test_a_column_without_numbers_is_refused(staged: dict[str, Path]) -> None:
    content = pd.read_csv(staged[V21], sep="\t")
    content["csf"] = np.nan
    content.to_csv(staged[V21], sep="\t", index=False, na_rep="n/a")
    with pytest.raises(RunError, match="csf has no number in 27 of the 27 volumes that are kept, first in row 4"):
        load_confounds(staged[V21], of_columns("csf"), 30)


def test_numbers_may_be_missing_in_volumes_that_are_dropped(staged: dict[str, Path]) -> None:
    """Up to 20.1 fMRIPrep began CompCor and ICA-AROMA after the volumes that are not steady, with n/a before."""
    content = pd.read_csv(staged[V21], sep="\t")
    content.loc[:2, "a_comp_cor_00"] = np.nan
    content.to_csv(staged[V21], sep="\t", index=False, na_rep="n/a")
    confounds = load_confounds(staged[V21], of_columns("a_comp_cor_00"), 30)
    assert np.isfinite(confounds.regressors).all()
    with pytest.raises(RunError, match=r"no number in 2 of the 30 volumes .* drop these volumes with --dummy-scans"):
        load_confounds(staged[V21], of_columns("a_comp_cor_00"), 30, dummy_scans=0)


@pytest.mark.parametrize("strategy", [SIMPLE, "scrubbing"])
def test_columns_that_others_added_change_nothing(staged: dict[str, Path], strategy: Any) -> None:
    chosen = load_strategy(strategy) if isinstance(strategy, str) else strategy
    plain = load_confounds(staged[V21], chosen, 30)
    table = staged[V21]
    text = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    text["MyRating"] = "good"  # text, in camel case
    text["my_cosine_like_thing"] = "5"  # nilearn takes whatever has `cosine` in its name
    text["RETROICOR1"] = "0.5"
    text.to_csv(table, sep="\t", index=False)
    found = load_confounds(table, chosen, 30)
    assert found.columns == plain.columns
    np.testing.assert_array_equal(found.regressors, plain.regressors)
    np.testing.assert_array_equal(found.kept, plain.kept)


def test_a_column_that_others_added_can_be_asked_for(staged: dict[str, Path]) -> None:
    table = staged[V21]
    text = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    text["RETROICOR1"] = [str(index) for index in range(30)]
    text["MyRating"] = "good"
    text.to_csv(table, sep="\t", index=False)
    found = load_confounds(table, of_columns("RETROICOR?"), 30)
    assert found.columns == ("RETROICOR1",)
    with pytest.raises(RunError, match=r"text where numbers are expected|MyRating"):
        load_confounds(table, of_columns("MyRating"), 30)


def test_a_sidecar_of_confounds_that_was_not_fetched_is_not_absent(staged: dict[str, Path]) -> None:
    sidecar = staged[V21].with_suffix(".json")
    sidecar.symlink_to("../../.git/annex/objects/x")
    with pytest.raises(RunError, match=rf"content was not fetched; run `datalad get {sidecar}`"):
        load_confounds(staged[V21], load_strategy("compcor"), 30)
