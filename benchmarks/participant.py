"""Time and memory of the whole participant command on a run of 300 volumes, start-up and Nipype included.

Usage: python benchmarks/participant.py [DATA] [--image FILE] [--runs 1 4] [--repeats 3] [--import-time]

DATA holds the atlases (default: $NEUROSSM_TEST_DATA). The image is the one of ``benchmarks/extraction.py`` (97 x 115 x
97 x 300, float32, gzipped); it stands in the dataset once per run, so that the further runs tell what one more run
costs. Memory is summed over the command and all its children: the proportional share of each page (PSS), so that
what forked workers share is counted once, and the plain sum of resident memory (RSS) beside it. The best of several
is printed, for other work on the machine can only make a run slower.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil


def extraction() -> Any:
    """Import the benchmark beside this one, which paints the image."""
    spec = importlib.util.spec_from_file_location("extraction", Path(__file__).with_name("extraction.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_dataset(root: Path, image: Path, n_runs: int) -> None:
    """Lay out fMRIPrep derivatives with the image linked once per run."""
    import nibabel as nib

    from bids_neurossm.simulation import simulate_confounds

    folder = root / "sub-01" / "func"
    folder.mkdir(parents=True)
    description = {"Name": "benchmark", "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    description["GeneratedBy"] = [{"Name": "fMRIPrep", "Version": "23.2.0"}]
    (root / "dataset_description.json").write_text(json.dumps(description))
    bold: Any = nib.load(image)
    n_volumes = bold.shape[3]
    mask = nib.Nifti1Image(np.asarray(bold.dataobj[..., 2] != 0, dtype=np.uint8), bold.affine)
    for run in range(1, n_runs + 1):
        source = f"sub-01_task-rest_run-{run}"
        name = f"{source}_space-MNI152NLin2009cAsym_res-2_desc"
        (folder / f"{name}-preproc_bold.nii.gz").hardlink_to(image)
        (folder / f"{name}-preproc_bold.json").write_text(json.dumps({"RepetitionTime": 2.0, "TaskName": "rest"}))
        nib.save(mask, folder / f"{name}-brain_mask.nii.gz")
        confounds = simulate_confounds(n_volumes, 2.0, np.random.default_rng(run), n_dummy=2)
        table = folder / f"{source}_desc-confounds_timeseries.tsv"
        confounds.to_csv(table, sep="\t", index=False, na_rep="n/a")


class MemoryWatch(threading.Thread):
    """Largest memory of a process and its children together, in MB."""

    def __init__(self, process_id: int) -> None:
        super().__init__(daemon=True)
        self.root, self.over = psutil.Process(process_id), threading.Event()
        self.peaks = {"PSS": 0.0, "RSS": 0.0, "processes": 0.0}
        self.used: dict[int, float] = {}  # processor seconds of each process, ended ones included

    def run(self) -> None:
        """Sample until told to stop."""
        while not self.over.wait(0.05):
            found = []
            try:
                for process in [self.root, *self.root.children(recursive=True)]:
                    found.append(process.memory_full_info())
                    self.used[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
            now = {"PSS": sum(each.pss for each in found) / 2**20, "RSS": sum(each.rss for each in found) / 2**20}
            now["processes"] = float(len(found))
            self.peaks = {key: max(value, now[key]) for key, value in self.peaks.items()}


def watched(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Run a command to its end and measure it."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        watch = MemoryWatch(process.pid)
        watch.start()
        code = process.wait()
        seconds = time.perf_counter() - started
        watch.over.set()
        watch.join()
        said.seek(0)
        if code != 0:
            raise SystemExit(f"{' '.join(command)} ended with {code}:\n{said.read()}")
    return {"s": seconds, "processor": sum(watch.used.values()), **watch.peaks}


def masker_program(data: Path, image: Path) -> str:
    module = extraction()
    labels = data / "atlases" / "templateflow" / module.TEMPLATE / module.SCHAEFER_400
    return (
        "from nilearn.maskers import NiftiLabelsMasker;"
        f"NiftiLabelsMasker({str(labels)!r}, resampling_target='data').fit_transform({str(image)!r})"
    )


def best(runs: list[dict[str, float]]) -> dict[str, float]:
    """Take the shortest times, and the largest memory."""
    return {key: (min if key in ("s", "processor") else max)(run[key] for run in runs) for key in runs[0]}


def import_times(dataset: Path, out: Path, environment: dict[str, str]) -> None:
    """Print the packages that cost most in the main process while it plans, in seconds of their own modules."""
    command = [sys.executable, "-X", "importtime", "-m", "bids_neurossm", str(dataset), str(out), "participant"]
    done = subprocess.run([*command, "--dry-run"], env=environment, capture_output=True, text=True, check=True)
    packages: dict[str, float] = {}
    for line in done.stderr.splitlines():
        if line.startswith("import time:") and "[us]" not in line:
            own, _, name = line.removeprefix("import time:").split("|")
            package = name.strip().split(".")[0]
            packages[package] = packages.get(package, 0) + int(own) / 1e6
    for package, seconds in sorted(packages.items(), key=lambda item: -item[1])[:15]:
        print(f"{seconds:6.2f} s  {package}")
    print(f"{sum(packages.values()):6.2f} s  all imports of the main process")


def compare(folder: Path, image: Path, arguments: argparse.Namespace) -> None:
    """Measure the command with each number of runs, and the masker, in turn."""
    home = arguments.data / "atlases" / "templateflow"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TEMPLATEFLOW_HOME": str(home)}
    found: dict[str, list[dict[str, float]]] = {}
    for n_runs in arguments.runs:
        make_dataset(folder / f"runs{n_runs}", image, n_runs)
    for turn in range(arguments.repeats):
        for n_runs in arguments.runs:
            out, work = (str(folder / f"{kind}{n_runs}-{turn}") for kind in ("out", "work"))
            command = [
                sys.executable,
                "-m",
                "bids_neurossm",
                str(folder / f"runs{n_runs}"),
                out,
                "participant",
                "-w",
                work,
            ]
            found.setdefault(f"participant, runs: {n_runs}", []).append(watched(command, environment))
        if turn == 0:
            command = [sys.executable, "-c", masker_program(arguments.data, image)]
            found["NiftiLabelsMasker, 1 run"] = [watched(command, environment)]
    print(f"best of {arguments.repeats} (masker: 1), load of the machine {os.getloadavg()[0]:.1f}")
    print("| command | s | processor s | peak PSS, MB | peak RSS, MB | processes |\n|---|---|---|---|---|---|")
    table = {name: best(runs) for name, runs in found.items()}
    for name, each in table.items():
        times = f"{each['s']:.1f} | {each['processor']:.1f}"
        print(f"| {name} | {times} | {each['PSS']:.0f} | {each['RSS']:.0f} | {each['processes']:.0f} |")
    first, last = arguments.runs[0], arguments.runs[-1]
    if last > first:
        seconds = table[f"participant, runs: {last}"]["s"] - table[f"participant, runs: {first}"]["s"]
        print(f"\neach further run: {seconds / (last - first):.1f} s")
    if arguments.import_time:
        import_times(folder / f"runs{first}", folder / "never-written", environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", ".")))
    parser.add_argument("--image", type=Path, help="made there unless it exists; on the disk of the temporary folder")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--import-time", action="store_true")
    arguments = parser.parse_args()
    # Runs are hard links to the image: the temporary folder stands beside it.
    with tempfile.TemporaryDirectory(dir=arguments.image.parent if arguments.image else None) as folder:
        image = arguments.image or Path(folder) / "bold.nii.gz"
        if not image.is_file():
            extraction().paint(image, arguments.data, 300)
        compare(Path(folder), image, arguments)


if __name__ == "__main__":
    main()
