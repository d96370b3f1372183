"""An encoder is pretrained on one folder and fine-tuned on another, with two commands."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from helpers.described import undescribed
from helpers.published import places

from bids_neurossm.cli import pretraining
from bids_neurossm.cli.analysis_lock import analysis_lock
from bids_neurossm.cli.parser import parse_config
from bids_neurossm.errors import UsageError

RECIPE = """\
[model]
scale_unit = "seconds"
sample = 2.0
width = 8
state = 2
nodes = 8
depth = 1
heads = 2
layers = 1
experts = 3
[model.pretraining]
epochs = 1
held_out = 0.2
[model.stages]
frozen_epochs = 1
[training]
epochs = 2
batch_size = 8
window = 96
"""


def _config(tmp_path, *arguments):
    return parse_config([str(tmp_path / "in"), str(tmp_path / "out"), "group", "--model", "lmae-rwmoe", *arguments])


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def test_one_folder_is_pretrained_on_and_another_is_fine_tuned_on(command, participant_results, tmp_path, recipe):
    first, second = tmp_path / "first", tmp_path / "second"
    model = ["--model", "lmae-rwmoe", "--recipe", recipe, "--nprocs", "1"]
    done = command(participant_results, first, "group", *model, "--pretrain")
    assert done.returncode == 0, done.stderr + done.stdout
    (encoder,) = first.glob("models/encoder_lmaerwmoe_*/encoder.safetensors")
    table = pd.read_csv(encoder.with_name("encoder_reconstruction.tsv"), sep="\t")
    assert {"lmae", "spatial ridge"} <= set(table["predictor"])
    assert str(encoder) in done.stdout
    assert undescribed(first) == []

    tuned = ["--checkpoint", encoder, "--target", "entity:task", "--analysis-id", "tasks"]
    small = ["--folds", "2", "--baselines", "none", "--reference", "none"]
    done = command(participant_results, second, "group", *model, *tuned, *small)
    assert done.returncode == 0, done.stderr + done.stdout
    folder = second / "group" / "tasks"
    usage = pd.read_csv(folder / "experts.tsv", sep="\t")
    assert usage.groupby(["mixture", "fold"])["share"].sum().round(6).eq(1).all()
    (weights,) = folder.glob("*_stat-expertweight_regions.tsv")
    of_regions = pd.read_csv(weights, sep="\t")
    assert len(of_regions) == 48
    assert of_regions[["expert-1", "expert-2", "expert-3"]].sum(axis=1).round(6).eq(1).all()
    assert len(list(folder.glob("*_stat-expertweight_desc-expert*_boldmap.nii.gz"))) == 3
    pathways = pd.read_csv(next(folder.glob("*_stat-cpa_pathways.tsv")), sep="\t")
    assert set(pathways["pathway"]) == {"expert-1", "expert-2", "expert-3"}
    page = (second / "group_tasks.html").read_text(encoding="utf-8")
    assert all(f"Expert {number}" in page for number in (1, 2, 3))
    assert "Which experts the regions of each network" in page
    facts = (second / "models" / "tasks" / "fold-1_seed-1.toml").read_text(encoding="utf-8")
    assert 'family = "lmae-rwmoe"' in facts
    assert undescribed(second) == []
    assert places(first, [str(tmp_path), str(participant_results.parents[1])]) == []
    assert places(second, [str(tmp_path), str(participant_results.parents[1])]) == []


def test_an_encoder_is_pretrained_by_one_command_at_a_time(tmp_path, monkeypatch):
    """Cells of an array share it."""
    encoder = tmp_path / "encoder.safetensors"
    encoder.touch()
    plan = SimpleNamespace(analysis=SimpleNamespace(outputs=SimpleNamespace(analysis="encoder_x")), encoder=encoder)
    locks = []

    def work(config, *_):
        locks.append([path.name.partition("-")[0] for path in config.out_dir.glob("logs/analyses/encoder_x/*.lock")])
        return []

    for name, stand_in in (("plan_pretraining", lambda config: plan), ("_work", work), ("_tell", lambda *_: None)):
        monkeypatch.setattr(pretraining, name, stand_in)
    wanted = ["--target", "age", "--pretrain-from", str(tmp_path / "series")]
    whole, cell = _config(tmp_path, *wanted), _config(tmp_path, *wanted, "--only-fold", "1", "--only-seed", "1")
    assert pretraining.with_pretrained(whole, tmp_path).evaluation.checkpoint == encoder
    pretraining.with_pretrained(cell, tmp_path)
    assert locks == [["group.lock"], ["cell"]]
    with analysis_lock(tmp_path / "out", "encoder_x"):
        for config in (whole, cell):
            with pytest.raises(UsageError, match="Another command is making the analysis encoder_x"):
                pretraining.with_pretrained(config, tmp_path)
    with analysis_lock(tmp_path / "out", "encoder_x", cell=True):
        pretraining.with_pretrained(cell, tmp_path)
        with pytest.raises(UsageError, match="Another command is making the analysis encoder_x"):
            pretraining.with_pretrained(whole, tmp_path)
    assert len(locks) == 3


def test_a_pretraining_can_be_looked_at_first(command, participant_results, tmp_path: Path, recipe):
    done = command(
        participant_results, tmp_path / "out", "group", "--model", "lmae-rwmoe", "--recipe", recipe, "--pretrain",
        "--dry-run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "An encoder from" in done.stdout
    assert not (tmp_path / "out").exists()
