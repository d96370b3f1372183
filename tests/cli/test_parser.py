"""From words on the command line to a configuration."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.config import Selection
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import section_from, to_plain

LEVEL = ["in", "out", "participant"]


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


@pytest.mark.parametrize("option", ["--participant-label", "--participant_label"])
def test_options_have_two_spellings_and_prefixes_are_tolerated(option: str) -> None:
    config = parse_config([*LEVEL, option, "sub-01", "02", "--task_id", "task-rest"])
    assert config.selection.participant_label == ("01", "02")
    assert config.selection.task_id == ("rest",)


def test_the_command_line_wins_over_the_settings_file_which_wins_over_defaults(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(
        "[extraction]\ndenoise = 'none'\nmin_volumes = 10\n[training]\nepochs = 30\n[execution]\nnprocs = 3\n"
    )
    config = parse_config([*LEVEL, "--config-file", str(settings), "--min-volumes", "20"])
    assert config.extraction.denoise == "none"
    assert config.extraction.min_volumes == 20
    assert config.execution.nprocs == 3
    # Kept as said: it must win over a recipe, even where it equals a default.
    assert config.training == {"epochs": 30}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[extraction]\nvolumes = 3\n", "unknown setting 'volumes'"),
        ("[extractions]\n", "unknown table 'extractions'"),
        ("[training]\nepochs = 'many'\n", "'many' is a str"),
        ("[training]\nepochs = 0\n", "at least 1"),
        ("epochs = [", "not valid TOML"),
    ],
)
def test_a_settings_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, words: str) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(text)
    with pytest.raises(UsageError, match=words):
        parse_config([*LEVEL, "--config-file", str(settings)])


def test_a_configuration_that_was_written_is_read_again(tmp_path: Path) -> None:
    import tomli_w

    from bids_neurossm.files.toml_files import to_plain

    arguments = ["--derivatives", "raw=/data/raw", "--fd-threshold", "0.5", "--no-cpa", "--analysis-id", "mine"]
    config = parse_config([*LEVEL, *arguments])
    written = tmp_path / "config.toml"
    written.write_text(tomli_w.dumps(to_plain(config)))
    assert parse_config([*LEVEL, "--config-file", str(written)]) == config


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
