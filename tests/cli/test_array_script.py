"""The scripts that a cluster is given set what changes from task to task, and pass on the rest as it was typed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from bids_neurossm.cli.array_script import cells_script, participant_script, without_own_options

TYPED = ["/data/my study", "/data/out", "participant", "--atlas", "Schaefer400", "--dry-run", "--nprocs", "4"]
LABELS = ["01", "02", "03"]
EXAMPLES = Path(__file__).parents[2] / "docs" / "hpc"
VARIABLE = {"slurm": "SLURM_ARRAY_TASK_ID", "sge": "SGE_TASK_ID", "pbs": "PBS_ARRAY_INDEX"}


def called(script: str, tmp_path: Path, **variables: str) -> list[str]:
    """Run a script with a command that writes its arguments, one on a line."""
    fake = tmp_path / "bids-neurossm"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **variables}
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("scheduler", list(VARIABLE))
def test_each_task_gets_its_participant_and_the_options_that_were_typed(scheduler: str, tmp_path: Path) -> None:
    script = participant_script(TYPED, LABELS, memory=2000, minutes=75, scheduler=scheduler)
    expected = ["/data/my study", "/data/out", "participant", "--atlas", "Schaefer400"]
    assert called(script, tmp_path, **{VARIABLE[scheduler]: "2"}) == [
        *expected, "--participant-label", "02", "--nprocs", "1",
    ]  # fmt: skip
    assert "01:15:00" in script
    assert "1-3" in script


def test_the_tasks_of_a_grid_cover_each_fold_and_seed_once(tmp_path: Path) -> None:
    script = cells_script(["in", "out", "group", "--target", "dx", "--seeds", "2"], 3, 2, memory=4000, minutes=60)
    cells = []
    for task in range(1, 7):
        arguments = called(script, tmp_path, SLURM_ARRAY_TASK_ID=str(task))
        cells.append((arguments[arguments.index("--only-fold") + 1], arguments[arguments.index("--only-seed") + 1]))
    assert sorted(cells) == [(str(fold), str(seed)) for fold in (1, 2, 3) for seed in (1, 2)]


def test_a_label_of_a_thousand_is_found(tmp_path: Path) -> None:
    labels = [f"{number:04d}" for number in range(1, 1001)]
    script = participant_script(["in", "out", "participant"], labels, memory=2000, minutes=5)
    assert "0777" in called(script, tmp_path, SLURM_ARRAY_TASK_ID="777")
    assert max(map(len, script.splitlines())) <= 120


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["a", "b", "group", "--participant-label", "01", "02"], ["a", "b", "group"]),
        (["a", "b", "group", "--participant_label=01", "--dry_run", "-w", "x"], ["a", "b", "group", "-w", "x"]),
        (["--nprocs", "8", "a", "b", "participant"], ["a", "b", "participant"]),
        (["a", "b", "participant", "--dummy-scans", "4"], ["a", "b", "participant", "--dummy-scans", "4"]),
    ],
)
def test_what_the_script_says_itself_is_left_out(typed: list[str], kept: list[str]) -> None:
    assert without_own_options(typed) == kept


def test_the_examples_in_the_docs_are_what_is_printed() -> None:
    labels = [f"{number:02d}" for number in range(1, 21)]
    typed = ["/data/fmriprep", "/data/neurossm", "participant", "--atlas", "Schaefer400", "-w", "/scratch/neurossm"]
    for scheduler in VARIABLE:
        script = participant_script(typed, labels, memory=2000, minutes=30, scheduler=scheduler)
        assert (EXAMPLES / f"{scheduler}-participants.sh").read_text() == script
    typed = ["/data/fmriprep", "/data/neurossm", "group", "--target", "dx", "--seeds", "3", "-w", "/scratch/neurossm"]
    assert (EXAMPLES / "slurm-cells.sh").read_text() == cells_script(typed, 5, 3, memory=4000, minutes=240)
