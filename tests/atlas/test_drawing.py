"""Where the regions of an atlas are drawn, whatever file they come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from helpers.two_regions import SPACE, drawn, slabs

from bids_neurossm.atlas.drawing import Drawing


def test_a_file_of_the_same_labels_is_the_same_drawing_however_it_is_stored(tmp_path: Path) -> None:
    first = drawn(tmp_path / "a", slabs())
    again = drawn(tmp_path / "b", slabs().astype(np.float32))
    assert first.sha256 != again.sha256
    assert first.drawing == again.drawing
    assert (first.drawing.space, first.drawing.resolution) == (SPACE, "2x2x2")
    assert not first.drawing.conflicts_with(again.drawing)


def test_moved_regions_are_another_drawing_within_one_space_and_resolution(tmp_path: Path) -> None:
    first = drawn(tmp_path / "a", slabs())
    swapped = drawn(tmp_path / "b", np.where(slabs() > 0, 3 - slabs(), 0).astype(np.int16))
    shifted = np.diag([2.0, 2, 2, 1])
    shifted[0, 3] = 2
    assert first.drawing.conflicts_with(swapped.drawing)
    assert first.drawing.conflicts_with(drawn(tmp_path / "c", slabs(), affine=shifted).drawing)
    assert not first.drawing.conflicts_with(drawn(tmp_path / "d", slabs(), "MNI152NLin2009cAsym").drawing)
    assert not first.drawing.conflicts_with(drawn(tmp_path / "e", slabs(), affine=np.diag([1.0, 1, 1, 1])).drawing)


def test_the_facts_of_a_drawing_can_be_read_back(tmp_path: Path) -> None:
    drawing = drawn(tmp_path / "a", slabs()).drawing
    assert Drawing.of_record(drawing.facts()) == drawing
    assert Drawing.of_record({"Space": SPACE, "SHA256": "of 0.1.0"}) is None
