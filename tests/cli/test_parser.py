"""From words on the command line to a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import UsageError

LEVEL = ["in", "out", "participant"]


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
