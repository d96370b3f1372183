"""Small trees of empty files that carry fMRIPrep's names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")

MakeTree = Callable[..., Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Give a function that makes an fMRIPrep dataset out of names of images (empty files)."""

    def make(*names: str) -> Path:
        dataset = tmp_path / "fmriprep"
        dataset.mkdir(exist_ok=True)
        description = {"Name": "fMRIPrep", "BIDSVersion": "1.4.0", "DatasetType": "derivative"}
        generated = [{"Name": "fMRIPrep", "Version": "23.2.0"}]
        (dataset / "dataset_description.json").write_text(json.dumps({**description, "GeneratedBy": generated}))
        for name in names:
            parts = dict(pair.split("-", 1) for pair in name.split("_") if "-" in pair)
            session = f"ses-{parts['ses']}" if "ses" in parts else ""
            folder = dataset / f"sub-{parts['sub']}" / session / "func"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return dataset

    return make
