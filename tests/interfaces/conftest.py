"""A run whose files nothing looks into."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.dataset.bold_run import BoldRun


@pytest.fixture
def run(tmp_path: Path) -> BoldRun:
    """An image with a mask and confounds; nothing looks into them."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    paths = {name: folder / name for name in ("bold.nii.gz", "mask.nii.gz", "confounds.tsv")}
    for path in paths.values():
        path.write_text(path.name)
    return BoldRun(*paths.values(), entities={"sub": "01"}, dataset=folder, repetition_time=2.0)
