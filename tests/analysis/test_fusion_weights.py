"""What both terms of a joined model count stands in a table, and a silent one is named."""

from types import SimpleNamespace

import pandas as pd
import torch

from bids_neurossm.analysis.fusion_weights import checkpoints_of, joined_weights, weights_notes
from bids_neurossm.checkpoint_format import CheckpointMetadata
from bids_neurossm.training.checkpoint_tensors import save_checkpoint


def analysis(folder, name, seeds=2):
    def file(fold, seed):
        return folder / ("final.safetensors" if fold == 0 else f"fold-{fold}_seed-{seed}.safetensors")

    model, evaluation = SimpleNamespace(name=name), SimpleNamespace(seeds=seeds)
    return SimpleNamespace(model=model, evaluation=evaluation, checkpoint_file=file)


def keep(path, static, dynamic):
    metrics = {"training_loss": 0.1, "static_weight": static, "dynamic_weight": dynamic}
    facts = CheckpointMetadata({}, "y", "class", ("a", "b"), ("r",), metrics=metrics)
    save_checkpoint(path, {"weight": torch.zeros(1)}, facts)


def test_the_weights_of_all_models_that_are_there_are_listed(tmp_path):
    keep(tmp_path / "fold-1_seed-1.safetensors", 0.5, 0.25)
    keep(tmp_path / "fold-1_seed-2.safetensors", 0.5, 0.0)
    keep(tmp_path / "final.safetensors", 0.0, 1.0)
    found = joined_weights(checkpoints_of(analysis(tmp_path, "lmae-rwmoe-static"), 2))
    assert found.to_numpy().tolist() == [["fold-1", 1, 0.5, 0.25], ["fold-1", 2, 0.5, 0.0], ["final", 1, 0.0, 1.0]]
    dynamics, static = weights_notes(found)
    assert dynamics.startswith("In 1 of 3 trained models the training runs gave dynamics the weight 0")
    assert "decide by dynamics alone" in static


def test_a_model_that_says_nothing_decides_by_neither():
    columns = ["model", "seed", "static_weight", "dynamic_weight"]
    (note,) = weights_notes(pd.DataFrame([["fold-1", 1, 0.0, 0.0], ["fold-2", 1, 0.5, 0.25]], columns=columns))
    assert note.startswith("In 1 of 2 trained models neither dynamics nor static connectivity told anything")


def test_a_model_of_one_term_has_none(tmp_path):
    keep(tmp_path / "fold-1_seed-1.safetensors", 0.5, 0.25)
    assert checkpoints_of(analysis(tmp_path, "neurossm"), 2) == []
    both = pd.DataFrame([["fold-1", 1, 0.5, 0.25]], columns=["model", "seed", "static_weight", "dynamic_weight"])
    assert weights_notes(both) == []
