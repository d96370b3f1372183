"""Time and memory of the parcel means against plain inflation and nilearn's NiftiLabelsMasker, side by side.

Usage: python benchmarks/extraction.py [DATA] [--image FILE] [--volumes 300] [--repeats 7] [--masker-repeats 2]

DATA holds the atlases (default: $NEUROSSM_TEST_DATA). An image of 97 x 115 x 97 voxels (2 mm, MNI152NLin2009cAsym),
float32 and gzipped, is painted with Schaefer-400 at FILE (default: in a temporary folder) unless it is there. Every
measurement is a fresh process, and the sides take turns; the best of several is printed, for other work on the machine
can only make a run slower. Seconds are those of the call; memory is the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TEMPLATE = "tpl-MNI152NLin2009cAsym"
SCHAEFER_400 = f"{TEMPLATE}_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz"
#: Sides of the comparison: which atlases are taken in one pass; None is another engine.
SIDES: dict[str, list[str] | None] = {
    "ISA-L, read to the end": None,
    "Schaefer-400": ["400"],
    "Schaefer-400, SHA-256 of the file": ["400"],
    "Schaefer-400, -100": ["400", "100"],
    "Schaefer-400, -100, -200": ["400", "100", "200"],
    "Schaefer-400, -100, AAL3": ["400", "100", "AAL3"],
    "NiftiLabelsMasker, Schaefer-400": None,
}


def load(name: str, data: Path) -> Any:
    """Load one of the atlases; Schaefer-200 has no table of its own in DATA and is numbered."""
    from bids_neurossm.atlas import Parcellation, load_parcellation

    atlases = data / "atlases"
    if name == "400":
        return load_parcellation("Schaefer400", TEMPLATE[4:], atlas_dir=atlases / "templateflow" / TEMPLATE)
    if name == "100":
        return load_parcellation(atlases / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz")
    if name == "AAL3":
        return load_parcellation("AAL3", atlas_dir=atlases / "aal3")
    image = atlases / "Schaefer200_space-MNI152NLin6_res-2x2x2.nii.gz"
    labels = tuple(range(1, 201))
    names = tuple(f"region{label}" for label in labels)
    return Parcellation({"atlas": "Schaefer200"}, "MNI152NLin6Asym", image, image, labels, names, ("n/a",) * 200)


def paint(image: Path, data: Path, n_volumes: int) -> None:
    """Paint Schaefer-400 into a brain of noise."""
    import nibabel as nib
    from nilearn.image import resample_img

    from bids_neurossm.simulation import Grid, paint_run

    parcellation = load("400", data)
    labels, affine, _ = parcellation.image()
    # The brain mask of a neighbouring space has the right size and form, which is all that matters here.
    mask = next((data / "atlases").rglob("tpl-MNI152NLin6Asym_res-02_desc-brain_mask.nii.gz"))
    options = {"interpolation": "nearest", "force_resample": True, "copy_header": True}
    brain = resample_img(nib.load(mask), affine, labels.shape, **options).get_fdata() > 0
    # nilearn averages voxels without signal too: every voxel of the atlas is given one, so that both can be compared.
    brain |= labels > 0
    rng = np.random.default_rng(0)
    series = 1000 + 10 * rng.standard_normal((n_volumes, 400))
    entities = {"sub": "01", "task": "rest", "space": TEMPLATE[4:], "res": "2"}
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        grid = Grid(labels.shape, affine)
        made = paint_run(Path(folder), entities, series, parcellation, grid, brain, None, 2.0, rng, dtype="float32")
        made.replace(image)


def inflate(image: Path) -> None:
    from isal import igzip

    buffer = bytearray(1 << 20)
    with igzip.open(image) as stream:
        while stream.readinto(buffer):
            pass


def peak_memory() -> float:
    """Give the largest resident memory of this process in MB; getrusage would count that of its parent as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(side: str, image: Path, data: Path, series: Path) -> None:
    """Carry out one side in this process, and print what it took as JSON."""
    names = SIDES[side]
    seconds_to_place = 0.0
    if names:
        from bids_neurossm.signal.digest import FileDigest
        from bids_neurossm.signal.parcels import parcel_series
        from bids_neurossm.signal.stream import read_header

        parcellations = [load(name, data) for name in names]
        header = read_header(image)
        started = time.perf_counter()
        # Atlases on other grids are laid over the run's grid by nilearn, once per process; that is told apart.
        for parcellation in parcellations[1:]:
            parcellation.on_grid(header.shape, header.affine)
        seconds_to_place = time.perf_counter() - started
        started, used = time.perf_counter(), time.process_time()
        # The command hashes a file while it reads it, unless its hash is known from an earlier time.
        digest = FileDigest() if side.endswith("SHA-256 of the file") else None
        np.save(series, parcel_series(image, parcellations, None, digest)[0].series)
    elif side.startswith("ISA-L"):
        started, used = time.perf_counter(), time.process_time()
        inflate(image)
    else:
        from nilearn.maskers import NiftiLabelsMasker

        labels = data / "atlases" / "templateflow" / TEMPLATE / SCHAEFER_400
        started, used = time.perf_counter(), time.process_time()
        np.save(series, NiftiLabelsMasker(labels, resampling_target="data").fit_transform(image))
    found = {
        "seconds": time.perf_counter() - started,
        "processor seconds": time.process_time() - used,
        "MB": peak_memory(),
        "seconds to place": seconds_to_place,
    }
    print(json.dumps(found))


def in_a_fresh_process(side: str, image: Path, data: Path, series: Path) -> dict[str, float]:
    command = [sys.executable, __file__, str(data), "--image", str(image), "--measure", side, "--series", str(series)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(image: Path, data: Path, repeats: int, masker_repeats: int) -> None:
    """Measure all sides in turn and print the table."""
    folder = Path(tempfile.mkdtemp(dir=image.parent))
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for turn in range(repeats):
        for number, side in enumerate(SIDES):
            if not side.startswith("Nifti") or turn < masker_repeats:
                found[side].append(in_a_fresh_process(side, image, data, folder / f"{number}.npy"))
    best = {side: {key: min(each[key] for each in runs) for key in runs[0]} for side, runs in found.items()}
    plain, alone, masker = (list(best.values())[position] for position in (0, 1, -1))
    size, load = image.stat().st_size / 1e6, os.getloadavg()[0]
    print(f"best of {repeats} (masker: {masker_repeats}); {size:.0f} MB; load of the machine {load:.1f}")
    print("| side | s | x ISA-L | x one atlas | processor s | peak MB | placing, s |\n|---|---|---|---|---|---|---|")
    for side, each in best.items():
        ratios = f"{each['seconds'] / plain['seconds']:.2f} | {each['seconds'] / alone['seconds']:.2f}"
        used = f"{each['processor seconds']:.2f} | {max(run['MB'] for run in found[side]):.0f}"
        print(f"| {side} | {each['seconds']:.2f} | {ratios} | {used} | {each['seconds to place']:.2f} |")
    print(f"\nNiftiLabelsMasker takes {masker['seconds'] / alone['seconds']:.1f} x the time, ", end="")
    print(f"{masker['MB'] / alone['MB']:.0f} x the memory")
    ours, theirs = np.load(folder / "1.npy"), np.load(folder / f"{len(SIDES) - 1}.npy")
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    print(f"largest relative difference of the series: {np.abs(ours / theirs - 1).max():.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", ".")))
    parser.add_argument("--image", type=Path)
    parser.add_argument("--volumes", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--masker-repeats", type=int, default=2)
    parser.add_argument("--measure", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--series", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.image, arguments.data, arguments.series)
        return
    with tempfile.TemporaryDirectory() as folder:
        image = arguments.image or Path(folder) / "bold.nii.gz"
        if not image.is_file():
            paint(image, arguments.data, arguments.volumes)
        compare(image, arguments.data, arguments.repeats, arguments.masker_repeats)


if __name__ == "__main__":
    main()
