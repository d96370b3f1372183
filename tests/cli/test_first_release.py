"""An output dataset of 0.1.0 is gone on with: nothing is trained again that shows that it belongs to its result."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from cubes import group_options, make_dataset, participant_options
from safetensors.torch import load, save

from bids_neurossm.cli.run import main
from bids_neurossm.dataset.hashing import hash_file
from bids_neurossm.interfaces.analysis import Analysis, Cell
from bids_neurossm.training.neural import NeuralEstimator

FOLDS = ("neurossm_fold-1_seed-1.npz", "neurossm_fold-2_seed-1.npz")
FINAL = "neurossm_final_seed-1.npz"
AGAIN = "the model is trained again: version 0.1.0 did not record its checkpoint, and"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Series of eight participants and an analysis of them as 0.1.0 left it, with a holdout."""
    folder = tmp_path_factory.mktemp("study")
    make_dataset(folder, 8)
    table = (folder / "people.tsv").read_text().splitlines()
    ages = [f"{row}\t{50 + number}" for number, row in enumerate(table[1:])]
    (folder / "people.tsv").write_text("\n".join([f"{table[0]}\tage", *ages]) + "\n")
    (folder / "linear.yml").write_text("plugin: Linear\n")
    assert main([str(folder / "fmriprep"), str(folder / "old"), "participant", *participant_options(folder)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Analysis, "cell_hash", Analysis.cell_hash_of_0_1_0)
        patch.setattr(Analysis, "checkpoint_hashes", lambda *_: {})
        assert group(folder, folder / "old") == 0
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


def group(folder: Path, out: Path, *options: str) -> int:
    """Run the group command in this process."""
    plugin = ["--use-plugin", str(folder / "linear.yml")]
    return main([str(folder / "fmriprep"), str(out), "group", *group_options(folder), *plugin, "--no-cpa", *options])


@pytest.fixture
def out(study: Path, tmp_path: Path) -> Path:
    shutil.copytree(study / "old", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of all trainings."""
    seeds: list[int] = []
    fit = NeuralEstimator.fit

    def counted(self: Any, cohort: Any, indices: Any, seed: int) -> None:
        seeds.append(seed)
        fit(self, cohort, indices, seed)

    monkeypatch.setattr(NeuralEstimator, "fit", counted)
    return seeds


def checkpoints(out: Path) -> dict[str, str]:
    return {path.name: hash_file(path) for path in sorted((out / "models" / "g").glob("*.safetensors"))}


def cell(out: Path, name: str) -> Cell:
    return Cell.load(out / "models" / "g" / "cells" / name)


def test_models_that_repeat_the_predictions_of_their_cells_are_kept(
    study: Path, out: Path, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    before, cells = checkpoints(out), [cell(out, name) for name in FOLDS]
    assert all(each.files == {} for each in cells)
    assert group(study, out) == 0
    assert len(trained) == 1, "the final model, which has nobody to predict"
    told = "".join(capsys.readouterr())
    assert told.count(AGAIN) == 1
    assert f"final seed-1: {AGAIN} the result has no held-out predictions to compare the checkpoint with." in told
    after = checkpoints(out)
    for name, earlier in zip(FOLDS, cells, strict=True):
        model = f"{name.removeprefix('neurossm_').removesuffix('.npz')}.safetensors"
        assert after[model] == before[model]
        assert cell(out, name).digest == earlier.digest
        assert cell(out, name).files[model] == after[model]
    assert cell(out, FINAL).files["final.safetensors"] == after["final.safetensors"]
    assert group(study, out) == 0
    assert len(trained) == 1
    assert AGAIN not in "".join(capsys.readouterr())


def test_checkpoints_of_another_setting_and_of_another_fold_are_trained_again(
    study: Path, out: Path, trained: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first as a command with another recipe leaves it that is killed before its cell is written."""
    models = out / "models" / "g"
    expected = tensors(models / "fold-1_seed-1.safetensors")
    move(models / "fold-1_seed-1", models / "fold-2_seed-1")
    shutil.copytree(study / "old", tmp_path / "longer")
    (tmp_path / "longer.toml").write_text((study / "own.toml").read_text().replace("epochs = 1", "epochs = 2"))
    options = ("--recipe", str(tmp_path / "longer.toml"), "--only-fold", "1", "--only-seed", "1")
    assert group(study, tmp_path / "longer", *options) == 0
    move(tmp_path / "longer" / "models" / "g" / "fold-1_seed-1", models / "fold-1_seed-1")
    as_0_1_0(models / "fold-1_seed-1.safetensors")
    assert tensors(models / "fold-1_seed-1.safetensors") != expected
    trained.clear()
    capsys.readouterr()
    assert group(study, out) == 0
    assert len(trained) == 3, "both folds, and the final model"
    told = "".join(capsys.readouterr())
    assert f"fold-1 seed-1: {AGAIN} fold-1_seed-1.safetensors does not repeat the predictions of the result." in told
    assert f"fold-2 seed-1: {AGAIN} fold-2_seed-1.safetensors was trained on other runs or with another seed." in told
    assert tensors(models / "fold-1_seed-1.safetensors") == expected


def move(source: Path, target: Path) -> None:
    """Put both files of a checkpoint in the place of another one."""
    for suffix in (".safetensors", ".toml"):
        shutil.copyfile(source.with_suffix(suffix), target.with_suffix(suffix))


def tensors(path: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load(path.read_bytes()).items()}
