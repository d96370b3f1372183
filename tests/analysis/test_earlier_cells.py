"""A cell of 0.1.0 takes the checkpoint next to it for its own only where that repeats its predictions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers.held_out_cells import analysis_in, cell

from bids_neurossm.analysis.cells import Cell
from bids_neurossm.analysis.earlier_cells import why_not_its_model, with_its_files
from bids_neurossm.checkpoint_format import CheckpointMetadata, write_checkpoint
from bids_neurossm.cohort.checkpoint_facts import training_hash
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.estimators import load
from bids_neurossm.files.hashing import hash_file

TRAIN = np.array([0, 1])
SCORES = np.array([[1.0, -1.0], [0.25, 0.5]])


@pytest.fixture
def cohort(tmp_path):
    runs = pd.DataFrame({"run": list("abcd"), "participant_id": list("abcd"), "label": ["x", "y"] * 2})
    series = [np.random.default_rng(number).normal(size=(9, 2)) for number in range(4)]
    return Cohort.create(tmp_path / "cohort", runs, series, ["p", "q"], ["p", "q"], "class")


@pytest.fixture
def checkpoint(cohort, monkeypatch):
    """Stand in for the checkpoint: what it states and predicts can be changed."""
    facts = SimpleNamespace(training_hash=training_hash(cohort, TRAIN), seed=7)
    found = SimpleNamespace(facts=facts, predict=lambda cohort, indices: found.scores, scores=SCORES)
    monkeypatch.setattr(load, "load_trained", lambda path, execution: found)
    return found


def asked(folder, cohort, of: Cell) -> str:
    return why_not_its_model(analysis_in(folder), cohort, of, TRAIN, 7)


def test_the_model_that_repeats_the_predictions_is_taken(tmp_path, cohort, checkpoint):
    assert asked(tmp_path, cohort, cell([2, 3], SCORES)) == ""
    checkpoint.scores = SCORES * (1 + 5e-6)  # another order of additions
    assert asked(tmp_path, cohort, cell([2, 3], SCORES)) == ""


def test_a_model_of_other_runs_another_seed_or_other_predictions_is_not_taken(tmp_path, cohort, checkpoint):
    other = "fold-1_seed-1.safetensors was trained on other runs or with another seed"
    checkpoint.facts.seed = 8
    assert asked(tmp_path, cohort, cell([2, 3], SCORES)) == other
    checkpoint.facts.seed, checkpoint.facts.training_hash = 7, training_hash(cohort, np.array([0, 2]))
    assert asked(tmp_path, cohort, cell([2, 3], SCORES)) == other
    checkpoint.facts.training_hash = training_hash(cohort, TRAIN)
    differs = "fold-1_seed-1.safetensors does not repeat the predictions of the result"
    for scores in (SCORES + 1e-3, SCORES[:, :1]):
        checkpoint.scores = scores
        assert asked(tmp_path, cohort, cell([2, 3], SCORES)) == differs


def test_a_missing_checkpoint_and_a_cell_without_predictions_are_named(tmp_path, cohort):
    assert "fold-1_seed-1.toml" in asked(tmp_path, cohort, cell([2, 3], SCORES))
    nothing = "the result has no held-out predictions to compare the checkpoint with"
    assert asked(tmp_path, cohort, cell([], np.empty((0, 2)))) == nothing


def test_a_cell_that_was_taken_names_the_files_of_its_model(tmp_path):
    analysis = analysis_in(tmp_path)
    path = analysis.checkpoint_file(1, 1)
    write_checkpoint(path, {"x": np.ones(2)}, CheckpointMetadata({}, "dx", "class", ("x", "y"), ("p", "q")))
    assert with_its_files(analysis, cell([2, 3], SCORES)).files == {
        "fold-1_seed-1.safetensors": hash_file(path),
        "fold-1_seed-1.toml": hash_file(path.with_suffix(".toml")),
    }
