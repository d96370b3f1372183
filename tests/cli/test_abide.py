"""Real series without an atlas image and a repetition time: imported, trained on, judged; no maps are made up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

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
    options = ["--atlas", "CC200", "--task", "rest", "--participants", shared_data / "abide" / "participants.tsv"]
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


def test_scales_in_seconds_need_a_repetition_time(command: Any, imported: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "seconds.toml"
    recipe.write_text(RECIPE.replace("width = 8", 'width = 8\nscales = [2.0, 4.0]\nscale_unit = "seconds"'))
    done = command(imported, tmp_path / "out", "group", "--target", "dx", "--holdout", "0", "--recipe", recipe)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "repetition time" in done.stdout + done.stderr
