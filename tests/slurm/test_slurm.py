"""The three ways onto a cluster, through a real SLURM: `make slurm-test`.

An array over participants; Nipype's own plugin; an array over folds and seeds that a plain `group` gathers.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm import cluster

from bids_neurossm.cli.array_script import cells_script, participant_script

pytestmark = pytest.mark.slurm

N_PARTICIPANTS = 20
GROUP = ("group", "--target", "entity:task", "--recipe", "demo", "--folds", "4", "--reference", "none")
MEMORY, MINUTES = 2000, 30


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """Environment in which sbatch reaches a cluster of two processors."""
    reason = cluster.missing()
    if reason:
        pytest.skip(reason)
    # Under /tmp, since the names of sockets are short.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        cluster.running_cluster(Path(folder), cpus=2) as environment,
    ):
        bin_folder = str(Path(sys.executable).parent)
        yield {**environment, "PATH": f"{bin_folder}:{environment['PATH']}", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty participants with two short runs each."""
    from bids_neurossm.simulation import simulate_derivatives

    folder = tmp_path_factory.mktemp("fmriprep")
    simulate_derivatives(folder, n_participants=N_PARTICIPANTS, n_volumes=80)
    return folder


@pytest.fixture(scope="module")
def results(slurm: dict[str, str], dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an array of one participant per task left in one folder."""
    out = tmp_path_factory.mktemp("array") / "out"
    arguments = [str(dataset), str(out), "participant", "--atlas", "HarvardOxford", "--dry-run"]
    labels = [f"{number:02d}" for number in range(1, N_PARTICIPANTS + 1)]
    states = submitted(slurm, out.parent, participant_script(arguments, labels, MEMORY, MINUTES), seconds=900)
    assert states == {str(task): "COMPLETED 0:0" for task in range(1, N_PARTICIPANTS + 1)}, logs(out.parent)
    return out


def submitted(slurm: dict[str, str], folder: Path, script: str, seconds: float) -> dict[str, str]:
    """Submit a script in a folder, wait, and return how each task ended."""
    path = folder / "array.sh"
    path.write_text(script, encoding="utf-8")
    # The machine need not have the memory that a real node has.
    command = ["sbatch", "--parsable", "--mem=0", str(path)]
    job = subprocess.run(command, cwd=folder, env=slurm, capture_output=True, text=True, check=True).stdout.strip()
    cluster.wait_for_jobs(slurm, seconds)
    return cluster.job_states(slurm, job)


def logs(folder: Path) -> str:
    """Return the end of every log of a job."""
    return "\n".join(f"== {path.name}\n{path.read_text()[-600:]}" for path in sorted(folder.glob("*.log")))


def group(
    slurm: dict[str, str], dataset: Path, out: Path, analysis: str, *more: str
) -> subprocess.CompletedProcess[str]:
    """Run the group level on this machine."""
    command = [sys.executable, "-m", "bids_neurossm", str(dataset), str(out), *GROUP, "--analysis-id", analysis, *more]
    return subprocess.run(command, env=slurm, capture_output=True, text=True, timeout=900, check=False)


def tables(out: Path, analysis: str) -> dict[str, bytes]:
    """Return the tables of an analysis."""
    names = ("splits", "predictions", "metrics", "comparison")
    return {name: (out / "group" / analysis / f"{name}.tsv").read_bytes() for name in names}


def test_twenty_tasks_into_one_folder(slurm: dict[str, str], results: Path, dataset: Path) -> None:
    series = sorted(results.glob("sub-*/func/*_timeseries.tsv"))
    assert len(series) == 2 * N_PARTICIPANTS
    assert len(list(results.glob("sub-*.html"))) == N_PARTICIPANTS
    assert json.loads((results / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert not [path for path in results.rglob(".*") if path.name != ".bidsignore"], "a temporary name is left"
    again = subprocess.run(
        [sys.executable, "-m", "bids_neurossm", dataset, results, "participant", "--atlas", "HarvardOxford"],
        env=slurm, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert again.returncode == 0
    assert f"{2 * N_PARTICIPANTS} of them already finished" in again.stdout


def test_cells_as_an_array_and_as_jobs_of_nipype_give_the_same(
    slurm: dict[str, str], results: Path, dataset: Path, tmp_path: Path
) -> None:
    arguments = [str(dataset), str(results), *GROUP, "--analysis-id", "array"]
    states = submitted(slurm, tmp_path, cells_script(arguments, 4, 1, MEMORY, MINUTES), seconds=900)
    assert states == {str(task): "COMPLETED 0:0" for task in range(1, 5)}, logs(tmp_path)
    cells = results / "models" / "array" / "cells"
    trained = {path.name: path.stat().st_mtime_ns for path in cells.glob("neurossm_fold-*.npz")}
    assert len(trained) == 4
    gathered = group(slurm, dataset, results, "array")
    assert gathered.returncode == 0, gathered.stderr + gathered.stdout
    assert {name: (cells / name).stat().st_mtime_ns for name in trained} == trained, "a cell was trained again"

    plugin = tmp_path / "slurm.yml"
    shared = tmp_path / "work"
    plugin.write_text(
        "plugin: SLURM\nplugin_args:\n  sbatch_args: '--cpus-per-task=1 --mem=0'\n  poll_sleep_duration: 0.5\n",
        encoding="utf-8",
    )
    submitted_nodes = group(slurm, dataset, results, "plugin", "--use-plugin", str(plugin), "-w", str(shared))
    assert submitted_nodes.returncode == 0, submitted_nodes.stderr + submitted_nodes.stdout
    assert tables(results, "plugin") == tables(results, "array")
