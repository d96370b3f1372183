"""The doctor: one line for each thing that a run needs, and the code of the first that is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def rows(done: Any) -> dict[str, dict[str, str]]:
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["what"]: each for each in events if each["event"] == "row"}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    (tmp_path / "fmriprep" / "sub-01").mkdir(parents=True)
    (tmp_path / "fmriprep" / "dataset_description.json").write_text("{}")
    return tmp_path / "fmriprep"


def test_a_healthy_place_passes(command: Any, dataset: Path, templateflow_home: Path, tmp_path: Path) -> None:
    done = command(
        *("--check", dataset, tmp_path / "new" / "out", "--log-format", "json"),
        TEMPLATEFLOW_HOME=str(templateflow_home),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(done)
    assert found["python"]["state"] == found["torch"]["state"] == found["OUT_DIR"]["state"] == "ok"
    assert found["BIDS_DIR"]["found"].endswith("1 participants")
    atlas = found["atlas Schaefer400 in MNI152NLin2009cAsym"]
    assert atlas["state"] == "ok"
    assert atlas["found"].endswith("_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz")
    assert found["atlas HarvardOxford in MNI152NLin6Asym"]["state"] == "ok"
    assert found["kernels cpu"]["found"].startswith("differs from the reference by")
    assert found["reference"]["state"] in ("ok", "note")
    assert not (tmp_path / "new").exists()


def test_the_table_is_readable_without_arguments(command: Any, templateflow_home: Path) -> None:
    done = command("--check", TEMPLATEFLOW_HOME=str(templateflow_home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything that a run needs is there." in done.stdout
    assert "BIDS_DIR" not in done.stdout


def test_an_atlas_that_is_empty_is_named(command: Any, templateflow_home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "tpl-MNI152NLin2009cAsym"
    folder.mkdir(parents=True)
    name = next((templateflow_home / folder.name).glob("*_dseg.nii.gz")).name
    (folder / name).touch()
    done = command("--check", "--log-format", "json", TEMPLATEFLOW_HOME=str(tmp_path / "home"))
    assert done.returncode == 4, done.stdout
    found = rows(done)["atlas Schaefer400 in MNI152NLin2009cAsym"]
    assert found["state"] == "bad"
    assert f"{folder / name} is empty; where there is internet run `bids-neurossm-fetch DIR`" in found["found"]
    assert (folder / name).stat().st_size == 0


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["{tmp}/empty", "{tmp}/out"], 3, "BIDS_DIR"),
        (["{tmp}/fmriprep", "{tmp}/file/out"], 5, "OUT_DIR"),
        (["--device", "cuda"], 6, "GPU"),
        (["--reference", "{tmp}/studies"], 4, "reference"),
        (["--atlas", "AAL3", "--space", "MNI152NLin6Asym"], 4, "atlas AAL3 in MNI152NLin6Asym"),
    ],
)
def test_the_code_is_that_of_what_is_wrong(
    command: Any, dataset: Path, templateflow_home: Path, tmp_path: Path, arguments: list[str], code: int, what: str
) -> None:
    import torch

    if code == 6 and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    places = [each.replace("{tmp}", str(tmp_path)) for each in arguments]
    done = command(
        "--check", *places, "--log-format", "json", TEMPLATEFLOW_HOME=str(templateflow_home), HOME="/nowhere"
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert [name for name, row in rows(done).items() if row["state"] == "bad"] == [what]
    assert "Traceback" not in done.stderr
