"""Time all topic maps in one pass against calls of NiMARE's MKDAChi2, on Neurosynth version 7.

Usage: python benchmarks/reference.py [FOLDER] [--maps N] [--studies N]

FOLDER holds the Neurosynth files (default: $NEUROSSM_TEST_DATA/neurosynth). NiMARE is run once, for one map, on the
same studies; the time for all maps is extrapolated from that and labelled so.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bids_neurossm.reference.maps import association_maps, default_mask
from bids_neurossm.reference.studies import Studies, load_neurosynth
from bids_neurossm.reference.terms import TOPIC_WEIGHT


def peak_memory() -> float:
    """Largest resident memory of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def nimare_dataset(studies: Studies, wanted: np.ndarray):
    from nimare.nimads import Studyset

    def analysis(index: int, peaks: np.ndarray) -> dict:
        points = [{"coordinates": list(map(float, peak)), "space": "MNI", "values": []} for peak in peaks]
        return {
            "id": studies.ids[index],
            "name": studies.titles[index],
            "authors": "",
            "publication": "",
            "metadata": {},
            "analyses": [
                {
                    "id": "1",
                    "name": "1",
                    "conditions": [],
                    "weights": [],
                    "images": [],
                    "points": points,
                    "metadata": {},
                }
            ],
        }

    starts = np.searchsorted(studies.peak_study, np.arange(len(studies) + 1))
    content = [analysis(i, studies.peaks[starts[i] : starts[i + 1]]) for i in np.flatnonzero(wanted)]
    return Studyset({"id": "neurosynth", "name": "", "studies": content}, target="mni152_2mm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(os.environ.get("NEUROSSM_TEST_DATA", ".")))
    parser.add_argument("--maps", type=int, default=25)
    parser.add_argument("--studies", type=int, default=0, help="use the first N studies only; 0 takes all")
    arguments = parser.parse_args()

    started = time.perf_counter()
    studies = load_neurosynth(arguments.folder)
    if arguments.studies:
        studies = studies.subset(np.arange(len(studies)) < arguments.studies)
    mask = default_mask()
    print(f"{studies.source}: {len(studies.peaks)} peaks, read in {time.perf_counter() - started:.1f} s")
    if studies.topic_weights is None:
        parser.error("this copy has no topic weights")
    selections = (studies.topic_weights > TOPIC_WEIGHT).T[: arguments.maps]
    warm = studies.subset(np.arange(len(studies)) < 50)
    association_maps(warm, np.arange(50) < 25, mask)  # compiles

    started = time.perf_counter()
    ours = association_maps(studies, selections, mask)
    one_pass = time.perf_counter() - started
    print(f"one pass: {len(ours)} maps in {one_pass:.2f} s; peak memory {peak_memory():.2f} GB")

    from nimare.meta.cbma.mkda import MKDAChi2

    started = time.perf_counter()
    chosen, others = (nimare_dataset(studies, wanted) for wanted in (selections[0], ~selections[0]))
    print(f"NiMARE: its two datasets built in {time.perf_counter() - started:.1f} s (not counted)")
    started = time.perf_counter()
    theirs = MKDAChi2().fit(chosen, others).get_map("z_desc-association", return_type="array")
    one_fit = time.perf_counter() - started
    print(f"NiMARE: one MKDAChi2.fit in {one_fit:.2f} s; peak memory {peak_memory():.2f} GB")
    print(f"largest difference of that map: {np.abs(theirs - ours[0]).max():.2e}")
    ratio = one_fit * len(ours) / one_pass
    print(
        pd.Series({"one pass, s": one_pass, f"{len(ours)} x one fit, s (extrapolated)": one_fit * len(ours)}).round(2)
    )
    print(f"ratio, extrapolated from one fit: {ratio:.1f}")


if __name__ == "__main__":
    main()
