"""Which images a selection finds, in which space, and what is said when there are none or too many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import ASYM6, C2009, bold, found

from bids_neurossm.config import Selection
from bids_neurossm.dataset.query import _layout, find_bold_runs
from bids_neurossm.errors import NoInputError, UsageError


def test_sub_01_is_not_sub_010(make_tree: Any) -> None:
    names = [bold(f"sub-{label}_task-rest", C2009) for label in ("01", "010", "0101")]
    dataset = make_tree(*names)
    assert found(dataset, participant_label=("01",)) == names[:1]
    assert found(dataset, participant_label=("sub-010",)) == names[1:2]
    assert sorted(found(dataset)) == sorted(names)
    assert found(dataset, exclude_participant_label=("010", "0101")) == names[:1]


def test_a_resolution_that_no_run_has_matches_nothing(make_tree: Any) -> None:
    with pytest.raises(NoInputError, match=r"--res 2; .*resolutions none"):
        found(make_tree(bold("sub-01_task-rest", C2009)), res="2")


def test_sessions_tasks_and_runs_are_selected(make_tree: Any) -> None:
    names = [
        bold(f"sub-01_ses-{session}_task-{task}_run-{run}", C2009)
        for session in ("1", "2")
        for task in ("nback", "rest")
        for run in ("01", "02")
    ]
    dataset = make_tree(*names)
    assert found(dataset) == names
    assert found(dataset, session_id=("ses-2",)) == names[4:]
    assert found(dataset, task_id=("nback",), session_id=("1",)) == names[:2]
    assert found(dataset, run_id=("1",)) == found(dataset, run_id=("01",)) == names[::2]


def test_an_uncompressed_image_counts_and_other_files_do_not(make_tree: Any) -> None:
    plain = f"sub-01_task-rest_{C2009}_desc-preproc_bold.nii"
    dataset = make_tree(
        plain,
        f"sub-01_task-rest_{C2009}_desc-brain_mask.nii.gz",
        f"sub-01_task-rest_{C2009}_boldref.nii.gz",
        f"sub-01_task-rest_{C2009}_desc-smoothAROMAnonaggr_bold.nii.gz",
        "sub-01_task-rest_desc-preproc_bold.json",
    )
    assert found(dataset) == [plain]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"task": "rest"}, ["sub-01_task-rest_run-1"]),
        ({"task": ["nback", "rest"]}, ["sub-01_task-nback", "sub-01_task-rest_run-1"]),
        ({"run": 1}, ["sub-01_task-rest_run-1"]),
        ({"run": None}, ["sub-01_task-nback"]),
        ({"run": "*"}, ["sub-01_task-rest_run-1"]),
        ({"datatype": "func", "suffix": "bold"}, ["sub-01_task-nback", "sub-01_task-rest_run-1"]),
    ],
)
def test_a_filter_file_is_read_as_fmriprep_reads_it(
    make_tree: Any, tmp_path: Path, filters: dict[str, Any], expected: list[str]
) -> None:
    dataset = make_tree(bold("sub-01_task-nback", C2009), bold("sub-01_task-rest_run-1", C2009))
    path = tmp_path / "filters.json"
    path.write_text(json.dumps({"bold": filters, "t1w": {"acquisition": "x"}}))
    assert found(dataset, bids_filter_file=path) == [bold(source, C2009) for source in expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not readable JSON"),
        ("[]", "must hold a JSON object"),
        ('{"bold": ["rest"]}', "must hold an object such as"),
        ('{"bold": {"taks": "rest"}}', "'taks' is no entity that PyBIDS knows"),
    ],
)
def test_a_filter_file_that_can_not_be_used_is_refused(make_tree: Any, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "filters.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        found(make_tree(bold("sub-01_task-rest", C2009)), bids_filter_file=path)
    assert str(path) in str(caught.value)


def test_a_filter_file_that_matches_nothing_is_named(make_tree: Any, tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    path.write_text('{"bold": {"task": "motor"}}')
    with pytest.raises(NoInputError, match=r"--bids-filter-file .*filters\.json; .*tasks rest"):
        found(make_tree(bold("sub-01_task-rest", C2009)), bids_filter_file=path)


def test_nothing_matched_says_what_is_there(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_ses-1_task-rest_run-1", ASYM6))
    with pytest.raises(NoInputError) as caught:
        found(dataset, task_id=("nback",))
    for fact in ("--task-id nback", "sessions 1", "tasks rest", "runs 1", "spaces MNI152NLin6Asym", "resolutions none"):
        assert fact in str(caught.value)


def test_an_unfinished_fmriprep_is_told_from_a_narrow_selection(make_tree: Any) -> None:
    dataset = make_tree("sub-01_task-rest_desc-confounds_timeseries.tsv")
    with pytest.raises(NoInputError, match=r"no \*_desc-preproc_bold.nii.gz for 01; was fMRIPrep run to its end"):
        found(dataset)


def test_participants_that_are_not_there_are_named(make_tree: Any) -> None:
    dataset = make_tree(*(bold(f"sub-{i:02d}_task-rest", C2009) for i in range(1, 9)))
    with pytest.raises(NoInputError, match=r"no folder sub-99 \(and 1 more.*01, 02.*\(8 in all\)"):
        found(dataset, participant_label=("99", "98", "01"))


def test_excluding_everyone_is_said_so(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_task-rest", C2009))
    with pytest.raises(NoInputError, match="--exclude-participant-label leaves no participant"):
        found(dataset, exclude_participant_label=("01",))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoInputError, match="holds no sub-"):
        found(tmp_path)
    with pytest.raises(NoInputError, match="is not a folder"):
        found(tmp_path / "absent")


def test_figures_and_anatomy_are_not_indexed(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_task-rest", C2009))
    for folder in ("figures", "anat", "log"):
        (dataset / "sub-01" / folder).mkdir()
        (dataset / "sub-01" / folder / bold("sub-01_task-other", C2009)).touch()
    assert found(dataset) == [bold("sub-01_task-rest", C2009)]


def test_the_index_holds_images_alone_unless_a_filter_file_may_ask_for_more(make_tree: Any, tmp_path: Path) -> None:
    stem = f"sub-01_task-rest_{C2009}"
    names = [bold("sub-01_task-rest", C2009), f"{stem}_desc-preproc_bold.json", f"{stem}_desc-brain_mask.nii.gz"]
    dense = "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii"
    dataset = make_tree(*names, dense, f"{stem}_boldref.nii.gz", "sub-01_task-rest_desc-confounds_timeseries.tsv")

    def indexed(**selection: Any) -> set[str]:
        layout = _layout(dataset, ["01"], Selection(**selection))
        return {Path(path).name for path in layout.get(return_type="filename")} - {"dataset_description.json"}

    assert indexed() == {names[0], dense}
    (tmp_path / "filters.json").write_text("{}")
    assert {*names, dense} < indexed(bids_filter_file=tmp_path / "filters.json")


def test_a_database_made_for_one_participant_serves_the_next_one_too(make_tree: Any, tmp_path: Path) -> None:
    names = [bold(f"sub-{label}_task-rest", C2009) for label in ("01", "02")]
    dataset, database = make_tree(*names), tmp_path / "database"
    assert found(dataset, participant_label=("01",), bids_database_dir=database) == names[:1]
    assert found(dataset, participant_label=("02",), bids_database_dir=database) == names[1:]
    assert database.is_dir()
    assert not list(dataset.rglob("*.db"))


def test_a_strategy_may_want_another_image(make_tree: Any) -> None:
    smooth = f"sub-01_task-rest_{ASYM6}_desc-smoothAROMAnonaggr_bold.nii.gz"
    dataset = make_tree(bold("sub-01_task-rest", ASYM6), bold("sub-02_task-rest", ASYM6), smooth)
    (run,) = find_bold_runs(dataset, Selection(), "smoothAROMAnonaggr")
    assert run.bold.name == smooth
    with pytest.raises(NoInputError, match=r"no .*smoothAROMAnonaggr.* for 02; was fMRIPrep one up to 23\.0, called"):
        find_bold_runs(dataset, Selection(participant_label=("02",)), "smoothAROMAnonaggr")
    with pytest.raises(UsageError, match="no desc-smoothAROMAnonaggr series on grayordinates"):
        find_bold_runs(dataset, Selection(space="fsLR"), "smoothAROMAnonaggr")
