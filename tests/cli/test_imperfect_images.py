"""Datasets as laboratories have them, through the real command line: the right number, or a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.small_runs import SPACE, add_run, dangle, point, write_atlas


@pytest.fixture
def run(command: Any, tmp_path: Path) -> Any:
    """Run the participant level on the dataset ``ds``."""

    def called(*options: str | Path, atlas: str = f"tpl-{SPACE}_atlas-Boxes_dseg", level: str = "participant") -> Any:
        image = tmp_path / "atlas" / f"{atlas}.nii.gz"
        if not image.exists():
            write_atlas(image.parent, atlas)
        return command(tmp_path / "ds", tmp_path / "out", level, "--atlas", image, "--nprocs", "1", *options)

    return called


def table(folder: Path, pattern: str) -> pd.DataFrame:
    (path,) = folder.glob(pattern)
    return pd.read_csv(path, sep="\t", na_values="n/a", dtype={"run_id": str, "participant_id": str})


def covered(folder: Path) -> list[int]:
    return list(table(folder, "sub-*/func/*stat-coverage_bold.tsv")["n_covered"])


class TestCompanions:
    def test_a_mask_counts_however_its_entities_are_ordered(self, run: Any, tmp_path: Path) -> None:
        space = "MNIPediatricAsym_cohort-5_res-2"
        files = add_run(tmp_path / "ds", "sub-01_task-rest", space)
        mask = files["mask"].name.replace("cohort-5_res-2", "res-2_cohort-5")
        files["mask"].rename(files["mask"].with_name(mask))
        done = run("--space", "MNIPediatricAsym", "--denoise", "none", atlas="tpl-MNIPediatricAsym_atlas-Boxes_dseg")
        assert done.returncode == 0, done.stdout + done.stderr
        assert covered(tmp_path / "out") == [72, 120] * 4
        assert list(table(tmp_path / "out", "quality.tsv")["brain_mask"]) == ["yes"]

    @pytest.mark.parametrize("extra", ["echo-1", "part-mag"])
    def test_confounds_and_mask_of_the_recording_serve_its_echo_or_part(
        self, run: Any, tmp_path: Path, extra: str
    ) -> None:
        files = add_run(tmp_path / "ds", f"sub-01_task-rest_{extra}")
        for kind in ("mask", "confounds"):
            files[kind].rename(files[kind].with_name(files[kind].name.replace(f"_{extra}", "")))
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
        (sidecar,) = (tmp_path / "out").glob(f"sub-01/func/sub-01_task-rest_{extra}_space-*_timeseries.json")
        facts = json.loads(sidecar.read_text())
        assert facts["MeanFramewiseDisplacement"] == pytest.approx(0.1)
        assert [source.rpartition("/")[2] for source in facts["Sources"]] == [
            files["bold"].name,
            files["mask"].name.replace(f"_{extra}", ""),
            files["confounds"].name.replace(f"_{extra}", ""),
        ]

    def test_content_that_was_not_fetched_fails_its_run_alone_and_is_listed_first(
        self, run: Any, tmp_path: Path
    ) -> None:
        spoilt = [add_run(tmp_path / "ds", f"sub-{number:02d}_task-rest") for number in range(1, 6)]
        dangle(spoilt[0]["mask"])
        point(spoilt[1]["bold"])
        spoilt[2]["bold"].write_bytes(b"")
        dangle(spoilt[3]["confounds"])
        wrong = [spoilt[0]["mask"], spoilt[1]["bold"], spoilt[2]["bold"], spoilt[3]["confounds"]]
        planned = run("--dry-run")
        assert planned.returncode == 0
        done = run()
        assert done.returncode == 1
        for number, path in enumerate(wrong, start=1):
            key = f"sub-{number:02d}_task-rest_space-{SPACE}"
            said = "copy or fetch it again." if number == 3 else f"run `datalad get {path}`."
            for answer, start in ((planned, key), (done, f"failed: {key}")):
                (line,) = [line for line in answer.stdout.splitlines() if line.startswith(f"{start}: ")]
                assert str(path) in line
                assert said in line
        assert "1 of 5 runs done" in done.stdout
        assert [path.name for path in (tmp_path / "out").glob("sub-*/func")] == ["func"]

    def test_runs_without_a_mask_are_counted(self, run: Any, tmp_path: Path) -> None:
        add_run(tmp_path / "ds", "sub-01_task-rest", mask=False)
        add_run(tmp_path / "ds", "sub-02_task-rest")
        done = run()
        assert done.returncode == 0, done.stdout + done.stderr
        (line,) = [line for line in done.stdout.splitlines() if "without a brain mask" in line]
        assert [cell.strip() for cell in line.split("│")[1:3]] == ["without a brain mask", "1"]
        assert list(table(tmp_path / "out", "quality.tsv")["brain_mask"]) == ["no", "yes"]


class TestWhatIsARun:
    def test_a_run_that_was_moved_out_is_not_used(self, run: Any, tmp_path: Path) -> None:
        for number in (1, 2):
            add_run(tmp_path / "ds", f"sub-01_task-rest_run-{number}")
        moved = tmp_path / "ds" / "excluded_QC" / "sub-01" / "func"
        moved.mkdir(parents=True)
        for path in (tmp_path / "ds" / "sub-01" / "func").glob("*run-2*"):
            path.rename(moved / path.name)
        (tmp_path / "ds" / ".bidsignore").write_text("*.html\n*_timeseries.tsv\nfigures/\nexcluded_QC\n")
        for answer in (run("--dry-run"), run()):
            assert answer.returncode == 0, answer.stdout + answer.stderr
            assert "Left out (.bidsignore: excluded_QC): 1 run: excluded_QC/." in answer.stdout
        assert "1 of 1 runs done, 0 excluded by rule, 0 failed, 1 left out." in answer.stdout
        assert list(table(tmp_path / "out", "quality.tsv")["run"]) == ["sub-01_task-rest_run-1"]

    def test_labels_that_are_not_valid_are_listed_and_the_rest_is_done(self, run: Any, tmp_path: Path) -> None:
        for label in ("03", "con-01", "pat_02"):
            add_run(tmp_path / "ds", "sub-03_task-rest")
            if label != "03":
                shutil.copytree(tmp_path / "ds" / "sub-03", tmp_path / "ds" / f"sub-{label}")
                for path in (tmp_path / "ds" / f"sub-{label}").rglob("sub-03*"):
                    path.rename(path.with_name(path.name.replace("sub-03", f"sub-{label}")))
        for answer in (run("--dry-run"), run()):
            assert answer.returncode == 0, answer.stdout + answer.stderr
            assert "Left out (label is not valid BIDS): 2 runs: sub-con-01, sub-pat_02." in answer.stdout
        assert sorted(path.name for path in (tmp_path / "out").glob("sub-*")) == ["sub-03", "sub-03.html"]
        assert list(table(tmp_path / "out", "quality.tsv")["run"]) == ["sub-03_task-rest"]

    def test_two_echoes_end_with_2_and_the_option_that_chooses(self, run: Any, tmp_path: Path) -> None:
        for echo in (1, 2):
            add_run(tmp_path / "ds", f"sub-01_task-rest_echo-{echo}", seed=echo)
        refused = run()
        assert refused.returncode == 2
        assert "Choose one with --filter echo=1." in refused.stderr
        done = run("--filter", "echo=2")
        assert done.returncode == 0, done.stdout + done.stderr
        (series,) = (tmp_path / "out").glob("sub-01/func/*_timeseries.tsv")
        assert series.name.startswith(f"sub-01_task-rest_echo-2_space-{SPACE}_")

    def test_excluded_runs_are_counted_with_their_reason_on_both_levels(
        self, run: Any, command: Any, tmp_path: Path
    ) -> None:
        for number in range(1, 7):
            add_run(tmp_path / "ds", f"sub-{number:02d}_task-rest_run-1", seed=number)
        runs = tmp_path / "runs.tsv"
        runs.write_text("participant_id\trun_id\treason\nsub-01\t01\tasleep\nsub-77\tn/a\tn/a\n")
        done = run("--exclude", runs)
        assert done.returncode == 0, done.stdout + done.stderr
        for sentence in (
            f"--exclude {runs}: row 2 (sub-77) matches no run.",
            "Left out (--exclude: asleep): 1 run: sub-01_task-rest_run-1.",
            "5 of 5 runs done, 0 excluded by rule, 0 failed, 1 left out.",
        ):
            assert sentence in done.stdout
        assert not (tmp_path / "out" / "sub-01").exists()
        people = tmp_path / "people.tsv"
        people.write_text("participant_id\tdx\n" + "".join(f"sub-{i:02d}\t{'ab'[i % 2]}\n" for i in range(1, 7)))
        runs.write_text("sub\treason\n02\tasleep\n")
        options = "--target dx --model pearson-connectivity --baselines none --no-cpa --folds 2"
        found = command(
            *(
                tmp_path / "ds",
                tmp_path / "out",
                "group",
                *options.split(),
                "--participants-file",
                people,
                "--nprocs",
                "1",
            ),
            *("--exclude", runs, "--run-id", "01"),
        )
        assert found.returncode == 0, found.stdout + found.stderr
        rows = table(tmp_path / "out", "group/*/exclusions.tsv")
        assert rows[["run", "participant_id", "reason", "detail"]].to_numpy().tolist() == [
            ["sub-02_task-rest_run-1", "02", "--exclude: asleep", "row 1 of runs.tsv"]
        ]
        assert "Left out (--exclude: asleep): 1 run: sub-02_task-rest_run-1." in found.stdout


class TestOrientation:
    def test_an_image_without_it_is_refused_or_warned_of(self, run: Any, tmp_path: Path) -> None:
        files = add_run(tmp_path / "ds", "sub-01_task-rest", oriented=False)
        refused = run()
        assert refused.returncode == 1
        assert f"The header of {files['bold']} states no orientation: both sform and qform are 0" in refused.stdout
        taken = run("--allow-missing-orientation", "--max-uncovered", "1")
        assert taken.returncode == 0, taken.stdout + taken.stderr
        (sidecar,) = (tmp_path / "out").glob("sub-01/func/*_timeseries.json")
        (warning,) = [each for each in json.loads(sidecar.read_text())["Warnings"] if "orientation" in each]
        assert files["bold"].name in warning
        assert files["mask"].name in warning

    def test_an_atlas_without_it_is_refused_before_anything_is_read(self, run: Any, tmp_path: Path) -> None:
        add_run(tmp_path / "ds", "sub-01_task-rest")
        write_atlas(tmp_path / "atlas", oriented=False)
        refused = run()
        assert refused.returncode == 2
        assert "states no orientation" in refused.stderr
        assert not (tmp_path / "out").exists()


def test_the_repetition_time_of_the_raw_dataset_is_used(run: Any, tmp_path: Path) -> None:
    add_run(tmp_path / "ds", "sub-01_task-rest", seconds=None)
    refused = run("--denoise", "none")
    assert refused.returncode == 1
    assert "gives no RepetitionTime; add the seconds between two volumes" in refused.stdout
    (tmp_path / "raw").mkdir()
    for echo in (1, 2):
        (tmp_path / "raw" / f"task-rest_echo-{echo}_bold.json").write_text('{"RepetitionTime": 1.35}')
    done = run("--denoise", "none", "-d", f"raw={tmp_path / 'raw'}")
    assert done.returncode == 0, done.stdout + done.stderr
    (sidecar,) = (tmp_path / "out").glob("sub-01/func/*_timeseries.json")
    assert json.loads(sidecar.read_text())["RepetitionTime"] == 1.35


def test_two_features_of_halfpipe_end_with_2_and_one_can_be_chosen(command: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    dataset = tmp_path / "halfpipe"
    for number in range(1, 9):
        folder = dataset / f"sub-{number:02d}" / "func"
        folder.mkdir(parents=True)
        for name in ("GSR", "AROMA"):
            path = folder / f"sub-{number:02d}_task-rest_feature-{name}_atlas-schaefer_timeseries.tsv"
            np.savetxt(path, random.standard_normal((60, 8)), delimiter="\t")
    (dataset / "participants.tsv").write_text(
        "participant_id\tdx\n" + "".join(f"sub-{number:02d}\t{'ab'[number % 2]}\n" for number in range(1, 9))
    )
    told = "--target dx --model pearson-connectivity --baselines none --no-cpa --nprocs 1 --folds 2 --dry-run"
    options = told.split()
    refused = command(dataset, tmp_path / "out", "group", *options)
    assert refused.returncode == 2
    assert "holds 2 kinds of series: feature-AROMA atlas-schaefer; feature-GSR atlas-schaefer." in refused.stderr
    assert "Choose one with --filter feature=AROMA." in refused.stderr
    planned = command(dataset, tmp_path / "out", "group", *options, "--filter", "feature=GSR")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "Analysis dx_pearsonconnectivity_schaefer_asis-GSR: 8 runs of 8 participants." in planned.stdout


def test_a_series_whose_sidecar_was_not_fetched_fails_alone(command: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    dataset = tmp_path / "series"
    for number in range(1, 9):
        path = dataset / f"sub-{number:02d}" / "func" / f"sub-{number:02d}_task-rest_atlas-A_timeseries.tsv"
        path.parent.mkdir(parents=True)
        pd.DataFrame(random.standard_normal((60, 8)), columns=list("abcdefgh")).to_csv(path, sep="\t", index=False)
        path.with_suffix(".json").write_text('{"RepetitionTime": 2}')
    sidecar = point(path.with_suffix(".json"))
    (dataset / "participants.tsv").write_text(
        "participant_id\tdx\n" + "".join(f"sub-{number:02d}\t{'ab'[number % 2]}\n" for number in range(1, 9))
    )
    told = "--target dx --model pearson-connectivity --baselines none --no-cpa --nprocs 1 --folds 2 --reference none"
    done = command(dataset, tmp_path / "out", "group", *told.split())
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: sub-08_task-rest: " in done.stdout
    assert f"{sidecar.name} is a pointer of git-annex" in done.stdout
    rows = table(tmp_path / "out", "group/*/exclusions.tsv")
    assert rows[["run", "reason"]].to_numpy().tolist() == [["sub-08_task-rest", "unreadable"]]
    assert len(table(tmp_path / "out", "group/*/splits.tsv")) == 7
