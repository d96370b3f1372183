"""What a run carries: companions, repetition time and problems."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import ASYM6, C2009, bold

from bids_neurossm.config import Selection
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.query import find_bold_runs, index_runs


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


def test_what_ica_aroma_left_stands_beside_the_image(make_tree: Any) -> None:
    source = "sub-01_ses-1_task-rest_run-2"
    dataset = make_tree(bold(source, ASYM6), f"{source}_desc-MELODIC_mixing.tsv", f"{source}_AROMAnoiseICs.csv")
    (run,) = find_bold_runs(dataset, Selection())
    assert run.mixing == run.bold.with_name(f"{source}_desc-MELODIC_mixing.tsv")
    assert run.noise_components == run.bold.with_name(f"{source}_AROMAnoiseICs.csv")


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
