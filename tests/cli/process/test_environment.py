"""Where a command writes what is not a result: a place that can not be written is told in a sentence, with code 5."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: What is mounted has a short path, as in a container: the sockets of workers need that.
MOUNTED = Path("/mnt")
#: As in `docker run --read-only`: nothing can be written, but what is mounted.
_READ_ONLY = """
for folder in / /tmp /var/tmp; do mount --bind "$folder" "$folder" && mount -o remount,bind,ro "$folder"; done
mount -t tmpfs tmpfs "$MOUNTED"
mkdir "$MOUNTED/read-only" && mount --bind "$MOUNTED/read-only" "$MOUNTED/read-only"
mount -o remount,bind,ro "$MOUNTED/read-only"
cd /
exec "$@"
"""


def read_only(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``bids-neurossm`` where only `MOUNTED` can be written, but for its folder `read-only`."""
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("mounts of its own need root, or user namespaces")
    command = [*unshare, "sh", "-ec", _READ_ONLY, "sh", sys.executable, "-B", "-m", "bids_neurossm"]
    variables = {**environment, "MOUNTED": str(MOUNTED), "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [*command, *map(str, arguments)], env=variables, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    ("work_dir", "words"),
    [
        ([], "No folder for temporary files can be written, neither $TMPDIR nor /tmp; give a work folder with -w"),
        (["-w", "{mounted}/read-only"], "read-only can not be written (Read-only file system); give another one with"),
        (["-w", "{mounted}/read-only/new"], "read-only/new can not be written (Read-only file system); give another"),
    ],
)
def test_scratch_on_a_read_only_mount_is_exit_5(
    simulated: Path, environment: dict[str, str], work_dir: list[str], words: str
) -> None:
    options = [each.replace("{mounted}", str(MOUNTED)) for each in work_dir]
    done = read_only(environment, simulated, MOUNTED / "out", "participant", *options)
    assert done.returncode == 5, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_templateflow_home_on_a_read_only_mount_is_exit_4(
    simulated: Path, environment: dict[str, str]
) -> None:
    variables = {**environment, "TEMPLATEFLOW_HOME": "/nowhere/templateflow"}
    done = read_only(variables, simulated, MOUNTED / "out", "participant", "-w", MOUNTED / "work")
    assert done.returncode == 4, done.stderr
    assert "/nowhere/templateflow/tpl-MNI152NLin6Asym" in done.stderr
    assert "run `bids-neurossm-fetch DIR` and set TEMPLATEFLOW_HOME to it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_work_folder_serves_for_temporary_files_where_there_is_no_other(
    simulated: Path, environment: dict[str, str]
) -> None:
    arguments = ("participant", "--atlas", "HarvardOxford", "--dry-run", "-w", MOUNTED / "work")
    done = read_only(environment, simulated, MOUNTED / "out", *arguments)
    assert done.returncode == 0, done.stderr
    assert "16 of 16 runs to do" in done.stdout


def test_a_folder_for_temporary_files_with_a_long_path_is_refused_before_sockets_are(
    simulated: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    command = [sys.executable, "-m", "bids_neurossm", str(simulated), str(tmp_path / "out"), "participant"]
    variables = {**environment, "TMPDIR": str(folder)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5, done.stderr
    assert f"{folder}, has {len(str(folder))} characters; sockets of workers allow 74. Set TMPDIR" in done.stderr
