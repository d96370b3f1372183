"""Maps of classes, and what is noted about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bids_neurossm.analysis.class_map_files import map_notes
from bids_neurossm.analysis.map_tables import region_table
from bids_neurossm.attribution.maps import class_maps
from bids_neurossm.cohort.store import Cohort


def test_a_class_that_is_never_predicted_is_mapped_and_said_to_be_missed(tmp_path: Path) -> None:
    """Four runs, two of them patients, all taken for controls."""
    random = np.random.default_rng(0)
    names = [f"{number:02d}" for number in range(4)]
    runs = pd.DataFrame({"run": names, "participant_id": names, "label": ["control", "patient"] * 2})
    cohort = Cohort.create(tmp_path, runs, random.normal(size=(4, 9, 3)), list("abc"), ["n/a"] * 3, "class")
    importance, share = random.uniform(0.1, 1, (4, 2)), random.uniform(size=(4, 2, 3))
    every = class_maps(importance, share, names, runs["label"].tolist(), cohort.classes, 20)
    right = class_maps(importance[::2], share[::2], names[::2], ["control"] * 2, ["control"], 20)
    table = region_table(every, right, None, cohort, [1, 2, 3], ("raw-1", "raw-2")).set_index("label")
    assert table.loc["patient", "importance"].notna().all()
    assert table.loc["patient", "importance_correct"].isna().all()
    assert table.loc["control", "importance_correct"].notna().all()
    said = [note for note in map_notes(every, right, cohort.classes, ("raw-1", "raw-2")) if "was predicted" in note]
    assert said == [
        "No held-out run of patient was predicted to be patient: its map shows what spoke for it in runs that the "
        "model took for something else, and importance_correct is n/a."
    ]


def test_two_classes_have_one_discriminative_map_and_maps_without_importance_are_said_to_be_none() -> None:
    importance, share = np.array([[1.0], [-1.0]]), np.array([[[0.75, 0.25]]] * 2)
    maps = class_maps(importance, share, ["a", "b"], ["control", "patient"], ["control", "patient"], 20)
    assert map_notes(maps, maps, ["control", "patient"], "Of the model.") == [
        "The map of all classes is not defined: no pathway has a positive importance.",
        "The map of patient is not defined: no pathway has a positive importance.",
        "With two classes there is one discriminative map; the maps of the classes are means over their own runs and "
        "are descriptive.",
        "Of the model.",
    ]
    assert map_notes(maps[1:2], maps, ["control", "patient", "third"], "") == []
