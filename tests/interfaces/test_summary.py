"""The end of an analysis: its facts, and the card of its model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.coupling_model import analysis_of, cohort_of

from bids_neurossm.files.write import write_tsv
from bids_neurossm.interfaces.cohort import MakeSplits
from bids_neurossm.interfaces.summary import WriteSummary

N = 24


@pytest.fixture
def written(tmp_path: Path) -> tuple[dict[str, Any], str]:
    """Summary and card of an analysis whose tables have one row each."""
    cohort = cohort_of(tmp_path / "cohort", N)
    analysis = analysis_of(tmp_path, folds=3, holdout=0.25)
    common = {"analysis": analysis, "records": str(tmp_path / "records"), "cohort": str(cohort.folder)}
    MakeSplits(unit="splits", **common)._work(tmp_path)
    metric = {"model": "coupling", "set": "development", "fold": "all", "metric": "auc", "value": 0.75}
    rows = {
        "metrics": metric | {"ci_low": 0.6, "ci_high": 0.9},
        "comparison": {"model": "coupling", "baseline": "majority", "sentence": "coupling beats majority."},
        "controls": {"control": "labels permuted", "verdict": "above chance"},
    }
    paths = {name: tmp_path / f"{name}.tsv" for name in rows}
    for name, row in rows.items():
        write_tsv(paths[name], pd.DataFrame([row]))
    node = WriteSummary(
        unit="summary", **common,
        notes=["known before"], split_notes=["of splits"], evaluation_notes=["of\x1b evaluation"],
        **{name: str(path) for name, path in paths.items()},
    )  # fmt: skip
    node._work(tmp_path)
    path = Path(node._results["summary"])
    assert path == analysis.outputs.folder / "summary.json"
    return json.loads(path.read_text()), (analysis.outputs.models / "card.md").read_text()


def test_the_summary_counts_runs_people_classes_and_folds(written: tuple[dict[str, Any], str]) -> None:
    summary, _ = written
    expected = {
        "analysis": "test", "target": "dx", "target_type": "class", "scored": "participant", "classes": ["a", "b"],
        "class_counts": {"a": N // 2, "b": N // 2}, "model": "coupling", "n_participants": N, "n_runs": N,
        "n_regions": 6, "folds": 3, "repeats": 1, "seeds": 1, "leave_out": None, "holdout": 6, "atlas": None,
    }  # fmt: skip
    assert {name: summary[name] for name in expected} == expected
    assert len(summary["cohort_sha256"]) == 64
    assert "6 participants were set aside as a holdout" in summary["methods"]


def test_notes_of_all_nodes_are_gathered_in_their_order(written: tuple[dict[str, Any], str]) -> None:
    assert written[0]["notes"] == ["known before", "of splits", "of\x1b evaluation"]


def test_the_card_has_the_performance_and_shows_no_control_characters(written: tuple[dict[str, Any], str]) -> None:
    card = written[1]
    for line in (
        "coupling that predicts dx from 6 regional series.",
        "| development | auc | 0.750 | 0.600 to 0.900 |",
        "- coupling beats majority.",
        "- labels permuted: above chance",
        "- of\\u001b evaluation",
    ):
        assert line in card.splitlines()
