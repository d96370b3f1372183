"""An analysis is made with one set of settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.cli.analysis_lock import analysis_folder
from bids_neurossm.cli.analysis_settings import keep_settings
from bids_neurossm.errors import UsageError


def test_other_settings_need_overwrite(tmp_path: Path) -> None:
    first = {"training": {"epochs": 2, "rate": 0.1}, "model": {"name": "neurossm"}}
    keep_settings(tmp_path, "g", first, overwrite=False)
    keep_settings(tmp_path, "g", first, overwrite=False)
    second = {**first, "training": {"epochs": 3, "rate": 0.1}}
    words = r"\(training.epochs 2 instead of 3\): give another --analysis-id, or --overwrite"
    with pytest.raises(UsageError, match=words):
        keep_settings(tmp_path, "g", second, overwrite=False)
    keep_settings(tmp_path, "other", second, overwrite=False)
    keep_settings(tmp_path, "g", second, overwrite=True)
    keep_settings(tmp_path, "g", second, overwrite=False)


def test_a_damaged_record_of_settings_is_written_again(tmp_path: Path) -> None:
    keep_settings(tmp_path, "g", {"model": "a"}, overwrite=False)
    (analysis_folder(tmp_path, "g") / "settings.json").write_text("{")
    keep_settings(tmp_path, "g", {"model": "b"}, overwrite=False)
    with pytest.raises(UsageError, match="model b instead of a"):
        keep_settings(tmp_path, "g", {"model": "a"}, overwrite=False)
