"""Series of XCP-D, giga_connectome and plain tables, in datasets made after those programs' own outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.config import Selection
from bids_neurossm.dataset.producers import read_facts
from bids_neurossm.dataset.series import (
    choose_kind,
    common_regions,
    find_series,
    label_entities,
    read_regions,
    read_series,
    with_sidecars,
)
from bids_neurossm.errors import RunError, UsageError

REGIONS = ["LH_Vis_1", "LH_Vis_2", "RH_Default_pCunPCC_9", "LH_Thalamus_Pu"]
SPACE = "space-MNI152NLin2009cAsym"
OUTLIERS = np.array([0, 0, 1, 0, 0, 0, 1, 1, 0, 0])


def write_table(path: Path, values: np.ndarray, names: list[str], separator: str = "\t") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(values, columns=names).to_csv(path, sep=separator, index=False, na_rep="n/a")
    return path


@pytest.fixture
def xcpd(tmp_path: Path) -> Path:
    """Two participants of XCP-D: censored (10 volumes, 3 of them out), and interpolated."""
    dataset = tmp_path / "xcp_d"
    random = np.random.default_rng(0)
    for label, n_volumes in (("01", 7), ("02", 10)):
        func = dataset / f"sub-{label}" / "func"
        values = random.standard_normal((n_volumes, 4))
        values[:, 3] = np.nan  # a parcel that is not covered
        for atlas in ("4S456Parcels", "Glasser"):
            stem = f"sub-{label}_task-rest_{SPACE}_seg-{atlas}"
            write_table(func / f"{stem}_stat-mean_timeseries.tsv", values, REGIONS)
            sidecar = {"NuisanceParameters": "36P", "RepetitionTime": 2.5, "Sources": [], "SoftwareFilters": {}}
            (func / f"{stem}_stat-mean_timeseries.json").write_text(json.dumps(sidecar))
            write_table(func / f"{stem}_stat-coverage_bold.tsv", np.ones((4, 1)), ["coverage"])
            write_table(func / f"{stem}_stat-pearsoncorrelation_relmat.tsv", np.eye(4), REGIONS)
        motion = np.column_stack([np.zeros(10), [np.nan, *np.full(9, 0.2)], np.full(10, 0.1)])
        names = ["trans_x", "framewise_displacement", "framewise_displacement_filtered"]
        write_table(func / f"sub-{label}_task-rest_motion.tsv", motion, names)
        write_table(func / f"sub-{label}_task-rest_outliers.tsv", OUTLIERS[:, np.newaxis], ["framewise_displacement"])
    return dataset


class TestXcpD:
    def test_only_the_series_are_taken_and_the_atlas_is_chosen_by_its_label(self, xcpd: Path) -> None:
        files = find_series(xcpd, Selection())
        assert len(files) == 4
        with pytest.raises(UsageError, match=r"holds 2 kinds of series: .*seg-4S456Parcels.*; .*seg-Glasser"):
            choose_kind(files, None, None, xcpd)
        assert label_entities(files, "4S456Parcels") == {"seg": "4S456Parcels"}
        assert label_entities(files, "Schaefer400") is None
        chosen = choose_kind(files, label_entities(files, "seg-4S456Parcels"), None, xcpd)
        assert [each.run for each in chosen] == ["sub-01_task-rest", "sub-02_task-rest"]

    def test_names_are_kept_and_uncovered_parcels_are_missing(self, xcpd: Path) -> None:
        path = find_series(xcpd, Selection())[0].path
        assert read_regions(path) == REGIONS
        series = read_series(path, REGIONS)
        assert np.isnan(series[:, 3]).all()
        assert np.isfinite(series[:, :3]).all()

    def test_motion_comes_from_the_table_beside_the_series(self, xcpd: Path) -> None:
        file = with_sidecars(find_series(xcpd, Selection()))[0]
        assert file.repetition_time == 2.5
        assert file.sidecar["MeanFramewiseDisplacement"] == pytest.approx(0.2)

    def test_censored_volumes_leave_gaps_and_interpolated_ones_do_not(self, xcpd: Path) -> None:
        censored, _, interpolated, _ = with_sidecars(find_series(xcpd, Selection()))
        assert censored.sidecar["Segments"] == [[0, 2], [2, 5], [5, 7]]
        assert "Segments" not in interpolated.sidecar

    def test_filtered_motion_of_older_releases_is_found(self, xcpd: Path) -> None:
        func = xcpd / "sub-01" / "func"
        (func / "sub-01_task-rest_motion.tsv").rename(func / "sub-01_task-rest_desc-filtered_motion.tsv")
        file = with_sidecars(find_series(xcpd, Selection()))[0]
        assert file.sidecar["MeanFramewiseDisplacement"] == pytest.approx(0.2)

    def test_a_damaged_table_of_motion_is_named(self, xcpd: Path) -> None:
        path = xcpd / "sub-01" / "func" / "sub-01_task-rest_motion.tsv"
        path.write_text("framewise_displacement\nmuch\n")
        with pytest.raises(RunError, match=path.name):
            with_sidecars(find_series(xcpd, Selection()))


@pytest.fixture
def giga(tmp_path: Path) -> Path:
    """Two runs of giga_connectome: whole numbers for names, nothing known in the sidecar."""
    dataset = tmp_path / "giga"
    for label in ("1", "2"):
        func = dataset / f"sub-{label}" / "ses-timepoint1" / "func"
        stem = f"sub-{label}_ses-timepoint1_task-rest_run-01_seg-Schaefer2018_desc-denoiseSimple_timeseries"
        write_table(func / f"{stem}.tsv", np.random.default_rng(1).standard_normal((5, 3)), ["0", "1", "2"])
        sidecar = {"ConfoundRegressors": None, "RepetitionTime": None, "MeanFramewiseDisplacement": None}
        (func / f"{stem}.json").write_text(json.dumps({**sidecar, "SamplingFrequency": None}))
    return dataset


class TestGigaConnectome:
    def test_whole_numbers_are_names_and_nulls_are_unknown(self, giga: Path) -> None:
        file, _ = with_sidecars(find_series(giga, Selection()))
        assert read_regions(file.path) == ["0", "1", "2"]
        assert read_series(file.path, ["0", "1", "2"]).shape == (5, 3)
        assert np.isnan(file.repetition_time)
        assert dict(file.sidecar) == {}
        assert file.run == "sub-1_ses-timepoint1_task-rest_run-01"

    def test_the_repetition_time_is_taken_from_the_raw_dataset(self, giga: Path, tmp_path: Path) -> None:
        raw = tmp_path / "raw"
        raw.mkdir()
        (raw / "task-rest_bold.json").write_text('{"RepetitionTime": 3.0}')
        exact = raw / "sub-2" / "ses-timepoint1" / "func"
        exact.mkdir(parents=True)
        (exact / "sub-2_ses-timepoint1_task-rest_run-01_bold.json").write_text('{"RepetitionTime": 1.5}')
        files = with_sidecars(find_series(giga, Selection()), [tmp_path / "elsewhere", raw])
        assert [each.repetition_time for each in files] == [3.0, 1.5]


def test_a_sampling_frequency_is_a_repetition_time(tmp_path: Path) -> None:
    table = write_table(tmp_path / "sub-01_timeseries.tsv", np.ones((2, 1)), ["a"])
    table.with_suffix(".json").write_text('{"SamplingFrequency": 0.5}')
    assert read_facts(table)["RepetitionTime"] == 2.0
    table.with_suffix(".json").write_text('{"SamplingFrequency": "TR"}')
    assert "RepetitionTime" not in read_facts(table)


def test_what_a_sidecar_says_itself_is_not_changed(xcpd: Path) -> None:
    path = find_series(xcpd, Selection())[0].path
    said = {"RepetitionTime": 2.0, "MeanFramewiseDisplacement": 0.5, "Segments": [[0, 7]]}
    path.with_suffix(".json").write_text(json.dumps(said))
    assert read_facts(path) == said


class TestPlainTables:
    VALUES = np.array([[0.5, -1.25], [2.0, 3.5], [0.0, 1.0]])

    @pytest.mark.parametrize(
        ("name", "separator"),
        [
            ("sub-01_timeseries.csv", ","),
            ("sub-01/sub-01_timeseries.csv", ","),
            ("sub-01/func/sub-01_task-rest_timeseries.tsv", "\t"),
            ("sub-01/ses-2/func/sub-01_ses-2_timeseries.csv", "\t"),
        ],
    )
    def test_they_are_found_with_either_separator(self, tmp_path: Path, name: str, separator: str) -> None:
        write_table(tmp_path / name, self.VALUES, ["left", "right"], separator)
        (file,) = with_sidecars(find_series(tmp_path, Selection()))
        assert read_regions(file.path) == ["left", "right"]
        np.testing.assert_array_equal(read_series(file.path, ["left", "right"]), self.VALUES)

    @pytest.mark.parametrize("separator", [",", "\t"])
    def test_without_a_line_of_names_no_volume_is_lost(self, tmp_path: Path, separator: str) -> None:
        path = tmp_path / f"sub-01_timeseries.{'csv' if separator == ',' else 'tsv'}"
        path.write_text("\n".join(separator.join(f"{value:g}" for value in row) for row in self.VALUES))
        assert read_regions(path) == ["region1", "region2"]
        np.testing.assert_array_equal(read_series(path, ["region1", "region2"]), self.VALUES)

    def test_quoted_names_are_bare(self, tmp_path: Path) -> None:
        path = tmp_path / "sub-01_timeseries.csv"
        path.write_text('"left","right"\n1,2\n')
        assert read_regions(path) == ["left", "right"]
        np.testing.assert_array_equal(read_series(path, ["left", "right"]), [[1, 2]])

    def test_row_numbers_are_not_taken_for_a_region(self, tmp_path: Path) -> None:
        path = tmp_path / "sub-01_timeseries.csv"
        pd.DataFrame(self.VALUES, columns=["left", "right"]).to_csv(path)
        with pytest.raises(RunError, match=r"its first column has no name \(row numbers\?\)"):
            read_regions(path)


def test_the_regions_of_most_runs_are_the_cohorts(tmp_path: Path) -> None:
    for index, names in enumerate((["a", "b"], ["b", "a"], ["b", "a"])):
        write_table(tmp_path / f"sub-{index}_timeseries.tsv", np.ones((2, 2)), names)
    (tmp_path / "sub-9_timeseries.tsv").write_bytes(b"\xff\xfe\x00")
    files = find_series(tmp_path, Selection())
    assert common_regions(files) == ["b", "a"]
    with pytest.raises(RunError, match=r"sub-9_timeseries\.tsv is UTF-16 text"):
        common_regions(files[-1:])


def test_where_no_regions_are_those_of_most_runs_nothing_is_guessed(tmp_path: Path) -> None:
    for index, names in enumerate((["a", "b"], ["b", "a"], ["b", "a"], ["x", "y", "z"])):
        write_table(tmp_path / f"sub-{index}_timeseries.tsv", np.ones((2, len(names))), names)
    files = find_series(tmp_path, Selection())
    with pytest.raises(
        UsageError, match=r"4 tables .* 3 different sets .*: 2 with 2 \(b \.\.\.\), 1 with .* Choose runs"
    ):
        common_regions(files)
    # Two names for one thing are one set, under the name that is used more often.
    assert common_regions(files, lambda names, others: len(names) == len(others)) == ["b", "a"]
