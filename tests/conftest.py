"""Where the tests find real data, and what keeps them off the network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("NIPYPE_NO_ET", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Several test processes that each start a thread per core wait for each other most of the time: one thread each takes
# a sixth of the time on two cores. Before torch is imported; commands that a test starts set their own.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data and reference tensors, kept outside the repository."""
    folder = Path(os.environ.get("NEUROSSM_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real test data are not at {folder}; set NEUROSSM_TEST_DATA")
    return folder.resolve()


@pytest.fixture(scope="session")
def templateflow_home(shared_data: Path) -> Path:
    """Return a minimal TEMPLATEFLOW_HOME with Schaefer-400."""
    return shared_data / "atlases" / "templateflow"


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Take the right to write everywhere away for a while, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def checkpoint_file(tmp_path: Path) -> Path:
    """Write the checkpoint of a small NeuroSSM with random weights."""
    from helpers.stored_checkpoint import FACTS, state_of_model

    from bids_neurossm.training.checkpoint_tensors import save_checkpoint

    path = tmp_path / "models" / "fold-1_seed-2.safetensors"
    save_checkpoint(path, state_of_model(), FACTS)
    return path


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Bootstraps, permutations and probes have tests of their own."""
    import pandas as pd

    from bids_neurossm.analysis import evaluation_tables

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_tables, "RESAMPLES", 20)
        patch.setattr(evaluation_tables, "PERMUTATIONS", 20)
        patch.setattr(evaluation_tables, "probes", lambda *_, **__: pd.DataFrame())
        yield
