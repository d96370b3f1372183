"""One simulated dataset, read by the program itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_neurossm import simulate_derivatives
from bids_neurossm.atlas import load_parcellation
from bids_neurossm.config import Selection
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.signal import parcel_means
from bids_neurossm.simulation import PlantedTruth, read_truth

T, TR = 84, 2.0

T, TR = 84, 2.0


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate_derivatives(folder, n_participants=3, n_volumes=T, repetition_time=TR, effect=2.0, seed=7)
    return folder


@pytest.fixture(scope="session")
def truth(dataset: Path) -> PlantedTruth:
    return read_truth(dataset)


@pytest.fixture(scope="session")
def runs(dataset: Path) -> dict[str, BoldRun]:
    found = find_bold_runs(dataset, Selection())
    return {f"sub-{run.participant}_task-{run.entities['task']}": run for run in found}


@pytest.fixture(scope="session")
def series(runs: dict[str, BoldRun]) -> dict[str, np.ndarray]:
    """Regional means of every run, as the program itself reads them."""
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    return {name: parcel_means(run.bold, [atlas], run.mask)[0] for name, run in runs.items()}
