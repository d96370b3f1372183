"""From nothing to twenty participants through a real SLURM, as docs/hpc.md says: `make slurm-test`.

An array over participants; an array over folds and seeds that a plain `group` gathers; Nipype's own plugin.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm import cluster
from slurm.page import commands, typed

pytestmark = pytest.mark.slurm

N_PARTICIPANTS, FOLDS = 20, 4
#: What the page asks for, and what is asked for here.
SAID = "--target dx --participants-file /data/raw/participants.tsv"
TARGET = f"--target entity:task --recipe demo --folds {FOLDS} --seeds 1 --baselines majority --reference none"


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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed; holds twenty participants with two short runs each."""
    from bids_neurossm.simulation import simulate_derivatives

    folder = tmp_path_factory.mktemp("lab")
    simulate_derivatives(folder / "fmriprep", n_participants=N_PARTICIPANTS, n_volumes=80)
    return folder


@pytest.fixture(scope="module")
def places(folder: Path) -> dict[str, str]:
    """What the page says, and what it is here."""
    return {
        "/data/fmriprep": str(folder / "fmriprep"),
        "/data/neurossm": str(folder / "out"),
        "/scratch/neurossm": str(folder / "work"),
        "Schaefer400": "HarvardOxford",
    }


@pytest.fixture(scope="module")
def results(slurm: dict[str, str], folder: Path, places: dict[str, str]) -> Path:
    """What sections 3 and 4 of the page leave: one participant, then an array of all, in one folder."""
    (one,) = commands("3")
    done = typed(one, places, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "2 of 2 runs done" in done.stdout
    (array,) = commands("4")
    done = typed(array, places, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    cluster.wait_for_jobs(slurm, 900)
    states = cluster.job_states(slurm, "neurossm")
    # The first participant is there already, and has no task.
    assert states == {str(task): "COMPLETED 0:0" for task in range(1, N_PARTICIPANTS)}, logs(folder)
    return folder / "out"


def logs(folder: Path) -> str:
    """Return the end of every log of a job."""
    return "\n".join(f"== {path.name}\n{path.read_text()[-600:]}" for path in sorted(folder.glob("*.log")))


def tables(out: Path, analysis: str) -> dict[str, bytes]:
    """Return the tables of an analysis."""
    names = ("splits", "predictions", "metrics", "comparison")
    return {name: (out / "group" / analysis / f"{name}.tsv").read_bytes() for name in names}


def test_twenty_tasks_into_one_folder(
    slurm: dict[str, str], folder: Path, places: dict[str, str], results: Path
) -> None:
    series = sorted(results.glob("sub-*/func/*_timeseries.tsv"))
    assert len(series) == 2 * N_PARTICIPANTS
    assert len(list(results.glob("sub-*.html"))) == N_PARTICIPANTS
    assert json.loads((results / "dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert not [path for path in results.rglob(".*") if path.name != ".bidsignore"], "a temporary name is left"


def test_what_is_left_is_told_and_the_whole_is_gathered(
    slurm: dict[str, str], folder: Path, places: dict[str, str], results: Path
) -> None:
    assert not (results / "quality.tsv").exists()
    (whole,) = commands("5")
    done = typed(whole, places, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len((results / "quality.tsv").read_text().splitlines()) == 1 + 2 * N_PARTICIPANTS
    for path in sorted(results.glob("sub-0[56]/func/*_timeseries.json")):
        path.unlink()
    block = commands("4")[0].partition("sbatch")[0]
    done = typed(block, places, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    script = (folder / "participants.sh").read_text()
    assert re.search(r"LABELS=\(\n05 06\n\)", script), script
    subprocess.run(["sbatch", "participants.sh"], cwd=folder, env=slurm, check=True, capture_output=True)
    cluster.wait_for_jobs(slurm, 300)
    assert len(list(results.glob("sub-*/func/*_timeseries.json"))) == 2 * N_PARTICIPANTS


def test_cells_as_an_array_and_as_jobs_of_nipype_give_the_same(
    slurm: dict[str, str], folder: Path, places: dict[str, str], results: Path
) -> None:
    array, plugin = commands("6")
    options = {**places, f"{SAID} --seeds 3": f"{TARGET} --analysis-id array"}
    done = typed(array, options, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    cluster.wait_for_jobs(slurm, 900)
    cells = cluster.job_states(slurm, "neurossm-cells")
    assert cells == {str(task): "COMPLETED 0:0" for task in range(1, FOLDS + 1)}, logs(folder)
    assert set(cluster.job_states(slurm, "wrap").values()) == {"COMPLETED 0:0"}, logs(folder)
    # No cell is trained again: the command that gathers would tell its epochs.
    gathered = next(folder.glob("neurossm-group-*.log")).read_text()
    assert "neurossm fold-1 seed-1: epoch" not in gathered
    assert (results / "group_array.html").is_file()

    (folder / "slurm-plugin.yml").write_text(
        "plugin: SLURM\nplugin_args:\n  sbatch_args: '--cpus-per-task=1 --mem=4000M'\n  poll_sleep_duration: 0.5\n",
        encoding="utf-8",
    )
    options = {
        "/data/fmriprep": places["/data/fmriprep"],
        "/data/neurossm": places["/data/neurossm"],
        SAID: f"--atlas HarvardOxford {TARGET} --analysis-id plugin",
        "/shared/work": str(folder / "shared"),
    }
    done = typed(plugin, options, folder, slurm)
    assert done.returncode == 0, done.stderr + done.stdout
    assert tables(results, "plugin") == tables(results, "array")
