"""What the demo says at its end is what its tables hold."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from bids_neurossm.cli.demo_table import _reference, _regions, _scores, print_findings
from bids_neurossm.files.write import write_json, write_tsv
from bids_neurossm.simulation import PlantedTruth

TRUTH = PlantedTruth("A", "S", {"nback": ["a", "b"], "flanker": ["c"]}, {"nback": 56.0, "flanker": 6.0}, {}, {}, "")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "group" / "demo"
    rows = [
        ("neurossm", "auc", "1", 0.9, 0.8, 1.0, 12),
        ("neurossm", "auc", "all", 0.85, 0.75, 1.02, 48),
        ("pearson-connectivity", "auc", "all", 0.6, 0.5, 0.7, 48),
        ("neurossm", "log_loss", "all", 0.4, 0.3, 0.5, 48),
    ]
    columns = ["model", "metric", "fold", "value", "ci_low", "ci_high", "n"]
    write_tsv(folder / "metrics.tsv", pd.DataFrame(rows, columns=columns))
    regions = pd.DataFrame({"name": list("abcde"), "importance": [0.4, 0.3, 0.05, 0.1, 0.01]})
    regions = regions.assign(label="discriminative", dominant_pathway=["raw-4", "raw-4", "raw-1", "raw-2", "raw-1"])
    write_tsv(folder / "space-S_stat-cpa_regions.tsv", regions)
    return tmp_path / "results"


def test_scores_are_those_over_all_folds_with_their_intervals(results: Path) -> None:
    assert [answer for _, answer in _scores(results / "group" / "demo")] == [
        "0.850 (0.750 to 1.000)",
        "0.600 (0.500 to 0.700)",
    ]


def test_planted_regions_are_ranked_among_all(results: Path) -> None:
    # Of three planted and two other regions, one pair of six is the wrong way round.
    assert _regions(results / "group" / "demo", TRUTH) == [
        ("AUROC of the CPA map for the 3 planted regions among 5", "0.833"),
        ("Pathway that dominates the 2 nback regions (planted period 56 s)", "raw-4 in 2"),
        ("Pathway that dominates the 1 flanker regions (planted period 6 s)", "raw-1 in 1"),
    ]


def test_a_reference_that_is_not_there_is_not_scored(results: Path) -> None:
    folder = results / "group" / "demo"
    assert _reference(folder)[0][1] == "not scored"
    row = {"row_class": ["nback"], "n_studies": [40], "n_surrogates": [1000], "rho": [0.412], "p": [0.0312]}
    write_tsv(folder / "reference.tsv", pd.DataFrame(row))
    assert _reference(folder) == [
        (
            "Partial correlation of nback with the literature (40 real analyses, 1000 spatial surrogates)",
            "0.41 (p = 0.031)",
        )
    ]


def test_files_to_look_at_are_named(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(tmp_path / "planted_truth.json", asdict(TRUTH))
    print_findings(tmp_path, results)
    said = capsys.readouterr().out
    for path in (results / "group_demo.html", results / "sub-01.html", tmp_path / "planted_truth.json"):
        assert str(path) in said
