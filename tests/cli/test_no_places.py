"""Outputs hold no absolute path and no name of a user, and the group report does not depend on where it was made."""

from __future__ import annotations

import json
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from helpers.cubes import SPACE, make_dataset
from helpers.published import places

from bids_neurossm.cli.import_series import main as import_main
from bids_neurossm.dataset.outputs import BIDSIGNORE

USER = "quincezebra"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place") / USER / "my study"
    make_dataset(folder, damaged=True)
    return folder


def analysed(command, study: Path, out: Path) -> Path:
    """Run both levels; one image is damaged, and so is one table of series."""
    common = {"USER": USER, "LOGNAME": USER, "OMP_NUM_THREADS": "1"}
    atlas = study / "atlas" / f"tpl-{SPACE}_atlas-Cubes_dseg.nii.gz"
    options = ("--atlas", atlas, "--space", SPACE, "--denoise", "none", "--nprocs", "2")
    done = command(study / "fmriprep", out, "participant", *options, "-w", out.parent / "work", **common)
    assert done.returncode == 1, done.stdout + done.stderr
    (series,) = out.glob("sub-01/func/*_timeseries.tsv")
    series.write_bytes(series.read_bytes()[:-4000] + b"x\n")
    options = ("--target", "dx", "--participants-file", study / "people.tsv", "--recipe", study / "own.toml")
    more = ("--folds", "2", "--baselines", "majority", "--analysis-id", "g", "--nprocs", "2")
    done = command(study / "fmriprep", out, "group", *options, *more, **common)
    assert done.returncode == 1, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def near(command, study: Path) -> Path:
    return analysed(command, study, study / "out")


@pytest.fixture(scope="module")
def far(command, study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return analysed(command, study, tmp_path_factory.mktemp("elsewhere") / "much" / "deeper" / "results")


def words_of(study: Path, out: Path) -> list[str]:
    return [USER, "my study", str(study), str(out.parent), str(Path.home()) + "/", sys.prefix, "/tmp/"]


@pytest.mark.parametrize("place", ["near", "far"])
def test_no_output_names_a_place_or_a_user(place: str, study: Path, request: pytest.FixtureRequest) -> None:
    out = request.getfixturevalue(place)
    assert places(out, words_of(study, out)) == []


def test_what_went_wrong_is_told_with_paths_within_the_datasets(near: Path) -> None:
    page = (near / "sub-12.html").read_text()
    assert f"sub-12/func/sub-12_task-rest_space-{SPACE}_desc-preproc_bold.nii.gz" in page
    excluded = (near / "group" / "g" / "exclusions.tsv").read_text()
    assert "unreadable\tsub-01_task-rest_" in excluded
    assert "recipe own.toml" in (near / "group" / "g" / "methods.md").read_text()
    assert 'recipe = "own.toml"' in (near / "group_g.html").read_text().replace("&#34;", '"')


def test_every_output_but_the_description_has_the_same_bytes_elsewhere(near: Path, far: Path) -> None:
    def files(out: Path) -> dict[str, bytes]:
        named = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in named.items() if not name.startswith("logs/")}

    here, there = files(near), files(far)
    assert "group_g.html" in here
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == ["dataset_description.json"]


def test_links_are_relative_to_a_neighbour_and_a_name_otherwise(near: Path, far: Path) -> None:
    described = json.loads((near / "dataset_description.json").read_text())
    assert described["DatasetLinks"] == {"fmriprep": "../fmriprep", "input": "../fmriprep"}
    assert described["SourceDatasets"] == [{"URL": "../fmriprep"}]
    described = json.loads((far / "dataset_description.json").read_text())
    assert described["DatasetLinks"] == {}
    assert described["SourceDatasets"] == [{"Name": "fmriprep"}, {"Name": "input"}]


@pytest.mark.parametrize("place", ["near", "far"])
def test_the_validator_passes_every_file(place: str, request: pytest.FixtureRequest) -> None:
    validator = Path(sys.executable).with_name("bids-validator-deno")
    if not validator.is_file():
        pytest.skip("bids-validator-deno is not installed")
    out = request.getfixturevalue(place)
    done = subprocess.run([validator, str(out), "--json"], capture_output=True, text=True, check=False, timeout=120)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert done.returncode == 0


def test_every_file_is_known_to_bids_or_ignored(near: Path) -> None:
    known = (
        "dataset_description.json",
        "README.md",
        "descriptions.tsv",
        ".bidsignore",
        "atlas-*",
        "tpl-*/tpl-*_dseg.*",
    )
    left = []
    for path in near.rglob("*"):
        name = path.relative_to(near).as_posix()
        ignored = any(
            name.startswith(f"{pattern[1:]}/") if pattern.startswith("/") else fnmatch(path.name, pattern)
            for pattern in BIDSIGNORE
        )
        if path.is_file() and not ignored and not any(fnmatch(name, pattern) for pattern in known):
            left.append(name)
    assert left == []


def test_an_import_names_no_place(study: Path, tmp_path: Path) -> None:
    source = study / "arrays"
    source.mkdir()
    np.save(source / "run.npy", np.random.default_rng(0).standard_normal((64, 8)))
    atlas = study / "atlas" / f"tpl-{SPACE}_atlas-Cubes_dseg.nii.gz"
    options = ("--task", "rest", "--orientation", "time-roi", "--atlas", str(atlas), "--space", SPACE)
    out = tmp_path / "a" / "b" / "out"
    assert import_main([str(source), str(out), *options]) == 0
    assert places(out, words_of(study, out)) == []
