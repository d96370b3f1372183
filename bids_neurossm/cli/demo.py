"""``bids-neurossm-demo OUT_DIR``: the whole main job on simulated derivatives whose truth is known, offline."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.cli.process.signals import PATIENCE
from bids_neurossm.errors import NeuroSSMError, UsageError


class DemoError(NeuroSSMError):
    """A command that the demo ran came back with an error; its own message was printed above."""

    exit_code = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate a dataset, run both levels on it through the command line, and compare with what was planted.

    Returns
    -------
    int
        Exit code.
    """
    return guarded(lambda: _demo(argv), PATIENCE + 0.5)  # the commands that it runs need theirs


def _demo(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="bids-neurossm-demo",
        description="Simulate fMRIPrep derivatives with planted regions and time scales, analyse them, and show what "
        "was found. Needs no network and a few minutes.",
    )
    parser.add_argument("out_dir", type=Path, help="folder for the simulated dataset and the results")
    parser.add_argument("--participants", type=int, default=24, metavar="N", help="simulated people (default: 24)")
    parser.add_argument("--seed", type=int, default=42, metavar="N", help="of the simulation (default: 42)")
    parser.add_argument("--nprocs", type=int, default=len(os.sched_getaffinity(0)), metavar="N", help="nodes at a time")
    options = parser.parse_args(argv)
    if options.participants < 5:
        raise UsageError("--participants must be at least 5, one for each fold.")
    started = time.monotonic()
    dataset, results = options.out_dir / "fmriprep", options.out_dir / "results"
    if not (dataset / "planted_truth.json").is_file():
        print(f"Simulating fMRIPrep derivatives of {options.participants} participants in {dataset} ...", flush=True)
        from bids_neurossm.simulation import simulate_derivatives

        simulate_derivatives(dataset, options.participants, seed=options.seed)
    common = ["--nprocs", str(options.nprocs)]
    _run([str(dataset), str(results), "participant", "--atlas", *_atlases(), *common])
    analysis = ["--target", "entity:task", "--recipe", "demo", "--seeds", "3", "--analysis-id", "demo"]
    reference = ["--atlas", "HarvardOxford", "--reference", "nback-flanker"]
    _run([str(dataset), str(results), "group", *analysis, *reference, *common])
    from bids_neurossm.cli.demo_table import print_findings

    print_findings(dataset, results)
    print(f"The demo took {(time.monotonic() - started) / 60:.1f} minutes.")
    return 0


def _atlases() -> list[str]:
    """Schaefer-400 comes along where TemplateFlow's cache has it in the space of the simulated images."""
    from bids_neurossm.atlas.catalogue import templateflow_home

    name = "tpl-MNI152NLin6Asym_res-02_atlas-Schaefer2018_desc-400Parcels7Networks_dseg.nii.gz"
    image = templateflow_home() / "tpl-MNI152NLin6Asym" / name
    present = image.is_file() and image.stat().st_size > 0
    return ["HarvardOxford", "Schaefer400"] if present else ["HarvardOxford"]


def _run(arguments: list[str]) -> None:
    """Run the real command line, as a user would."""
    print("\n$ bids-neurossm " + " ".join(arguments), flush=True)
    process = subprocess.Popen([sys.executable, "-m", "bids_neurossm", *arguments])
    try:
        code = process.wait()
    except BaseException:
        process.terminate()  # not killed: it has workers of its own to end
        process.wait()
        raise
    if code != 0:
        raise DemoError(f"bids-neurossm {arguments[2]} ended with exit code {code}; see above.")


if __name__ == "__main__":
    sys.exit(main())
