"""The graph of an analysis: a node for each cell, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.resting import resting_series

from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.cli.parser import parse_config
from bids_neurossm.planning.group import plan_group
from bids_neurossm.workflows.group import init_group_wf

LABELS = tuple(f"{number:02d}" for number in range(1, 13))
CONCLUSIONS = {"every_cell", "own_cells", "evaluate", "summary", "quality"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = resting_series(tmp_path_factory.mktemp("workflows") / "series", LABELS)
    rows = "".join(f"sub-{label}\t{'AB'[number % 2]}\n" for number, label in enumerate(LABELS))
    (found / "participants.tsv").write_text(f"participant_id\tdx\n{rows}")
    return found


def workflow_of(dataset: Path, *options: str) -> tuple[Any, Any]:
    fixed = ["--target", "dx", "--folds", "2", "--holdout", "0", "--baselines", "majority", "--recipe", "demo"]
    plan = plan_group(parse_config([str(dataset), str(dataset.parent / "out"), "group", *fixed, *options]))
    scratch = dataset.parent
    return plan, init_group_wf(plan.analysis, plan.cohort, plan.reference, scratch, scratch, scratch)


def names(workflow: Any) -> set[str]:
    return {node.name for node in workflow._graph.nodes}


def into(workflow: Any, name: str) -> dict[str, set[tuple[Any, str]]]:
    """What a node takes, by the node that gives it."""
    node = workflow.get_node(name)
    return {each.name: set(data["connect"]) for each, _, data in workflow._graph.in_edges(node, data=True)}


def test_every_cell_is_a_node_of_cohort_and_splits(dataset: Path) -> None:
    plan, workflow = workflow_of(dataset, "--no-cpa", "--seeds", "2")
    cells = names(workflow) - CONCLUSIONS - {"cohort", "splits"}
    # Two folds by two seeds, and the final model; the baseline has one seed.
    assert len(cells) == len(cells_of(plan.analysis)) == 2 * 2 + 1 + 2 + 1
    for cell in cells:
        assert into(workflow, cell) == {"cohort": {("cohort", "cohort")}, "splits": {("splits", "splits")}}
        assert list(into(workflow, "every_cell")[cell]) == [("cell", f"in{1 + _position(plan, cell)}")]


def _position(plan: Any, cell: str) -> int:
    wanted = [f"train_{key.model}_{key.place}".replace("-", "_") for key in cells_of(plan.analysis)]
    return wanted.index(cell)


def test_without_maps_the_summary_is_of_evaluation_alone(dataset: Path) -> None:
    _, workflow = workflow_of(dataset, "--no-cpa")
    assert names(workflow) >= CONCLUSIONS
    assert "maps" not in names(workflow)
    assert into(workflow, "summary") == {
        "cohort": {("cohort", "cohort")},
        "splits": {("notes", "split_notes")},
        "evaluate": {
            *(("metrics", "metrics"), ("comparison", "comparison"), ("controls", "controls")),
            ("notes", "evaluation_notes"),
        },
    }


def test_maps_are_of_the_cells_whose_models_are_kept(dataset: Path) -> None:
    plan, workflow = workflow_of(dataset)
    kept = {
        f"train_{key.model}_{key.place}".replace("-", "_")
        for key in cells_of(plan.analysis)
        if plan.analysis.keeps_model(key)
    }
    assert set(into(workflow, "own_cells")) == kept
    assert into(workflow, "maps")["own_cells"] == {("out", "cells")}
    assert ("notes", "map_notes") in into(workflow, "summary")["maps"]


def test_one_cell_of_an_array_is_trained_and_nothing_is_concluded(dataset: Path) -> None:
    _, workflow = workflow_of(dataset, "--only-fold", "2", "--only-seed", "1")
    assert names(workflow) == {"cohort", "splits", "train_neurossm_fold_2_seed_1", "train_majority_fold_2_seed_1"}
