"""Time all topic maps in one pass against NiMARE's MKDAChi2, on Neurosynth version 7, and compare with maps by others.

Usage: python benchmarks/reference.py [FOLDER] [--maps N] [--studies N] [--no-nimare] [--published TSV --atlas NIFTI]

FOLDER holds the Neurosynth files (default: $NEUROSSM_TEST_DATA/neurosynth). NiMARE is run once, for one map, on the
same studies; the time for all maps is extrapolated from that and labelled so. The second run is one from the cache.
With --published (default: the table of $NEUROSSM_TEST_DATA, 123 terms in Schaefer-200, made by others from the term
weights of Neurosynth) each term whose words stand in at least 50 titles is mapped from these titles, and correlated
with the published maps.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from bids_neurossm.reference.maps import association_maps, default_mask
from bids_neurossm.reference.regions import region_means
from bids_neurossm.reference.studies import Studies, load_neurosynth
from bids_neurossm.reference.terms import TOPIC_WEIGHT, words_in_titles

#: Terms whose place in the brain nobody doubts; as they are called in the vocabulary, and in the published table.
CLEAR = {
    "working memory": "workingmemory",
    "movement": "movement",
    "language": "language",
    "pain": "pain",
    "emotion": "emotion",
    "face": "facerecognition",
}
#: Fewer titles than this make a map of a few papers.
TITLES = 50


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


def published_terms(names: list[str], vocabulary: tuple[str, ...]) -> dict[str, str]:
    """Match the names of a published table, written in one word, with the words of the vocabulary."""
    joined = {word.replace(" ", ""): word for word in vocabulary}
    matched = {joined[name]: name for name in names if name in joined}
    return {**matched, **CLEAR}


def compare(studies: Studies, table: Path, atlas: Path) -> None:
    """Print how title-word maps meet the published ones."""
    import nibabel as nib

    published = pd.read_csv(table, sep="\t").drop(columns="parcel")
    image = nib.load(atlas)
    mask, labels = default_mask(), np.asarray(image.dataobj)
    terms = published_terms(list(published.columns), studies.terms)
    selections = words_in_titles(studies.titles, list(terms)) & studies.has_peaks
    kept = selections.sum(axis=1) >= TITLES
    names = [name for name, enough in zip(terms.values(), kept, strict=True) if enough]
    words = [word for word, enough in zip(terms, kept, strict=True) if enough]
    maps = association_maps(studies, selections[kept], mask)
    means = region_means(maps, mask, labels, image.affine, list(range(1, len(published) + 1)))
    rows = []
    for word, name, row, chosen in zip(words, names, means, selections[kept], strict=True):
        correlation = published.corrwith(pd.Series(row))
        rank = int((correlation > correlation[name]).sum()) + 1
        rows.append((word, name, int(chosen.sum()), correlation[name], rank, correlation.idxmax()))
    found = pd.DataFrame(rows, columns=["term", "published as", "studies", "r", "rank", "first"])
    print(
        f"\n{len(published.columns)} published terms, {len(terms)} matched, {len(found)} with {TITLES} titles or more"
    )
    print("the clear ones\n" + found[found["term"].isin(CLEAR)].round(3).to_string(index=False))
    for least in (TITLES, 100, 200, 300):
        part = found[found["studies"] >= least]
        first = (part["rank"] == 1).mean()
        print(
            f"at least {least} titles: {len(part)} terms, median r {part['r'].median():.3f}, ranked first {first:.0%}"
        )
    print(f"the clear ones: median r {found.loc[found['term'].isin(CLEAR), 'r'].median():.3f}\nlowest r")
    print(found.nsmallest(5, "r").round(3).to_string(index=False))


def main() -> None:
    data = Path(os.environ.get("NEUROSSM_TEST_DATA", "."))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=data)
    parser.add_argument("--maps", type=int, default=25)
    parser.add_argument("--studies", type=int, default=0, help="use the first N studies only; 0 takes all")
    parser.add_argument("--no-nimare", action="store_true", help="leave out the slow side")
    parser.add_argument("--published", type=Path, default=data / "reference_maps" / "neurosynth_terms_schaefer200.tsv")
    parser.add_argument(
        "--atlas", type=Path, default=data / "atlases" / "Schaefer200_space-MNI152NLin6_res-2x2x2.nii.gz"
    )
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

    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        ours = association_maps(studies, selections, mask, Path(cache))
        one_pass = time.perf_counter() - started
        print(f"one pass: {len(ours)} maps in {one_pass:.2f} s; peak memory {peak_memory():.2f} GB")
        started = time.perf_counter()
        again = association_maps(studies, selections, mask, Path(cache))
        print(
            f"second run, from the cache: {time.perf_counter() - started:.2f} s; equal: {np.array_equal(ours, again)}"
        )
    if arguments.published.is_file() and arguments.atlas.is_file():
        compare(studies, arguments.published, arguments.atlas)
    if not arguments.no_nimare:
        against_nimare(studies, selections[0], ours, one_pass)


def against_nimare(studies: Studies, selected: np.ndarray, ours: np.ndarray, one_pass: float) -> None:
    """Fit MKDAChi2 once, and print what all maps would take."""
    from nimare.meta.cbma.mkda import MKDAChi2

    started = time.perf_counter()
    chosen, others = (nimare_dataset(studies, wanted) for wanted in (selected, ~selected))
    print(f"\nNiMARE: its two datasets built in {time.perf_counter() - started:.1f} s (not counted)")
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
