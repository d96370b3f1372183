"""Real series without an atlas image and a repetition time: imported, trained on, judged; no maps are made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.planning.group import plan_group

RECIPE = """
[model]
width = 8
state = 4
[training]
epochs = 2
batch_size = 16
window = 60
"""


@pytest.fixture(scope="module")
def imported(shared_data: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small sites of ABIDE I as time-series derivatives."""
    folder = tmp_path_factory.mktemp("abide")
    source = folder / "source"
    source.mkdir()
    for site in ("OHSU", "SBL", "CALTECH"):
        name = f"cc200_filtglobal_site-{site}.npz"
        (source / name).symlink_to(shared_data / "abide" / name)
    command = [sys.executable, "-m", "bids_neurossm.cli.import_series", source, folder / "imported"]
    options = [
        "--atlas",
        "CC200",
        "--task",
        "rest",
        "--participants",
        shared_data / "abide" / "participants.tsv",
        "--id-column",
        "file_id",
    ]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "imported"


def test_diagnosis_is_judged_in_five_folds_and_images_are_refused_with_the_reason(
    command: Any, imported: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    out = tmp_path / "out"
    options = ["--target", "dx", "--holdout", "0", "--recipe", recipe, "--analysis-id", "dx"]
    options += ["--baselines", "site-only"]
    done = command(imported, out, "group", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No NIfTI maps" in done.stdout
    assert "No reference" in done.stdout
    folder = out / "group" / "dx"
    for name in ("splits", "predictions", "metrics", "comparison", "exclusions", "controls", "cpa_checks"):
        assert (folder / f"{name}.tsv").is_file(), name
    assert list(folder.glob("*.nii.gz")) == []
    splits = pd.read_csv(folder / "splits.tsv", sep="\t", dtype=str)
    assert set(splits["fold"]) == {"1", "2", "3", "4", "5"}
    assert set(splits["set"]) == {"development"}
    predictions = pd.read_csv(folder / "predictions.tsv", sep="\t")
    mine = predictions[predictions["model"] == "neurossm"]
    assert len(mine) == len(splits) == mine["participant_id"].nunique()
    # Diagnosis and site are balanced over the folds together.
    counts = mine.groupby(["label", "site", "fold"]).size().unstack(fill_value=0)
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 1
    controls = pd.read_csv(folder / "controls.tsv", sep="\t")
    assert controls["control"].str.startswith("labels permuted within sites").any()
    assert (controls["control"] == "probe: site").any()
    regions = pd.read_csv(next(folder.glob("*stat-cpa_regions.tsv")), sep="\t", na_values="n/a")
    assert sorted(set(regions["label"])) == ["ASD", "control", "discriminative"]
    assert len(regions) == 3 * 200
    summary = json.loads((folder / "summary.json").read_text())
    assert any("No NIfTI maps" in note for note in summary["notes"])
    assert (out / "group_dx.html").is_file()


def test_sites_are_left_out_one_at_a_time(command: Any, imported: Path, tmp_path: Path) -> None:
    options = ["--target", "dx", "--leave-out", "site", "--model", "pearson-connectivity", "--baselines", "none"]
    planned = command(imported, tmp_path / "out", "group", *options, "--dry-run")
    assert "#SBATCH --array=1-3\n" in planned.stdout, planned.stdout + planned.stderr
    done = command(imported, tmp_path / "out", "group", *options, "--analysis-id", "sites")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "out" / "group" / "sites"
    table = pd.read_csv(folder / "left_out.tsv", sep="\t")
    assert table["site"].to_list() == ["CALTECH", "OHSU", "SBL"]
    assert table["n"].sum() == len(pd.read_csv(folder / "splits.tsv", sep="\t"))
    assert len(pd.read_csv(folder / "comparison.tsv", sep="\t")) == 0
    notes = json.loads((folder / "summary.json").read_text())["notes"]
    assert any("a sign-flip test needs 6" in note for note in notes)
    assert (tmp_path / "out" / "group_sites.html").is_file()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--leave-out", "scanner"], 7, "no column 'scanner'"),
        (["--leave-out", "site", "--repeats", "3"], 2, "nothing that --repeats could vary"),
        (["--leave-out", "site", "--holdout", "0.2"], 2, "takes no --holdout"),
        (["--leave-out", "site", "--harmonise", "combat"], 2, "a site that is left out has none"),
        (["--baselines", "oracle"], 2, "--baselines oracle is not known"),
        (["--baselines", "none", "majority"], 2, "stands alone"),
        (["--covariates", "height"], 7, "no column 'height'"),
        (["--folds", "90"], 7, "90 folds need 90 independent groups of every class"),
    ],
)
def test_what_can_not_be_judged_is_refused_before_training(
    imported: Path, tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    common = [str(imported), str(tmp_path / "out"), "group", "--target", "dx", "--holdout", "0"]
    with pytest.raises(NeuroSSMError) as refused:
        plan_group(parse_config([*common, *options]))
    assert refused.value.exit_code == code
    assert words in str(refused.value)


def test_classes_that_differ_by_case_only_are_two_and_reported(imported: Path, tmp_path: Path) -> None:
    table = pd.read_csv(imported / "participants.tsv", sep="\t", dtype=str)
    table["dx"] = [f" {name.lower() if number % 7 == 0 else name} " for number, name in enumerate(table["dx"])]
    table.to_csv(tmp_path / "participants.tsv", sep="\t", index=False)
    options = ["--target", "dx", "--participants-file", str(tmp_path / "participants.tsv")]
    # Stray spaces are taken off; two spellings are not merged without a word.
    planned = plan_group(parse_config([str(imported), str(tmp_path / "out"), "group", *options]))
    assert {"ASD", "asd"} <= set(planned.cohort.classes)
    assert any("'ASD'" in note and "'asd'" in note and "look alike" in note for note in planned.cohort.extra["notes"])


def test_the_panel_of_baselines_fits_the_cohort(imported: Path, tmp_path: Path) -> None:
    def panel(*options: str) -> tuple[str, ...]:
        return plan_group(parse_config([str(imported), str(tmp_path), "group", *options])).analysis.baselines

    always = ("majority", "covariates", "pearson-connectivity", "tangent-connectivity")
    assert panel("--target", "dx") == (*always, "site-only")
    assert panel("--target", "age") == (*always, "site-only")
    assert panel("--target", "fiq") == (*always, "site-only", "age-only")
    assert panel("--target", "dx", "--model", "site-only") == always
    assert panel("--target", "dx", "--baselines", "linear-svm", "majority") == ("linear-svm", "majority")
    assert panel("--target", "dx", "--baselines", "none") == ()


def test_scales_in_seconds_need_a_repetition_time(command: Any, imported: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "seconds.toml"
    recipe.write_text(RECIPE.replace("width = 8", 'width = 8\nscales = [2.0, 4.0]\nscale_unit = "seconds"'))
    done = command(imported, tmp_path / "out", "group", "--target", "dx", "--holdout", "0", "--recipe", recipe)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "repetition time" in done.stdout + done.stderr
