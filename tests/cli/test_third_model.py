"""A network from one file outside the package is trained, explained, reported and applied by the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reliability.cohort import SPACE, write_atlas, write_dataset

FILE = Path(__file__).resolve().parents[1] / "third" / "gru_model.py"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-model.md"
RECIPE = "[model]\nwidth = 8\n[training]\nepochs = 2\nbatch_size = 8\nwindow = 32\n"


def installed(folder: Path, code: str = "", name: str = "gru") -> str:
    """Lay the file and its entry point where pip would put them; return the folder for PYTHONPATH."""
    folder.mkdir()
    (folder / "gru_model.py").write_text(code or FILE.read_text(encoding="utf-8"), encoding="utf-8")
    facts = folder / "gru_model-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: gru-model\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[bids_neurossm.models]\n{name} = gru_model:ENTRY\n")
    return str(folder)


@pytest.fixture(scope="module")
def extracted(command: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset, its atlas, a recipe, and the series."""
    folder = tmp_path_factory.mktemp("third")
    atlas = write_atlas(folder)
    write_dataset(folder / "dataset", atlas, 6, ("nback", "rest"))
    (folder / "gru.toml").write_text(RECIPE)
    done = command(folder / "dataset", folder / "out", "participant", "--atlas", atlas, "--space", SPACE)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def group(command: Any, folder: Path, package: str, *more: str | Path) -> Any:
    told = ("--target", "entity:task", "--folds", "2", "--holdout", "0", "--analysis-id", "third")
    chosen = ("--model", "gru", "--recipe", folder / "gru.toml", "--baselines", "majority", "--reference", "none")
    return command(folder / "dataset", folder / "out", "group", *told, *chosen, *more, PYTHONPATH=package)


def test_it_is_trained_explained_reported_and_applied(command: Any, extracted: Path, tmp_path: Path) -> None:
    package = installed(tmp_path / "site")
    done = group(command, extracted, package)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = extracted / "out" / "group" / "third"
    predictions = pd.read_csv(folder / "predictions.tsv", sep="\t")
    assert (predictions["model"] == "gru").sum() == 12
    pathways = pd.read_csv(next(folder.glob("*stat-cpa_pathways.tsv")), sep="\t")
    assert set(pathways["pathway"]) == {"series", "changes"}
    assert len(list(folder.glob("*stat-cpa*_boldmap.nii.gz"))) > 0
    methods = (folder / "methods.md").read_text()
    assert "A recurrent network (GRU, 8 units) read the series, and another one their changes." in methods
    assert "GRU predicting task" in re.sub(r"<[^>]+>| ·", "", (extracted / "out" / "group_third.html").read_text())
    checkpoint = extracted / "out" / "models" / "third" / "final.safetensors"
    atlas = next(extracted.glob("*_dseg.nii.gz"))
    told = ("--atlas", atlas, "--space", SPACE, "--checkpoint", checkpoint, "--participant-label", "001")
    done = command(extracted / "dataset", extracted / "out", "participant", *told, PYTHONPATH=package)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = list((extracted / "out" / "sub-001").rglob("*_prediction*.tsv"))
    assert len(tables) == 2
    assert pd.read_csv(tables[0], sep="\t")["class"].to_list() == ["nback", "rest"]
    # Without its package the checkpoint is refused with the reason, before anything is computed.
    done = command(extracted / "dataset", tmp_path / "other", "participant", *told)
    assert done.returncode == 8
    assert "The model 'gru' is not known" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("raise RuntimeError('no such thing')", 2, "The package gru-model, which brings the model 'gru', cannot be "
         "used: RuntimeError: no such thing"),
        ("raise SystemExit(0)", 2, "brings the model 'gru', cannot be used: SystemExit: 0"),
        ("ENTRY = 3", 2, "The package gru-model, which brings the model 'gru', cannot be used: TypeError: "
         "gru_model:ENTRY is a int; a ModelEntry is expected"),
    ],
)  # fmt: skip
def test_a_package_that_cannot_be_used_is_named(
    command: Any, extracted: Path, tmp_path: Path, code: str, exit_code: int, words: str
) -> None:
    done = group(command, extracted, installed(tmp_path / "site", code))
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("return GRUEstimator(name, spec, training, execution)", "return None",
         "cannot be used: TypeError: gru_model:create returns a NoneType, which is no model"),
        ("        means = []\n", "        raise RuntimeError('boom')\n", "cannot be used: RuntimeError: boom"),
    ],
)  # fmt: skip
def test_an_error_while_it_works_names_its_package(
    command: Any, extracted: Path, tmp_path: Path, before: str, after: str, words: str
) -> None:
    code = FILE.read_text(encoding="utf-8")
    assert before in code
    done = group(command, extracted, installed(tmp_path / "site", code.replace(before, after)), "--overwrite")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"The package gru-model, which brings the model 'gru', {words}" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_setting_that_it_does_not_know_is_named(command: Any, extracted: Path, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(RECIPE.replace("width", "breadth"))
    done = group(command, extracted, installed(tmp_path / "site"), "--recipe", tmp_path / "other.toml", "--overwrite")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "[model]: unknown setting 'breadth'" in done.stdout + done.stderr


def test_logits_of_another_shape_are_refused(command: Any, extracted: Path, tmp_path: Path) -> None:
    code = FILE.read_text(encoding="utf-8").replace("torch.randn(2, config.n_outputs,", "torch.randn(2, 5,")
    code = code.replace("torch.zeros(config.n_outputs)", "torch.zeros(5)")
    done = group(command, extracted, installed(tmp_path / "site", code), "--overwrite")
    assert done.returncode == 8, done.stdout + done.stderr
    assert "gru_model.GRUModel returns logits of shape (" in done.stdout + done.stderr


def test_two_packages_with_one_name_are_both_named(command: Any, extracted: Path, tmp_path: Path) -> None:
    package = installed(tmp_path / "site")
    shutil.copytree(tmp_path / "site" / "gru_model-1.0.dist-info", tmp_path / "site" / "other_gru-1.0.dist-info")
    (tmp_path / "site" / "other_gru-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other-gru\nVersion: 1.0\n"
    )
    done = group(command, extracted, package)
    assert done.returncode == 2
    assert "Several packages bring a model 'gru': " in done.stdout + done.stderr
    assert {"gru-model", "other-gru"} <= set(re.findall(r"[\w-]+", done.stdout + done.stderr))


def test_reading_the_command_line_runs_no_code_of_others(command: Any, tmp_path: Path) -> None:
    package = installed(tmp_path / "site", "open('it-ran', 'w').close()")
    done = command("--help", PYTHONPATH=package)
    assert done.returncode == 0
    assert not Path("it-ran").exists()
    done = command(tmp_path, tmp_path / "out", "group", "--target", "dx", "--model", "nothing", PYTHONPATH=package)
    assert done.returncode == 2
    assert "known are age-only, covariates, gru," in done.stdout + done.stderr
    assert not Path("it-ran").exists()


def test_the_page_shows_this_file() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert FILE.read_text(encoding="utf-8") in blocks
    assert json.dumps("gru_model:ENTRY") in PAGE.read_text(encoding="utf-8")
