"""A cell vouches for the checkpoint that it was written with, and for no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bids_neurossm import registry
from bids_neurossm.analysis.cells import Analysis, Cell, CellKey, has_its_model, matching_cell
from bids_neurossm.config import Attribution, Evaluation, Execution, ModelSpec, Reference, Training
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.errors import RunError
from bids_neurossm.files.hashing import hash_file

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


def finished(analysis: Analysis, key: CellKey, digest: str = "digest") -> bool:
    cell = matching_cell(analysis, key, [digest])
    return cell is not None and has_its_model(analysis, cell)


def test_a_cell_names_both_files_of_its_checkpoint(analysis: Analysis, model: Path) -> None:
    hashes = analysis.checkpoint_hashes(OWN)
    assert hashes == {
        "fold-1_seed-1.safetensors": hash_file(model),
        "fold-1_seed-1.toml": hash_file(model.with_suffix(".toml")),
    }
    save(analysis, OWN, hashes)
    found = matching_cell(analysis, OWN, ["other", "digest"])
    assert found is not None
    assert found.files == hashes
    assert finished(analysis, OWN)
    assert matching_cell(analysis, OWN, ["another digest"]) is None


@pytest.mark.parametrize("suffix", [".safetensors", ".toml"])
def test_a_cell_whose_checkpoint_was_replaced_or_removed_is_not_finished(
    analysis: Analysis, model: Path, suffix: str
) -> None:
    save(analysis, OWN, analysis.checkpoint_hashes(OWN))
    path = model.with_suffix(suffix)
    path.write_text("of another recipe")
    assert not finished(analysis, OWN)
    path.unlink()
    assert not finished(analysis, OWN)


def test_a_cell_of_the_first_release_names_no_checkpoint(analysis: Analysis, model: Path) -> None:
    save(analysis, OWN, {})
    assert not finished(analysis, OWN)


#: Computed by 0.1.0 for a recipe of the package and one of a lab.
BY_0_1_0 = {
    ("default", "neurossm"): "362ccf6fda1d169ede821dd8a2328ef699610fc62cb023ba81b6abd52593c238",
    ("default", "majority"): "8f5bd4b148b46e8d83a065b42715e535b5188c935251d5c593cac6c724d3f88e",
    ("/labs/recipe.toml", "neurossm"): "da0644fe76ae6913a709935723c166ff55dc0c85b881169fb660a0709c6aeda8",
    ("/labs/recipe.toml", "majority"): "8f5bd4b148b46e8d83a065b42715e535b5188c935251d5c593cac6c724d3f88e",
}


@pytest.mark.parametrize(("recipe", "model"), BY_0_1_0)
def test_the_hash_of_a_cell_is_known_as_0_1_0_wrote_it(tmp_path: Path, recipe: str, model: str) -> None:
    """Today the place of a recipe does not count."""
    analysis = Analysis(
        GroupOutputs(tmp_path, "x", {}),
        "participant",
        ModelSpec("neurossm", Path(recipe).name, {"width": 4}),
        *(("majority", "mean-pooled-mlp"), Training(), Evaluation(), Execution(nprocs=2), Attribution(), Reference()),
        ("age",),
        recipe,
    )
    place = (CellKey(model, 1, 1), "cohort", "splits")
    assert analysis.cell_hash_of_0_1_0(*place) == BY_0_1_0[recipe, model]
    same = analysis.cell_hash(*place) == BY_0_1_0[recipe, model]
    assert same == (recipe == "default" or model == "majority")


def test_a_cell_without_a_saved_model_needs_none(analysis: Analysis) -> None:
    """Baselines, other splits, variants, and a fold that has nobody left to test."""
    for key in (CellKey("majority", 1, 1), CellKey("neurossm", 1, 1, split=2), CellKey("neurossm", 1, 1, variant="x")):
        save(analysis, key, analysis.checkpoint_hashes(key))
        assert finished(analysis, key)
    save(analysis, OWN, {}, n_training=0)
    assert finished(analysis, OWN)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("[" * 200 + "]" * 200, "more than 100 brackets within each other"),
        ("{}", "does not hold the results of a cell"),
        ("[1]", "does not hold the results of a cell"),
        ('{"key": {"planet": 1}}', "does not hold the results of a cell"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused_and_made_again(analysis: Analysis, facts: str, words: str) -> None:
    path = analysis.cell_file(OWN)
    path.parent.mkdir(parents=True)
    np.savez(path, facts=np.array(facts), indices=np.arange(2), scores=np.zeros((2, 2)))
    with pytest.raises(RunError, match=words):
        Cell.load(path)
    assert not finished(analysis, OWN)


def test_cells_of_an_earlier_revision_of_a_model_are_made_again(
    analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = analysis.cell_hash(OWN, "cohort", "splits")
    entry = registry.model_entry("neurossm")
    monkeypatch.setitem(registry._MODELS, "neurossm", replace(entry, revision=lambda settings: 2))
    after = analysis.cell_hash(OWN, "cohort", "splits")
    assert after != before


def test_only_models_whose_numbers_changed_have_a_later_revision() -> None:
    settings: list[dict[str, object]] = [{}, {"pretrain": True}]
    found = {name: [registry.model_entry(name).revision(each) for each in settings] for name in registry.model_names()}
    later = {name: revisions for name, revisions in found.items() if revisions != [1, 1]}
    assert later == {"mean-pooled-mlp": [2, 2], "lmae-rwmoe": [1, 2], "lmae-rwmoe-static": [1, 2]}


def test_another_version_of_a_package_is_trained_again(analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = replace(registry.model_entry("neurossm"), package="somebody", version="1.0")

    def digest(entry: registry.ModelEntry) -> str:
        monkeypatch.setitem(registry._MODELS, "neurossm", entry)
        return analysis.cell_hash(OWN, "cohort", "splits")

    ours = replace(theirs, package="bids_neurossm", version="")
    assert len({digest(ours), digest(theirs), digest(replace(theirs, version="1.1"))}) == 3
    assert digest(ours) == digest(replace(ours, version="0.2"))  # ours are told by their revision
