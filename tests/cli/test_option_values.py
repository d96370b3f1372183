"""What is spelled as text on the command line becomes paths, numbers and tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.config import Selection
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import section_from, to_plain


def test_paths_become_absolute_and_names_stay_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in folders of their own; and a folder may bear the name of a recipe."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "Schaefer400").mkdir()
    config = parse_config(
        [
            *("in", "out", "group", "--recipe", "demo", "--checkpoint", "model.safetensors"),
            *("--atlas", "Schaefer400", "atlases/mine.nii.gz", "--reference-terms", "terms.toml"),
        ]
    )
    assert config.bids_dir == tmp_path / "in"
    assert config.model.recipe == "demo"
    assert config.extraction.atlas == ("Schaefer400", str(tmp_path / "atlases" / "mine.nii.gz"))
    assert config.evaluation.checkpoint == tmp_path / "model.safetensors"
    assert config.reference.terms == str(tmp_path / "terms.toml")


def test_filters_are_gathered_by_entity_under_any_spelling() -> None:
    config = parse_config(
        [
            "in",
            "out",
            "group",
            "--filter",
            "echo=1",
            "echo=2",
            "feature=feature-GSR",
            "--filter",
            "part=",
            "session=pre",
        ]
    )
    assert config.selection.filter == {"echo": ("1", "2"), "feature": ("GSR",), "part": ("",), "ses": ("pre",)}


@pytest.mark.parametrize("value", ["echo", "=1", "echo=a_b", "ec ho=1", "echo=*"])
def test_a_filter_that_is_no_entity_with_a_label_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=f"--filter .*{re.escape(value.split('=')[0])}.*expected"):
        parse_config(["in", "out", "group", "--filter", value])


def test_a_filter_may_stand_in_a_settings_file(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[selection.filter]\nfeature = "GSR"\necho = ["1", "2"]\n')
    config = parse_config(["in", "out", "group", "--config-file", str(tmp_path / "settings.toml")])
    assert config.selection.filter == {"feature": ("GSR",), "echo": ("1", "2")}
    written = to_plain(config)["selection"]
    assert section_from(Selection, written, "selection").filter == config.selection.filter
