"""A command as a whole checks itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm import config as cfg
from bids_neurossm.errors import UsageError


class TestRunConfig:
    def test_the_output_is_never_the_input(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (tmp_path / "link").symlink_to(data)
        monkeypatch.chdir(tmp_path)
        for out in (data, Path("data"), tmp_path / "x" / ".." / "data", tmp_path / "link"):
            with pytest.raises(UsageError, match="the input is never written to"):
                cfg.RunConfig(data, out, "participant")

    def test_a_folder_inside_the_input_is_the_habit_of_raw_datasets(self, tmp_path: Path) -> None:
        out = tmp_path / "derivatives" / "bids-neurossm"
        assert cfg.RunConfig(tmp_path, out, "participant").out_dir == out

    @pytest.mark.parametrize("name", ["a b", "a/b", "..", ""])
    def test_an_analysis_is_named_like_a_folder(self, name: str) -> None:
        with pytest.raises(UsageError, match="--analysis-id"):
            cfg.RunConfig(Path("/in"), Path("/out"), "group", analysis_id=name)

    def test_an_ordinary_name_is_accepted(self) -> None:
        assert cfg.RunConfig(Path("/in"), Path("/out"), "group", analysis_id="dx_v2-1").analysis_id == "dx_v2-1"
