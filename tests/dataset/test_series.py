"""Tables of regional series: found, of one kind, with the expected regions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.config import Selection
from bids_neurossm.dataset.series import (
    choose_kind,
    find_series,
    look_for_series,
    read_regions,
    read_series,
    with_sidecars,
)
from bids_neurossm.errors import NoInputError, RunError, UsageError

SCHAEFER = "space-MNI152NLin6Asym_atlas-Schaefer2018_seg-7Networks_scale-400_stat-mean_desc-simple"
AAL = "space-MNI152NLin6Asym_atlas-AAL3v2_scale-166_stat-mean_desc-simple"


def add(dataset: Path, source: str, kind: str = SCHAEFER, text: str = "a\tb\n1\t2\n") -> Path:
    parts = dict(pair.split("-", 1) for pair in source.split("_"))
    session = f"ses-{parts['ses']}" if "ses" in parts else ""
    folder = dataset / f"sub-{parts['sub']}" / session / "func"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}_{kind}_timeseries.tsv"
    path.write_text(text)
    return path


def test_series_are_found_in_all_sessions_and_confounds_are_not_series(tmp_path: Path) -> None:
    expected = [add(tmp_path, "sub-01_ses-1_task-rest"), add(tmp_path, "sub-01_ses-2_task-rest")]
    expected.append(add(tmp_path, "sub-02_task-rest_run-1"))
    add(tmp_path, "sub-02_task-rest_run-1", "desc-confounds")
    files = find_series(tmp_path, Selection())
    assert [each.path for each in files] == expected
    assert [each.run for each in files] == [
        *("sub-01_ses-1_task-rest", "sub-01_ses-2_task-rest", "sub-02_task-rest_run-1")
    ]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(participant_label=("01",)), ["sub-01_task-nback", "sub-01_task-rest"]),
        (Selection(exclude_participant_label=("01",)), ["sub-010_task-rest"]),
        (Selection(task_id=("rest",)), ["sub-01_task-rest", "sub-010_task-rest"]),
        (Selection(space="MNI152NLin2009cAsym"), []),
        (Selection(session_id=("1",)), []),
    ],
)
def test_the_selection_narrows_them(tmp_path: Path, selection: Selection, expected: list[str]) -> None:
    for source in ("sub-01_task-nback", "sub-01_task-rest", "sub-010_task-rest"):
        add(tmp_path, source)
    assert [each.run for each in find_series(tmp_path, selection)] == expected


def test_one_kind_is_taken_without_a_word(tmp_path: Path) -> None:
    add(tmp_path, "sub-01_task-rest")
    files = find_series(tmp_path, Selection())
    assert choose_kind(files, None, None, tmp_path) == files


def test_several_kinds_are_listed_and_refused(tmp_path: Path) -> None:
    for kind in (SCHAEFER, AAL, SCHAEFER.replace("simple", "none"), SCHAEFER.replace("6Asym", "2009cAsym")):
        add(tmp_path, "sub-01_task-rest", kind)
    files = find_series(tmp_path, Selection())
    with pytest.raises(UsageError, match="holds 4 kinds of series") as caught:
        choose_kind(files, None, None, tmp_path)
    for fact in ("atlas-AAL3v2 scale-166", "desc-none", "space-MNI152NLin2009cAsym", "--space, --atlas and --denoise"):
        assert fact in str(caught.value)
    (chosen,) = choose_kind(files, {"atlas": "AAL3v2", "scale": "166"}, "simple", tmp_path)
    assert chosen.entities["atlas"] == "AAL3v2"


def test_nothing_of_the_wanted_kind_says_what_there_is(tmp_path: Path) -> None:
    add(tmp_path, "sub-01_task-rest", AAL)
    files = find_series(tmp_path, Selection())
    with pytest.raises(NoInputError, match=r"there are .*atlas-AAL3v2 scale-166 .*Run the participant level first"):
        choose_kind(files, {"atlas": "Schaefer2018"}, None, tmp_path)
    with pytest.raises(NoInputError, match=r"has no .*timeseries\.tsv that matches the options\. Run the participant"):
        choose_kind([], None, None, tmp_path)


def test_sidecars_give_the_repetition_time(tmp_path: Path) -> None:
    stated, silent, absent = (add(tmp_path, f"sub-0{i}_task-rest") for i in (1, 2, 3))
    stated.with_suffix(".json").write_text(json.dumps({"RepetitionTime": 2}))
    silent.with_suffix(".json").write_text(json.dumps({"RepetitionTime": "2"}))
    files = with_sidecars(find_series(tmp_path, Selection()))
    assert [each.path for each in files] == [stated, silent, absent]
    assert files[0].repetition_time == 2.0
    assert np.isnan(files[1].repetition_time)
    assert np.isnan(files[2].repetition_time)


@pytest.mark.parametrize("text", ["{", "[2.0]"])
def test_a_damaged_sidecar_is_named(tmp_path: Path, text: str) -> None:
    sidecar = add(tmp_path, "sub-01_task-rest").with_suffix(".json")
    sidecar.write_text(text)
    with pytest.raises(RunError, match=sidecar.name):
        with_sidecars(find_series(tmp_path, Selection()))


def test_numbers_are_read_exactly_and_n_a_is_nan(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-01_task-rest", text="LH_Vis\tRH_Vis\n0.1\tn/a\n-1.5e3\tn/a\n")
    assert read_regions(path) == ["LH_Vis", "RH_Vis"]
    series = read_series(path, ["LH_Vis", "RH_Vis"])
    assert series.dtype == np.float64
    np.testing.assert_array_equal(series, [[0.1, np.nan], [-1500, np.nan]])


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-01_task-rest")
    path.write_bytes(b"\xef\xbb\xbfa\tb\r\n1\t2\r\n")
    assert read_regions(path) == ["a", "b"]
    np.testing.assert_array_equal(read_series(path, ["a", "b"]), [[1, 2]])


def test_a_table_with_a_header_alone_has_no_volumes(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-01_task-rest", text="a\tb\n")
    assert read_series(path, ["a", "b"]).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tc\n1\t2\n", "other regions than the rest of the cohort: column 2 is 'c', 'b' is expected"),
        ("b\ta\n1\t2\n", "column 1 is 'b', 'a' is expected"),
        ("a\n1\n", "it has 1 columns, 2 are expected"),
        ("a\tb\tc\n1\t2\t3\n", "it has 3 columns, 2 are expected"),
        ("a\tb\n1\tx\n", "volume 1 of b is 'x'; numbers or n/a are expected"),
        ("", "is empty"),
        ("a\tb\n1\tinf\n", "holds infinite values"),
        ("a\tb\n1\t2\t3\n", "line 2, which begins with '1', has 3 cells, the first line has 2"),
        ("0\ta\tb\n0\t1\t2\n", "column 1 is '0', 'a' is expected"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = add(tmp_path, "sub-01_task-rest", text=text)
    with pytest.raises(RunError, match=message) as caught:
        read_series(path, ["a", "b"])
    assert path.name in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-01_task-rest")
    path.write_bytes(b"\xff\xfe\x00\x01")
    for read in (lambda: read_regions(path), lambda: read_series(path, ["a", "b"])):
        with pytest.raises(RunError, match="is UTF-16 text, not UTF-8 text"):
            read()


@pytest.mark.parametrize("first", ["0.25\t-1", "n/a\t-1", "nan\tNaN", "3\t-2", "1e-3\tn/a"])
def test_a_table_without_names_is_not_read_one_row_short(tmp_path: Path, first: str) -> None:
    path = add(tmp_path, "sub-01_task-rest", text=f"{first}\n1.5\t2\n2.5\t3\n")
    assert read_regions(path) == ["region1", "region2"]
    values = read_series(path, ["region1", "region2"])
    assert values.shape == (3, 2)
    assert values[1:].tolist() == [[1.5, 2], [2.5, 3]]


def test_names_that_are_numbers_are_names(tmp_path: Path) -> None:
    path = add(tmp_path, "sub-01_task-rest", text="1\t2\n0.5\t2\n")
    assert read_regions(path) == ["1", "2"]
    assert read_series(path, ["1", "2"]).tolist() == [[0.5, 2]]
    path = add(tmp_path, "sub-02_task-rest", text="10\t12\t11\n0.5\t2\t3\n")  # labels of an atlas, in another order
    assert read_regions(path) == ["10", "12", "11"]
    assert read_series(path, ["10", "12", "11"]).shape == (1, 3)


class TestKindsOfOtherPrograms:
    """HALFpipe writes a table for every feature of one recording; fMRIPrep one for every echo."""

    GSR, AROMA = "feature-corrMatrixGSR_atlas-schaefer", "feature-corrMatrixAROMA_atlas-schaefer"

    def both(self, tmp_path: Path) -> list[Path]:
        return [add(tmp_path, f"sub-0{i}_task-rest", kind) for i in (1, 2) for kind in (self.AROMA, self.GSR)]

    def test_two_features_are_two_kinds_and_not_two_runs(self, tmp_path: Path) -> None:
        self.both(tmp_path)
        files = find_series(tmp_path, Selection())
        with pytest.raises(
            UsageError, match=r"holds 2 kinds of series: feature-corrMatrixAROMA atlas-schaefer; .*GSR"
        ) as it:
            choose_kind(files, None, None, tmp_path)
        assert str(it.value).endswith("Choose one with --filter feature=corrMatrixAROMA.")

    def test_a_filter_chooses(self, tmp_path: Path) -> None:
        paths = self.both(tmp_path)
        files = find_series(tmp_path, Selection(filter={"feature": ("feature-corrMatrixGSR",)}))
        assert [each.path for each in choose_kind(files, None, None, tmp_path)] == paths[1::2]
        assert {each.run for each in files} == {"sub-01_task-rest", "sub-02_task-rest"}

    def test_kinds_may_differ_between_recordings_where_several_were_asked_for(self, tmp_path: Path) -> None:
        paths = [add(tmp_path, "sub-01_task-rest", self.GSR), add(tmp_path, "sub-02_task-rest", self.AROMA)]
        files = find_series(tmp_path, Selection())
        with pytest.raises(UsageError, match="holds 2 kinds"):
            choose_kind(files, None, None, tmp_path)
        assert [each.path for each in choose_kind(files, None, None, tmp_path, ["feature"])] == paths
        add(tmp_path, "sub-02_task-rest", self.GSR)
        with pytest.raises(UsageError, match=r"are series of one recording; .* --filter feature=corrMatrixAROMA"):
            choose_kind(find_series(tmp_path, Selection()), None, None, tmp_path, ["feature"])

    def test_options_and_filters_are_named_where_both_choose(self, tmp_path: Path) -> None:
        for kind in (self.GSR, self.AROMA.replace("schaefer", "tian")):
            add(tmp_path, "sub-01_task-rest", kind)
        with pytest.raises(UsageError, match=r"Choose one with --atlas and --filter feature=corrMatrixAROMA\."):
            choose_kind(find_series(tmp_path, Selection()), None, None, tmp_path)

    def test_an_entity_that_is_the_label_tells_runs_apart(self, tmp_path: Path) -> None:
        for state in ("open", "closed"):
            add(tmp_path, f"sub-01_task-rest_eyes-{state}")
        files = [replace(each, label_entity="eyes") for each in find_series(tmp_path, Selection())]
        assert [each.run for each in choose_kind(files, None, None, tmp_path)] == [
            "sub-01_task-rest_eyes-closed",
            "sub-01_task-rest_eyes-open",
        ]

    def test_run_1_is_run_01(self, tmp_path: Path) -> None:
        path = add(tmp_path, "sub-01_task-rest_run-01")
        assert [each.path for each in find_series(tmp_path, Selection(run_id=("1",)))] == [path]
        add(tmp_path, "sub-01_task-rest_run-1")
        with pytest.raises(UsageError, match="are series of one recording; remove one"):
            choose_kind(find_series(tmp_path, Selection()), None, None, tmp_path)


def test_series_outside_the_places_of_bids_are_left_out_and_told(tmp_path: Path) -> None:
    kept = add(tmp_path, "sub-01_task-rest")
    for place in ("excluded_QC/sub-01/func", "sub-01/bad", "sub-con-01/func", "sub-02/func"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / kept.name.replace("rest", "nback")).write_text("a\n1\n")
    found = look_for_series(tmp_path, Selection())
    assert [each.path for each in found.files] == [kept]
    assert [(each.name, each.reason) for each in found.left_out] == [
        ("excluded_QC/", "folder has no place in BIDS"),
        ("sub-con-01", "label is not valid BIDS"),
        (kept.name.replace("rest", "nback"), "place is not sub-*/[ses-*/]func/"),
        (kept.name.replace("rest", "nback"), "name and folder disagree"),
    ]
