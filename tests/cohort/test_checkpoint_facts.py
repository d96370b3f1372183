"""A checkpoint and data agree on where the regions of their atlas are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.atlas.drawing import Drawing
from bids_neurossm.checkpoint_format import CheckpointMetadata
from bids_neurossm.cohort.checkpoint_facts import check_cohort, cohort_facts
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import CheckpointError

HERE = Drawing("MNI152NLin6Asym", "2x2x2", "a" * 64)


def cohort(folder: Path, **extra: object) -> Cohort:
    """Two runs of two regions."""
    runs = pd.DataFrame({"run": ["1", "2"], "participant_id": ["1", "2"], "label": ["x", "y"]})
    series = [np.random.default_rng(index).standard_normal((20, 2)) for index in range(2)]
    return Cohort.create(folder, runs, series, ["A", "B"], ["n/a", "n/a"], "class", {"atlas": "Two", **extra})


def facts_of(trained: Cohort) -> CheckpointMetadata:
    stated = cohort_facts(trained, np.arange(2), "neurossm")
    return CheckpointMetadata(model={}, target="t", target_type="class", classes=("x", "y"), **stated)


def test_a_checkpoint_states_the_drawing_of_its_cohort(tmp_path: Path) -> None:
    facts = facts_of(cohort(tmp_path, atlas_drawing=HERE.facts()))
    assert Drawing.of_record(facts.atlas_drawing) == HERE
    assert facts_of(cohort(tmp_path)).atlas_drawing == {}


@pytest.mark.parametrize(
    ("drawing", "fits"),
    [
        (HERE, True),
        (Drawing(HERE.space, HERE.resolution, "b" * 64), False),
        (Drawing("MNI152NLin2009cAsym", HERE.resolution, "b" * 64), True),
        (Drawing(HERE.space, "1x1x1", "b" * 64), True),
        (None, True),
    ],
)
def test_data_of_another_drawing_in_the_same_space_are_refused(
    tmp_path: Path, drawing: Drawing | None, fits: bool
) -> None:
    facts = facts_of(cohort(tmp_path / "trained", atlas_drawing=HERE.facts()))
    data = cohort(tmp_path / "data", atlas_drawing=drawing.facts() if drawing is not None else {})
    if fits:
        check_cohort(facts, tmp_path / "final.safetensors", data, np.arange(2), True)
        return
    with pytest.raises(CheckpointError, match="trained on another label image in MNI152NLin6Asym") as caught:
        check_cohort(facts, tmp_path / "final.safetensors", data, np.arange(2), True)
    assert caught.value.exit_code == 8


def test_the_hash_of_the_file_counts_only_where_a_drawing_is_not_stated(tmp_path: Path) -> None:
    trained = facts_of(cohort(tmp_path / "trained", atlas_sha256="1", atlas_drawing=HERE.facts()))
    again = cohort(tmp_path / "again", atlas_sha256="2", atlas_drawing=HERE.facts())
    check_cohort(trained, tmp_path / "x", again, np.arange(2), True)
    unstated = cohort(tmp_path / "unstated", atlas_sha256="2")
    with pytest.raises(CheckpointError, match="SHA-256 of the atlas"):
        check_cohort(trained, tmp_path / "x", unstated, np.arange(2), True)
