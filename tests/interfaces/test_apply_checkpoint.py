"""A checkpoint is applied to its own atlas and denoising, or refused before anything is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.two_regions import SPACE, drawn, slabs

from bids_neurossm.checkpoint_format import CheckpointMetadata, write_checkpoint
from bids_neurossm.errors import CheckpointError
from bids_neurossm.interfaces.apply_checkpoint import check_checkpoint, fits, prediction_label
from bids_neurossm.signal.strategy import load_strategy

FACTS = CheckpointMetadata(
    model={},
    target="phenotype/scores:IQ total",
    target_type="class",
    classes=("x", "y"),
    regions=("a", "b"),
    atlas="Two2",
    denoise="none",
    repetition_time=2.0,
    window=32,
)


def checkpoint(folder: Path, **changed: object) -> Path:
    write_checkpoint(folder / "final.safetensors", {"weight": np.zeros(2, "f4")}, replace(FACTS, **changed))
    return folder / "final.safetensors"


def test_its_own_atlas_and_denoising_are_accepted_without_a_word(tmp_path: Path) -> None:
    atlas = drawn(tmp_path / "atlas", slabs())
    path = checkpoint(tmp_path, atlas_drawing=atlas.drawing.facts())
    assert check_checkpoint(path, [atlas], load_strategy("none")) == []


def test_an_atlas_that_is_drawn_in_another_space_is_a_note(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, atlas_drawing=drawn(tmp_path / "other", slabs(), "MNI152NLin2009cAsym").drawing.facts())
    assert check_checkpoint(path, [drawn(tmp_path / "atlas", slabs())], load_strategy("none")) == [
        f"final.safetensors was trained on Two2 in MNI152NLin2009cAsym and is applied to {SPACE}: the regions are the "
        "same, their borders can differ by some millimetres."
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"denoise": "simple"}, r"denoised with 'simple', these would be 'none'; add --denoise simple\."),
        ({"regions": ("a", "c")}, r"was trained on 2 regions of Two2, the run would be cut into Two2; choose its own"),
        ({"family": "tangent-connectivity"}, r"holds the baseline tangent-connectivity"),
        ({"family": "gru"}, r"holds a model of the family gru: "),
        ({"atlas_drawing": {"Space": SPACE, "Resolution": "2x2x2", "LabelsSHA256": "0"}}, "on another label image"),
    ],
)
def test_another_one_is_refused(tmp_path: Path, changed: dict[str, object], told: str) -> None:
    path = checkpoint(tmp_path, **changed)
    with pytest.raises(CheckpointError, match=told):
        check_checkpoint(path, [drawn(tmp_path / "atlas", slabs())], load_strategy("none"))


def test_the_regions_have_to_be_the_same_and_in_one_order(tmp_path: Path) -> None:
    atlas = drawn(tmp_path / "atlas", slabs())
    assert fits(FACTS, atlas)
    assert fits(replace(FACTS, atlas_sha256="0"), atlas)  # another release of the atlas of that name
    assert not fits(replace(FACTS, atlas_sha256="0", atlas="Pair"), atlas)
    assert not fits(replace(FACTS, regions=("b", "a")), atlas)


def test_outputs_are_called_by_the_target() -> None:
    assert prediction_label(replace(FACTS, target="IQ total")) == "IQtotal"
    assert prediction_label(replace(FACTS, target="")) == "model"
