"""Time to find the runs of a large dataset: `--dry-run` for one participant and for all, and PyBIDS alone beside it.

Usage: python benchmarks/indexing.py [DATA] [--participants 1000] [--runs 4] [--repeats 3]

DATA holds the atlases (default: $NEUROSSM_TEST_DATA). The dataset has six files per run, as fMRIPrep names them: image
and brain mask with sidecars, confounds with theirs; images are empty, for nothing but names is read. PyBIDS indexes it
as a program does that asks for nothing special, and once more without reading JSON; both then look up every image with
its mask and its confounds. Every line is a fresh process. The best of several is printed; processor seconds count while
other work keeps the machine busy.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: What PyBIDS is given to do, as a program of its own.
PYBIDS = """
import sys
from bids.layout import BIDSLayout, BIDSLayoutIndexer
indexer = BIDSLayoutIndexer(validate=False, index_metadata={metadata})
layout = BIDSLayout(sys.argv[1], validate=False, is_derivative=True, indexer=indexer)
images = layout.get(suffix="bold", desc="preproc", extension=".nii.gz")
masks = {{each.filename for each in layout.get(suffix="mask", desc="brain", extension=".nii.gz")}}
tables = {{each.filename for each in layout.get(desc="confounds", extension=".tsv")}}
assert len(images) == len(masks) == len(tables) == int(sys.argv[2])
"""


def make_dataset(root: Path, n_participants: int, n_runs: int) -> None:
    """Lay out the names of fMRIPrep derivatives."""
    root.mkdir()
    description = {"Name": "benchmark", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (root / "dataset_description.json").write_text(
        json.dumps({**description, "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0"}]})
    )
    sidecar = json.dumps({"RepetitionTime": 2.0, "TaskName": "rest"})
    for participant in range(1, n_participants + 1):
        label = f"sub-{participant:04d}"
        folder = root / label / "func"
        folder.mkdir(parents=True)
        for run in range(1, n_runs + 1):
            source = f"{label}_task-rest_run-{run}"
            name = f"{source}_space-MNI152NLin2009cAsym_res-2_desc"
            stems = (f"{name}-preproc_bold", f"{name}-brain_mask", f"{source}_desc-confounds_timeseries")
            for stem, extension in zip(stems, (".nii.gz", ".nii.gz", ".tsv"), strict=True):
                (folder / f"{stem}{extension}").touch()
                (folder / f"{stem}.json").write_text(sidecar)


def timed(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command to its end and measure it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"s": seconds, "processor": used}


def compare(root: Path, arguments: argparse.Namespace) -> None:
    """Measure all sides in turn and print the table."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TEMPLATEFLOW_HOME": str(arguments.data / "atlases" / "templateflow"),
    }
    n_runs = arguments.participants * arguments.runs
    ours = [sys.executable, "-m", "bids_neurossm", str(root), str(root.parent / "never-written"), "participant"]
    sides = {
        "--dry-run, one participant": [*ours, "--dry-run", "--participant-label", "0001"],
        "--dry-run, all": [*ours, "--dry-run"],
        "PyBIDS without JSON, all": [sys.executable, "-c", PYBIDS.format(metadata=False), str(root), str(n_runs)],
        "PyBIDS, all": [sys.executable, "-c", PYBIDS.format(metadata=True), str(root), str(n_runs)],
    }
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(arguments.repeats):
        for side, command in sides.items():
            found[side].append(timed(command, environment))
    best = {side: {key: min(each[key] for each in runs) for key in runs[0]} for side, runs in found.items()}
    load = os.getloadavg()[0]
    print(
        f"{arguments.participants} participants x {arguments.runs} runs; best of {arguments.repeats}; load {load:.1f}"
    )
    print("| side | s | processor s | x `--dry-run`, all |\n|---|---|---|---|")
    whole = best["--dry-run, all"]["processor"]
    for side, each in best.items():
        print(f"| {side} | {each['s']:.1f} | {each['processor']:.1f} | {each['processor'] / whole:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", ".")))
    parser.add_argument("--participants", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "fmriprep"
        make_dataset(root, arguments.participants, arguments.runs)
        compare(root, arguments)


if __name__ == "__main__":
    main()
