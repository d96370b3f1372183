"""Checks of maps: agreement over folds and seeds, and the control that they rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.held_out_cells import cell

from bids_neurossm.analysis.map_checks import agreement_check_over, permutation_p
from bids_neurossm.cohort.store import Cohort


def test_without_controls_it_is_not_known_whether_anything_was_learned() -> None:
    assert np.isnan(permutation_p(pd.DataFrame({"control": ["probe: site"], "p": [0.01]})))


def test_the_control_with_permuted_labels_is_found_among_the_others() -> None:
    controls = pd.DataFrame({"control": ["probe: site", "labels permuted within folds"], "p": [0.01, 0.4]})
    assert permutation_p(controls) == 0.4


def test_maps_of_folds_are_averaged_over_seeds_before_they_are_compared(tmp_path: Path) -> None:
    """Fold 1 finds regions (2, 1, 0) over its seeds, fold 2 (0, 1, 2): they are opposite."""
    runs = pd.DataFrame({"run": list("ab"), "participant_id": list("ab"), "label": ["x", "y"]})
    series = np.random.default_rng(0).normal(size=(2, 9, 3))
    cohort = Cohort.create(tmp_path, runs, series, list("pqr"), list("pqr"), "class")
    # Pathway 1 speaks against, and has no weight in a map.
    one, other = ([[[1.0, 0.0, 0.0], [0.0, 0.0, 9.0]]], [[[1.0, 1.0, 0.0], [0.0, 0.0, 9.0]]])
    cells = [
        cell([0], [[1.0, 0.0]], [[2.0, -1.0]], one, fold=1, seed=1),
        cell([0], [[1.0, 0.0]], [[2.0, -1.0]], other, fold=1, seed=2),
        cell([1], [[1.0, 0.0]], [[2.0, -1.0]], [[[0.0, 0.0, 1.0], [9.0, 0.0, 0.0]]], fold=2, seed=1),
        cell([1], [[1.0, 0.0]], [[2.0, -1.0]], [[[0.0, 1.0, 1.0], [9.0, 0.0, 0.0]]], fold=2, seed=2),
        cell([0], [[1.0, 0.0]], fold=3),
    ]
    found = agreement_check_over(cells, cohort, "", "folds")
    assert found.check == "agreement over folds (mean correlation)"
    assert found.value == pytest.approx(-1)
    assert found.passed is False
    # Over seeds: (0.5, 0, 0.5) and (0.5, 1, 0.5) are opposite as well.
    assert agreement_check_over(cells, cohort, "", "seeds").value == pytest.approx(-1)
    # Only fold 1 has runs of class x: there is nothing to compare.
    assert agreement_check_over(cells, cohort, "x", "folds").passed is None
