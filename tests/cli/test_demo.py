"""The demo runs the real command line, and passes its failures on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_neurossm.cli.demo import DemoError, _atlases, _run, main


def test_a_participant_for_each_fold_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "demo"), "--participants", "4"]) == 2
    assert "--participants must be at least 5, one for each fold." in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


def test_a_command_that_fails_ends_the_demo(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DemoError, match="bids-neurossm participant ended with exit code 3; see above"):
        _run([str(tmp_path / "absent"), str(tmp_path / "out"), "participant"])
    assert f"$ bids-neurossm {tmp_path / 'absent'} {tmp_path / 'out'} participant" in capfd.readouterr().out


def test_schaefer_comes_along_where_its_image_has_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    assert _atlases() == ["HarvardOxford"]
    name = "tpl-MNI152NLin6Asym_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz"
    image = tmp_path / "tpl-MNI152NLin6Asym" / name
    image.parent.mkdir()
    image.touch()
    assert _atlases() == ["HarvardOxford"]
    image.write_bytes(b"x")
    assert _atlases() == ["HarvardOxford", "Schaefer400"]
