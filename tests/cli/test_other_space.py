"""A checkpoint of one space is applied to runs in another one; that is a note."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers.small_runs import SPACE, add_run, describe, write_atlas

from bids_neurossm.checkpoint_format import CheckpointMetadata
from bids_neurossm.cli.run import main
from bids_neurossm.cohort.checkpoint_facts import plain_settings
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig
from bids_neurossm.training.checkpoint_tensors import save_checkpoint

NOTE = (
    f"final.safetensors was trained on Boxes8 in MNI152NLin2009cAsym and is applied to {SPACE}: the regions are the "
    "same, their borders can differ by some millimetres."
)


def checkpoint(folder: Path, space: str) -> Path:
    """Save the smallest model, untrained, for the eight boxes as they are drawn in a space."""
    config = NeuroSSMConfig(n_regions=8, n_outputs=2, scales=(1, 2), streams=("raw",), width=4, state=2, depth=1)
    facts = CheckpointMetadata(
        model=plain_settings(config),
        target="group",
        target_type="class",
        classes=("x", "y"),
        regions=tuple(f"box{number}" for number in range(1, 9)),
        atlas="Boxes8",
        repetition_time=2.0,
        window=32,
        denoise="none",
        atlas_drawing={"Space": space, "Resolution": "8x8x8", "LabelsSHA256": "a" * 64},
    )
    save_checkpoint(folder / "final.safetensors", NeuroSSM(config).state_dict(), facts)
    return folder / "final.safetensors"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    dataset = describe(tmp_path / "fmriprep")
    add_run(dataset, "sub-01_task-rest")
    fixed = ["--atlas", str(write_atlas(tmp_path)), "--space", SPACE, "--denoise", "none", "--nprocs", "1", "--no-cpa"]
    return [str(dataset), str(tmp_path / "out"), "participant", *fixed]


def test_a_checkpoint_of_2009c_is_applied_to_6asym_with_a_note(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = checkpoint(tmp_path, "MNI152NLin2009cAsym")
    assert main([*options, "--checkpoint", str(model)]) == 0
    assert "".join(capsys.readouterr()).count(NOTE) == 1
    (sidecar,) = (tmp_path / "out").glob("sub-01/func/*_prediction.json")
    assert json.loads(sidecar.read_text())["Warnings"] == [NOTE]
    predicted = pd.read_csv(sidecar.with_suffix(".tsv"), sep="\t")
    assert predicted["class"].tolist() == ["x", "y"]


def test_another_drawing_in_the_same_space_is_refused(
    tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = checkpoint(tmp_path, SPACE)
    assert main([*options, "--checkpoint", str(model)]) == 8
    assert f"was trained on another label image in {SPACE}" in "".join(capsys.readouterr())
    assert not (tmp_path / "out").exists()
