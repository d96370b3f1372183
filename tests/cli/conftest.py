"""The real command line in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.started import Start, Started

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Offline, with caches of its own that the commands of a session share."""
    cache = tmp_path_factory.mktemp("cache")
    variables = {**os.environ, "XDG_CACHE_HOME": str(cache), "NO_COLOR": "1", "COLUMNS": "200"}
    variables.pop("TEMPLATEFLOW_HOME", None)
    return variables


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Command:
    """Run ``bids-neurossm`` with arguments and give back what it said."""

    def run(*arguments: str | Path, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bids_neurossm", *map(str, arguments)],
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Start commands that a test ends; those that it leaves are killed."""
    commands: list[Started] = []

    def begin(module: str, *arguments: str | Path, **variables: str) -> Started:
        commands.append(Started(module, arguments, {**environment, "OMP_NUM_THREADS": "1", **variables}))
        return commands[-1]

    yield begin
    for each in commands:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight simulated participants, two task runs each."""
    from bids_neurossm.simulation import simulate_derivatives

    folder = tmp_path_factory.mktemp("simulated") / "fmriprep"
    simulate_derivatives(folder, n_participants=8)
    return folder


@pytest.fixture(scope="session")
def participant_results(command: Command, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the participant level on the simulated dataset."""
    out = tmp_path_factory.mktemp("results") / "out"
    done = command(simulated, out, "participant", "--atlas", "HarvardOxford")
    assert done.returncode == 0, done.stderr + done.stdout
    return out


@pytest.fixture(scope="session")
def task_arguments() -> list[str]:
    """Options of the analysis that the group results are of."""
    told = "--target entity:task --recipe demo --folds 4 --seeds 3 --analysis-id tasks --reference nback-flanker"
    return told.split()


@pytest.fixture(scope="session")
def group_results(command: Command, simulated: Path, participant_results: Path, task_arguments: list[str]) -> Path:
    """Results of the group level on top of them."""
    done = command(simulated, participant_results, "group", *task_arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    return participant_results


@pytest.fixture
def atlases(shared_data: Path, templateflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options with which Schaefer400 and AAL3 are found without a network."""
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    return ["--atlas-dir", str(shared_data / "atlases" / "aal3")]
