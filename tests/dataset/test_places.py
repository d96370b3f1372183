"""Where runs lie, and what is said of those that lie elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.trees import C2009, bold, found, kept_and_left_out

from bids_neurossm.errors import NoInputError


class TestWhereRunsLie:
    """Below sub-*/[ses-*/]func/, at any depth, under a name that says the same as the folder."""

    def test_a_nested_folder_below_func_counts(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        nested = dataset / "sub-01" / "func" / "task-nback" / bold("sub-01_task-nback", C2009)
        nested.parent.mkdir()
        nested.touch()
        assert kept_and_left_out(dataset) == ([bold("sub-01_task-rest", C2009), nested.name], [])

    def test_a_folder_beside_the_participants_is_counted_and_left_out(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest_run-1", C2009))
        moved = dataset / "excluded_QC" / "sub-01" / "func" / bold("sub-01_task-rest_run-2", C2009)
        moved.parent.mkdir(parents=True)
        moved.touch()
        kept = [bold("sub-01_task-rest_run-1", C2009)]
        assert kept_and_left_out(dataset) == (kept, [("excluded_QC/", "folder has no place in BIDS", 1)])
        (dataset / ".bidsignore").write_text("excluded_QC\n")
        assert kept_and_left_out(dataset) == (kept, [("excluded_QC/", ".bidsignore: excluded_QC", 1)])

    def test_what_macos_leaves_beside_a_file_is_no_run(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        (dataset / "sub-01" / "func" / f"._{bold('sub-01_task-rest', C2009)}").touch()
        assert kept_and_left_out(dataset) == ([bold("sub-01_task-rest", C2009)], [])

    def test_a_run_beside_func_is_left_out(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest_run-1", C2009))
        moved = dataset / "sub-01" / "bad" / bold("sub-01_task-rest_run-2", C2009)
        moved.parent.mkdir()
        moved.touch()
        assert kept_and_left_out(dataset)[1] == [("sub-01_task-rest_run-2", "place is not sub-*/[ses-*/]func/", 1)]

    @pytest.mark.parametrize(
        ("folder", "name", "reason"),
        [
            ("sub-01/func", "sub-02_task-rest", "name and folder disagree"),
            ("sub-01/ses-1/func", "sub-01_ses-2_task-rest", "name and folder disagree"),
            ("sub-01/ses-1/func", "sub-01_task-rest", "name and folder disagree"),
            ("sub-01/ses-pre_op/func", "sub-01_ses-pre_op_task-rest", "label is not valid BIDS"),
            ("sub-01/func", "sub-01_task-eyes-open", "label is not valid BIDS"),
            ("sub-01/func", "sub-01_task-eyes_open", "label is not valid BIDS"),
        ],
    )
    def test_names_that_folders_contradict_are_listed(
        self, make_tree: Any, folder: str, name: str, reason: str
    ) -> None:
        dataset = make_tree(bold("sub-03_task-rest", C2009))
        (dataset / folder).mkdir(parents=True)
        (dataset / folder / bold(name, C2009)).touch()
        assert kept_and_left_out(dataset) == ([bold("sub-03_task-rest", C2009)], [(name, reason, 1)])

    def test_labels_that_are_not_valid_are_listed_with_their_runs(self, make_tree: Any) -> None:
        names = [bold(f"sub-{label}_task-rest", C2009) for label in ("03", "con-01")]
        dataset = make_tree(*names)
        for run in (1, 2):
            path = dataset / "sub-pat_02" / "ses-1" / "func" / bold(f"sub-pat_02_ses-1_task-rest_run-{run}", C2009)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        invalid = "label is not valid BIDS"
        assert kept_and_left_out(dataset) == (names[:1], [("sub-con-01", invalid, 1), ("sub-pat_02", invalid, 2)])

    def test_a_dataset_of_invalid_labels_alone_says_so(self, make_tree: Any) -> None:
        with pytest.raises(NoInputError, match=r"no sub-\* folder with a valid BIDS label.*1 run: sub-con-01"):
            found(make_tree(bold("sub-con-01_task-rest", C2009)))

    def test_other_datasets_inside_are_not_mentioned(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        for name in ("sourcedata/raw", "sourcedata", "derivatives", "freesurfer", "logs", ".git"):
            (dataset / name / "sub-01" / "func").mkdir(parents=True, exist_ok=True)
        assert kept_and_left_out(dataset)[1] == []

    def test_what_fmriprep_writes_for_the_validator_changes_nothing(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        (dataset / ".bidsignore").write_text("*.html\nlogs/\nfigures/\n*_bold.func.gii\n*_timeseries.tsv\n")
        assert kept_and_left_out(dataset) == ([bold("sub-01_task-rest", C2009)], [])
