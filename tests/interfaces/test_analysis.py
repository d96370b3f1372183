"""A cell vouches for the checkpoint that it was written with, and for no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.hashing import hash_file
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.interfaces.analysis import Analysis, Cell, CellKey, finished_cell

OWN = CellKey("neurossm", 1, 1)


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    return Analysis(
        GroupOutputs(tmp_path, "x", {}),
        "participant",
        *(ModelSpec(), ("majority",), Training(), Evaluation(), Execution(), Attribution(), Reference()),
    )


def save(analysis: Analysis, key: CellKey, files: dict[str, str], n_training: int = 4) -> Cell:
    """Write a cell made from ``digest``."""
    cell = Cell(key, "digest", np.arange(2), np.zeros((2, 2)), {}, n_training, files)
    cell.save(analysis.cell_file(key))
    return cell


@pytest.fixture
def model(analysis: Analysis) -> Path:
    """The two files of the first fold's checkpoint."""
    path = analysis.checkpoint_file(1, 1)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"tensors")
    path.with_suffix(".toml").write_text("facts")
    return path


def test_a_cell_names_both_files_of_its_checkpoint(analysis: Analysis, model: Path) -> None:
    hashes = analysis.checkpoint_hashes(OWN)
    assert hashes == {
        "fold-1_seed-1.safetensors": hash_file(model),
        "fold-1_seed-1.toml": hash_file(model.with_suffix(".toml")),
    }
    save(analysis, OWN, hashes)
    found = finished_cell(analysis, OWN, "digest")
    assert found is not None
    assert found.files == hashes
    assert finished_cell(analysis, OWN, "another digest") is None


@pytest.mark.parametrize("suffix", [".safetensors", ".toml"])
def test_a_cell_whose_checkpoint_was_replaced_or_removed_is_not_finished(
    analysis: Analysis, model: Path, suffix: str
) -> None:
    save(analysis, OWN, analysis.checkpoint_hashes(OWN))
    path = model.with_suffix(suffix)
    path.write_text("of another recipe")
    assert finished_cell(analysis, OWN, "digest") is None
    path.unlink()
    assert finished_cell(analysis, OWN, "digest") is None


def test_a_cell_of_the_first_release_names_no_checkpoint_and_is_trained_again(analysis: Analysis, model: Path) -> None:
    save(analysis, OWN, {})
    assert finished_cell(analysis, OWN, "digest") is None


def test_a_cell_without_a_saved_model_needs_none(analysis: Analysis) -> None:
    """Baselines, other splits, variants, and a fold that has nobody left to test."""
    for key in (CellKey("majority", 1, 1), CellKey("neurossm", 1, 1, split=2), CellKey("neurossm", 1, 1, variant="x")):
        save(analysis, key, analysis.checkpoint_hashes(key))
        assert finished_cell(analysis, key, "digest") is not None
    save(analysis, OWN, {}, n_training=0)
    assert finished_cell(analysis, OWN, "digest") is not None
