"""No absolute path survives in a text that is published, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.config import Execution, RunConfig, Selection
from bids_neurossm.files.portable import absolute_paths, portable, portable_settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/ds/sub-01/func/a_bold.nii.gz is damaged.", "sub-01/func/a_bold.nii.gz is damaged."),
        ("Nothing in /data/ds; look again.", "Nothing in ds; look again."),
        ("Nothing in /data/ds.", "Nothing in ds."),
        ("Two places, /data/ds2/x.tsv and /home/jane/y.tsv.", "Two places, x.tsv and y.tsv."),
        ("/my data/ds/sub-01/x.tsv is damaged", "sub-01/x.tsv is damaged"),
        ("see (/tmp/a/b.toml: line 3)", "see (b.toml: line 3)"),
        ("the recipe '/tmp/a/b.toml'", "the recipe 'b.toml'"),
        ("file:///home/jane/ds is a link", "ds is a link"),
        ("https://doi.org/10.1/x and log(sd)/mean, 10/12, sub-*/func, a / b", None),
    ],
)
def test_of_a_path_what_identifies_the_file_is_left(text: str, expected: str | None) -> None:
    assert portable(text, [Path("/data/ds"), Path("/my data/ds"), Path("/")]) == (expected or text)


def test_settings_keep_names_and_lose_places() -> None:
    settings = {"model": {"recipe": "/home/jane/own.toml", "scales": [1, 2]}, "atlas": ["Schaefer400", "/a/b.nii.gz"]}
    assert portable_settings(settings) == {
        "model": {"recipe": "own.toml", "scales": [1, 2]},
        "atlas": ["Schaefer400", "b.nii.gz"],
    }


def test_paths_are_found_wherever_settings_hold_them() -> None:
    config = RunConfig(
        Path("/in"),
        Path("/out"),
        "group",
        selection=Selection(derivatives={"raw": Path("/raw")}),
        execution=Execution(work_dir=Path("/work")),
    )
    assert list(absolute_paths(config)) == [
        ("bids_dir", Path("/in")),
        ("out_dir", Path("/out")),
        ("raw", Path("/raw")),
        ("work_dir", Path("/work")),
    ]
