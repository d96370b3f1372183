"""Which images a selection finds, in which space, and what is said when there are none or too many."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.config import Selection
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.query import _layout, find_bold_runs, index_runs
from bids_neurossm.errors import NoInputError, UsageError

C2009, ASYM6 = "space-MNI152NLin2009cAsym", "space-MNI152NLin6Asym"


def bold(source: str, *entities: str) -> str:
    return "_".join([source, *entities, "desc-preproc", "bold.nii.gz"])


def found(dataset: Path, **selection: Any) -> list[str]:
    return [run.bold.name for run in find_bold_runs(dataset, Selection(**selection))]


def test_sub_01_is_not_sub_010(make_tree: Any) -> None:
    names = [bold(f"sub-{label}_task-rest", C2009) for label in ("01", "010", "0101")]
    dataset = make_tree(*names)
    assert found(dataset, participant_label=("01",)) == names[:1]
    assert found(dataset, participant_label=("sub-010",)) == names[1:2]
    assert sorted(found(dataset)) == sorted(names)
    assert found(dataset, exclude_participant_label=("010", "0101")) == names[:1]


def test_each_recording_is_taken_in_one_space_2009c_first(make_tree: Any) -> None:
    dataset = make_tree(
        bold("sub-01_task-rest", C2009),
        bold("sub-01_task-rest", ASYM6),
        bold("sub-02_task-rest", ASYM6),
        bold("sub-02_task-rest", "space-T1w"),
        bold("sub-02_task-rest"),
    )
    assert found(dataset) == [bold("sub-01_task-rest", C2009), bold("sub-02_task-rest", ASYM6)]
    assert found(dataset, space="MNI152NLin6Asym") == [bold(f"sub-{i}_task-rest", ASYM6) for i in ("01", "02")]
    assert found(dataset, space="space-T1w") == [bold("sub-02_task-rest", "space-T1w")]


def test_two_resolutions_of_one_recording_need_a_choice(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_task-rest", C2009, "res-2"), bold("sub-01_task-rest", C2009, "res-native"))
    with pytest.raises(UsageError, match=r"res-2.*res-native.*one recording at two resolutions; choose one with --res"):
        found(dataset)
    assert found(dataset, res="2") == [bold("sub-01_task-rest", C2009, "res-2")]
    assert found(dataset, res="res-native") == [bold("sub-01_task-rest", C2009, "res-native")]


def test_two_images_that_would_be_written_under_one_name_are_refused(make_tree: Any, tmp_path: Path) -> None:
    name = bold("sub-01_task-rest", C2009)
    with pytest.raises(UsageError, match=r"bold\.nii and .*bold\.nii\.gz would be written under one name; keep one"):
        found(make_tree(name, name.removesuffix(".gz")))
    smooth = name.replace("preproc", "smoothAROMAnonaggr")
    (tmp_path / "filter.json").write_text(json.dumps({"bold": {"desc": ["preproc", "smoothAROMAnonaggr"]}}))
    with pytest.raises(UsageError, match="would be written under one name"):
        found(
            make_tree(bold("sub-02_task-rest", C2009), smooth.replace("sub-01", "sub-02")),
            bids_filter_file=tmp_path / "filter.json",
            participant_label=("02",),
        )


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


def test_mask_and_confounds_stand_beside_the_image(make_tree: Any) -> None:
    dataset = make_tree(
        bold("sub-01_task-rest_acq-mb_run-1", C2009, "res-2"),
        f"sub-01_task-rest_acq-mb_run-1_{C2009}_res-2_desc-brain_mask.nii.gz",
        f"sub-01_task-rest_run-1_{C2009}_res-2_desc-brain_mask.nii.gz",
        "sub-01_task-rest_acq-mb_run-1_desc-confounds_timeseries.tsv",
        "sub-01_task-rest_run-1_desc-confounds_timeseries.tsv",
    )
    (run,) = find_bold_runs(dataset, Selection())
    assert run.mask == run.bold.with_name(f"sub-01_task-rest_acq-mb_run-1_{C2009}_res-2_desc-brain_mask.nii.gz")
    assert run.confounds == run.bold.with_name("sub-01_task-rest_acq-mb_run-1_desc-confounds_timeseries.tsv")
    assert run.key == f"sub-01_task-rest_acq-mb_run-1_{C2009}_res-2"
    assert (run.participant, run.space) == ("01", "MNI152NLin2009cAsym")


def test_the_table_of_fmriprep_1_is_called_regressors(make_tree: Any) -> None:
    dataset = make_tree(bold("sub-01_task-rest", C2009), "sub-01_task-rest_desc-confounds_regressors.tsv")
    (run,) = find_bold_runs(dataset, Selection())
    assert run.confounds == run.bold.with_name("sub-01_task-rest_desc-confounds_regressors.tsv")
    assert run.mask is None


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


def test_what_ica_aroma_left_stands_beside_the_image(make_tree: Any) -> None:
    source = "sub-01_ses-1_task-rest_run-2"
    dataset = make_tree(bold(source, ASYM6), f"{source}_desc-MELODIC_mixing.tsv", f"{source}_AROMAnoiseICs.csv")
    (run,) = find_bold_runs(dataset, Selection())
    assert run.mixing == run.bold.with_name(f"{source}_desc-MELODIC_mixing.tsv")
    assert run.noise_components == run.bold.with_name(f"{source}_AROMAnoiseICs.csv")


def test_a_strategy_may_want_another_image(make_tree: Any) -> None:
    smooth = f"sub-01_task-rest_{ASYM6}_desc-smoothAROMAnonaggr_bold.nii.gz"
    dataset = make_tree(bold("sub-01_task-rest", ASYM6), bold("sub-02_task-rest", ASYM6), smooth)
    (run,) = find_bold_runs(dataset, Selection(), "smoothAROMAnonaggr")
    assert run.bold.name == smooth
    with pytest.raises(NoInputError, match=r"no .*smoothAROMAnonaggr.* for 02; was fMRIPrep one up to 23\.0, called"):
        find_bold_runs(dataset, Selection(participant_label=("02",)), "smoothAROMAnonaggr")
    with pytest.raises(UsageError, match="no desc-smoothAROMAnonaggr series on grayordinates"):
        find_bold_runs(dataset, Selection(space="fsLR"), "smoothAROMAnonaggr")


class TestKindsOfOneRecording:
    """Echo, part and entities of other programs name kinds of images of one recording: one is used."""

    def test_two_echoes_are_refused_with_the_option_that_chooses(self, make_tree: Any) -> None:
        echoes = [bold(f"sub-01_task-rest_echo-{echo}", C2009) for echo in (1, 2)]
        dataset = make_tree(*echoes, bold("sub-02_task-rest_echo-1", C2009))
        with pytest.raises(
            UsageError, match=r"echo-1 space-\S+ desc-preproc; echo-2 .* Choose one with --filter echo=1"
        ):
            found(dataset)
        assert found(dataset, filter={"echo": ("2",)}) == echoes[1:]
        assert found(dataset, filter={"echo": ("01",)}) == [echoes[0], bold("sub-02_task-rest_echo-1", C2009)]

    def test_a_recording_may_be_of_another_kind_than_the_next(self, make_tree: Any) -> None:
        names = [bold("sub-01_task-rest_part-mag", C2009), bold("sub-02_task-rest", C2009)]
        assert found(make_tree(*names)) == names

    def test_an_empty_label_means_without_the_entity(self, make_tree: Any) -> None:
        names = [bold("sub-01_task-rest", C2009), bold("sub-01_task-rest_echo-1", C2009)]
        dataset = make_tree(*names)
        assert found(dataset, filter={"echo": ("",)}) == names[:1]
        with pytest.raises(UsageError, match="are kinds of one recording"):
            found(dataset, filter={"echo": ("", "1")})

    def test_run_1_and_run_01_are_one_recording(self, make_tree: Any) -> None:
        with pytest.raises(UsageError, match="would be written under one name; keep one"):
            found(make_tree(*(bold(f"sub-01_task-rest_run-{run}", C2009) for run in ("1", "01"))))

    def test_a_filter_may_name_space_and_desc(self, make_tree: Any) -> None:
        smooth = bold("sub-01_task-rest", ASYM6).replace("preproc", "smoothAROMAnonaggr")
        dataset = make_tree(bold("sub-01_task-rest", C2009), bold("sub-01_task-rest", "space-T1w"), smooth)
        assert found(dataset, filter={"space": ("T1w",)}) == [bold("sub-01_task-rest", "space-T1w")]
        assert found(dataset, filter={"desc": ("smoothAROMAnonaggr",)}) == [smooth]

    def test_the_kind_stays_in_the_name_of_the_run(self, make_tree: Any) -> None:
        (run,) = find_bold_runs(make_tree(bold("sub-01_task-rest_echo-1_part-mag", C2009)), Selection())
        assert run.key == f"sub-01_task-rest_echo-1_part-mag_{C2009}"


class TestWhereRunsLie:
    """Below sub-*/[ses-*/]func/, at any depth, under a name that says the same as the folder."""

    @staticmethod
    def index(dataset: Path, **selection: Any) -> tuple[list[str], list[tuple[str, str, int]]]:
        index = index_runs(dataset, Selection(**selection))
        return [run.bold.name for run in index.runs], [(each.name, each.reason, each.n_runs) for each in index.left_out]

    def test_a_nested_folder_below_func_counts(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        nested = dataset / "sub-01" / "func" / "task-nback" / bold("sub-01_task-nback", C2009)
        nested.parent.mkdir()
        nested.touch()
        assert self.index(dataset) == ([bold("sub-01_task-rest", C2009), nested.name], [])

    def test_a_folder_beside_the_participants_is_counted_and_left_out(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest_run-1", C2009))
        moved = dataset / "excluded_QC" / "sub-01" / "func" / bold("sub-01_task-rest_run-2", C2009)
        moved.parent.mkdir(parents=True)
        moved.touch()
        kept = [bold("sub-01_task-rest_run-1", C2009)]
        assert self.index(dataset) == (kept, [("excluded_QC/", "folder has no place in BIDS", 1)])
        (dataset / ".bidsignore").write_text("excluded_QC\n")
        assert self.index(dataset) == (kept, [("excluded_QC/", ".bidsignore: excluded_QC", 1)])

    def test_what_macos_leaves_beside_a_file_is_no_run(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        (dataset / "sub-01" / "func" / f"._{bold('sub-01_task-rest', C2009)}").touch()
        assert self.index(dataset) == ([bold("sub-01_task-rest", C2009)], [])

    def test_a_run_beside_func_is_left_out(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest_run-1", C2009))
        moved = dataset / "sub-01" / "bad" / bold("sub-01_task-rest_run-2", C2009)
        moved.parent.mkdir()
        moved.touch()
        assert self.index(dataset)[1] == [("sub-01_task-rest_run-2", "place is not sub-*/[ses-*/]func/", 1)]

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
        assert self.index(dataset) == ([bold("sub-03_task-rest", C2009)], [(name, reason, 1)])

    def test_labels_that_are_not_valid_are_listed_with_their_runs(self, make_tree: Any) -> None:
        names = [bold(f"sub-{label}_task-rest", C2009) for label in ("03", "con-01")]
        dataset = make_tree(*names)
        for run in (1, 2):
            path = dataset / "sub-pat_02" / "ses-1" / "func" / bold(f"sub-pat_02_ses-1_task-rest_run-{run}", C2009)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        invalid = "label is not valid BIDS"
        assert self.index(dataset) == (names[:1], [("sub-con-01", invalid, 1), ("sub-pat_02", invalid, 2)])

    def test_a_dataset_of_invalid_labels_alone_says_so(self, make_tree: Any) -> None:
        with pytest.raises(NoInputError, match=r"no sub-\* folder with a valid BIDS label.*1 run: sub-con-01"):
            found(make_tree(bold("sub-con-01_task-rest", C2009)))

    def test_other_datasets_inside_are_not_mentioned(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        for name in ("sourcedata/raw", "sourcedata", "derivatives", "freesurfer", "logs", ".git"):
            (dataset / name / "sub-01" / "func").mkdir(parents=True, exist_ok=True)
        assert self.index(dataset)[1] == []

    def test_what_fmriprep_writes_for_the_validator_changes_nothing(self, make_tree: Any) -> None:
        dataset = make_tree(bold("sub-01_task-rest", C2009))
        (dataset / ".bidsignore").write_text("*.html\nlogs/\nfigures/\n*_bold.func.gii\n*_timeseries.tsv\n")
        assert self.index(dataset) == ([bold("sub-01_task-rest", C2009)], [])

    def test_patterns_and_rows_leave_runs_out_with_their_reason(self, make_tree: Any, tmp_path: Path) -> None:
        names = [bold(f"sub-0{i}_ses-{j}_task-rest", C2009) for i in (1, 2) for j in (1, 2)]
        dataset = make_tree(*names)
        (dataset / ".bidsignore").write_text("/sub-01/ses-2/\n")
        (tmp_path / "runs.tsv").write_text("participant_id\tsession_id\treason\nsub-02\tses-1\tmotion\nsub-09\tn/a\t\n")
        index = index_runs(dataset, Selection(exclude=tmp_path / "runs.tsv"))
        assert [run.bold.name for run in index.runs] == [names[0], names[3]]
        assert [(each.name, each.participant, each.reason, each.detail) for each in index.left_out] == [
            ("sub-01_ses-2_task-rest", "01", ".bidsignore: /sub-01/ses-2/", f"sub-01/ses-2/func/{names[1]}"),
            ("sub-02_ses-1_task-rest", "02", "--exclude: motion", "row 1 of runs.tsv"),
        ]
        assert index.notes == (f"--exclude {tmp_path / 'runs.tsv'}: row 2 (sub-09) matches no run.",)
        # In a job array, rows of the other participants are not this task's business.
        alone = index_runs(dataset, Selection(exclude=tmp_path / "runs.tsv", participant_label=("01",)))
        assert [note.partition(": row ")[2] for note in alone.notes] == ["2 (sub-09) matches no run."]

    def test_the_raw_datasets_list_counts_as_well(self, make_tree: Any, tmp_path: Path) -> None:
        dataset = make_tree(*(bold(f"sub-01_task-rest_run-{run}", C2009) for run in ("01", "02")))
        (tmp_path / ".bidsignore").write_text("sub-01/func/sub-01_task-rest_run-2_bold.nii.gz\n")
        index = index_runs(dataset, Selection(), raw=[tmp_path])
        assert [run.bold.name for run in index.runs] == [bold("sub-01_task-rest_run-01", C2009)]

    def test_leaving_everything_out_is_said_so(self, make_tree: Any, tmp_path: Path) -> None:
        (tmp_path / "runs.tsv").write_text("task\treason\nrest\tasleep\n")
        with pytest.raises(NoInputError, match=r"Left out \(--exclude: asleep\): 1 run: sub-01_task-rest\."):
            found(make_tree(bold("sub-01_task-rest", C2009)), exclude=tmp_path / "runs.tsv")


class TestWhatARunCarries:
    """Repetition time, companions and problems are looked up once, when the dataset is indexed."""

    SOURCE = "sub-01_task-rest"

    def one(self, dataset: Path, **arguments: Any) -> BoldRun:
        (run,) = index_runs(dataset, Selection(), **arguments).runs
        return run

    def filled(self, make_tree: Any) -> tuple[Path, Path]:
        names = [bold(self.SOURCE, C2009), f"{self.SOURCE}_{C2009}_desc-brain_mask.nii.gz"]
        dataset = make_tree(*names, f"{self.SOURCE}_desc-confounds_timeseries.tsv", f"{self.SOURCE}_bold.json")
        folder = dataset / "sub-01" / "func"
        for path in folder.iterdir():
            path.write_text('{"RepetitionTime": 2}')
        return dataset, folder

    def test_a_sound_run_has_no_problem(self, make_tree: Any) -> None:
        dataset, _ = self.filled(make_tree)
        run = self.one(dataset)
        assert (run.dataset, run.repetition_time, run.problems) == (dataset, 2.0, ())

    @pytest.mark.parametrize("ending", ["bold.nii.gz", "mask.nii.gz", "timeseries.tsv", "bold.json"])
    @pytest.mark.parametrize(
        ("how", "said"),
        [("link", "is a link to"), ("pointer", "is a pointer of git-annex"), ("empty", r"is empty \(0 bytes\)")],
    )
    def test_what_is_listed_without_content_is_a_problem(
        self, make_tree: Any, ending: str, how: str, said: str
    ) -> None:
        dataset, folder = self.filled(make_tree)
        path = next(folder.glob(f"*{ending}"))
        path.unlink()
        if how == "link":
            path.symlink_to("../../.git/annex/objects/a/b")
        else:
            path.write_text("/annex/objects/MD5E-s9--abc\n" if how == "pointer" else "")
        run = self.one(dataset)
        (problem,) = run.problems
        assert re.match(re.escape(str(path)) + " " + said, problem)
        assert math.isnan(run.repetition_time) == (ending == "bold.json")

    def test_components_are_a_problem_only_where_they_are_needed(self, make_tree: Any) -> None:
        dataset, folder = self.filled(make_tree)
        (folder / f"{self.SOURCE}_desc-MELODIC_mixing.tsv").symlink_to("nowhere")
        assert self.one(dataset).problems == ()
        assert "mixing.tsv is a link to nowhere" in self.one(dataset, components=True).problems[0]

    def test_a_repetition_time_that_is_nowhere_is_a_problem(self, make_tree: Any, tmp_path: Path) -> None:
        dataset, folder = self.filled(make_tree)
        next(folder.glob("*.json")).write_text("{}")
        run = self.one(dataset)
        assert math.isnan(run.repetition_time)
        assert "gives no RepetitionTime" in run.problems[0]
        (tmp_path / "task-rest_bold.json").write_text('{"RepetitionTime": 1.25}')
        assert self.one(dataset, raw=[tmp_path]).repetition_time == 1.25
