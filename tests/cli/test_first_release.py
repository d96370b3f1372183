"""An output dataset of 0.1.0 is gone on with: nothing is trained again that shows that it belongs to its result."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from helpers.cubes import group_options, make_dataset, participant_options
from safetensors.torch import load, save

from bids_neurossm.analysis.cells import Cell
from bids_neurossm.files.hashing import hash_file

FOLDS = ("fold-1_seed-1", "fold-2_seed-1")
AGAIN = "the model is trained again: version 0.1.0 did not record its checkpoint, and"


#: A command whose cells are hashed as in 0.1.0 and name no files.
BY_0_1_0 = """
import sys
from bids_neurossm.cli.run import main
from bids_neurossm.analysis.cells import Analysis
Analysis.cell_hash = Analysis.cell_hash_of_0_1_0
Analysis.checkpoint_hashes = lambda *_: {}
sys.exit(main())
"""

Group = Callable[..., str]


@pytest.fixture(scope="module")
def study(command: Any, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of eight participants and an analysis of them as 0.1.0 left it."""
    folder = tmp_path_factory.mktemp("study")
    make_dataset(folder, 8)
    table = (folder / "people.tsv").read_text().splitlines()
    ages = [f"{row}\t{50 + number}" for number, row in enumerate(table[1:])]
    (folder / "people.tsv").write_text("\n".join([f"{table[0]}\tage", *ages]) + "\n")
    (folder / "linear.yml").write_text("plugin: Linear\n")
    done = command(folder / "fmriprep", folder / "old", "participant", *participant_options(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    first = [sys.executable, "-c", BY_0_1_0, *arguments(folder, folder / "old")]
    done = subprocess.run(first, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(folder / "old" / "logs" / "analyses")
    for path in (folder / "old" / "models" / "g").glob("*.safetensors"):
        as_0_1_0(path)
    return folder


def as_0_1_0(path: Path) -> None:
    """Take out of a checkpoint what 0.1.0 did not write: the hash of the settings and the drawing of the atlas."""
    path.write_bytes(save(load(path.read_bytes())))
    facts = tomllib.loads(path.with_suffix(".toml").read_text())
    del facts["atlas_drawing"]
    path.with_suffix(".toml").write_text(tomli_w.dumps({**facts, "sha256": hash_file(path)}))


def arguments(folder: Path, out: Path) -> list[str]:
    """Command line of the group level, which stays in one process."""
    plugin = ["--use-plugin", str(folder / "linear.yml")]
    return [str(folder / "fmriprep"), str(out), "group", *group_options(folder), *plugin, "--no-cpa"]


@pytest.fixture
def group(study: Path, command: Any) -> Group:
    """Run the group command, and return what it said."""

    def run(out: Path, *options: str) -> str:
        done = command(*arguments(study, out), *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout + done.stderr)

    return run


@pytest.fixture
def out(study: Path, tmp_path: Path) -> Path:
    shutil.copytree(study / "old", tmp_path / "out")
    return tmp_path / "out"


def written(out: Path) -> dict[str, int]:
    """When each checkpoint was written; one that is trained again is written again."""
    return {path.stem: path.stat().st_mtime_ns for path in (out / "models" / "g").glob("*.safetensors")}


def trained(out: Path, before: dict[str, int]) -> list[str]:
    return sorted(name for name, time in written(out).items() if before[name] != time)


def cell(out: Path, name: str) -> Cell:
    return Cell.load(out / "models" / "g" / "cells" / f"neurossm_{name}.npz")


def test_models_that_repeat_the_predictions_of_their_cells_are_kept(group: Group, out: Path) -> None:
    before, cells = written(out), {name: cell(out, name) for name in FOLDS}
    assert all(each.files == {} for each in cells.values())
    told = group(out)
    assert trained(out, before) == ["final"], "it has nobody to predict"
    assert told.count(AGAIN) == 1
    assert f"final seed-1: {AGAIN} the result has no held-out predictions to compare the checkpoint with." in told
    for name, earlier in cells.items():
        now = cell(out, name)
        assert now.digest == earlier.digest
        assert now.files[f"{name}.safetensors"] == hash_file(out / "models" / "g" / f"{name}.safetensors")
        assert len(now.files) == 2
    before = written(out)
    assert AGAIN not in group(out)
    assert trained(out, before) == []


def test_checkpoints_of_another_setting_and_of_another_fold_are_trained_again(
    study: Path, group: Group, out: Path, tmp_path: Path
) -> None:
    """The first as a command with another recipe leaves it that is killed before its cell is written."""
    models = out / "models" / "g"
    expected = tensors(models / "fold-1_seed-1.safetensors")
    move(models / "fold-1_seed-1", models / "fold-2_seed-1")
    shutil.copytree(study / "old", tmp_path / "longer")
    (tmp_path / "longer.toml").write_text((study / "own.toml").read_text().replace("epochs = 1", "epochs = 2"))
    group(tmp_path / "longer", "--recipe", str(tmp_path / "longer.toml"), "--only-fold", "1", "--only-seed", "1")
    move(tmp_path / "longer" / "models" / "g" / "fold-1_seed-1", models / "fold-1_seed-1")
    as_0_1_0(models / "fold-1_seed-1.safetensors")
    assert tensors(models / "fold-1_seed-1.safetensors") != expected
    before = written(out)
    told = group(out)
    assert trained(out, before) == ["final", *FOLDS]
    assert f"fold-1 seed-1: {AGAIN} fold-1_seed-1.safetensors does not repeat the predictions of the result." in told
    assert f"fold-2 seed-1: {AGAIN} fold-2_seed-1.safetensors was trained on other runs or with another seed." in told
    assert tensors(models / "fold-1_seed-1.safetensors") == expected


def move(source: Path, target: Path) -> None:
    """Put both files of a checkpoint in the place of another one."""
    for suffix in (".safetensors", ".toml"):
        shutil.copyfile(source.with_suffix(suffix), target.with_suffix(suffix))


def tensors(path: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load(path.read_bytes()).items()}
