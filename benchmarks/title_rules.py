"""How far can title words go? Reliability of title maps, and other rules of selection, against maps made by others.

Usage: python benchmarks/title_rules.py [FOLDER] [--published TSV --atlas NIFTI] [--splits N] [--rules NAME ...]

FOLDER holds the Neurosynth files (default: $NEUROSSM_TEST_DATA); the published maps are those of
`benchmarks/reference.py`, from Neurosynth's term weights, which the public files do not have.

First the reliability: the studies of a term are halved at random, each half mapped against all other studies,
and the correlation of the two over regions is stepped up to the whole (Spearman-Brown). Its square root is the
correlation with a map free of noise that the number of studies alone allows.

Then rules that find more studies, none of which looks at the published maps: words of the same stem (Snowball's English
stemmer, `pip install snowballstemmer`), words in any order, any of several words, and stems whose study has the topics
of the titles found (logistic regression on the topic weights, cross-validated). Median r, and how often the right term
is ranked first among all, over the terms whose words stand in enough titles.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from reference import CLEAR, published_terms

from bids_neurossm.reference.maps import association_maps, default_mask
from bids_neurossm.reference.regions import region_means
from bids_neurossm.reference.studies import Studies, load_neurosynth
from bids_neurossm.reference.terms import plain_words, words_in_titles

LEAST = (20, 50, 100, 200)
#: Maps held at a time.
TOGETHER = 60
#: A study that was added by its stem has to look like the titles found: like the upper three quarters of them.
LOWEST = 25.0


class Atlas:
    """Regions in which maps are averaged.

    Parameters
    ----------
    path : Path
        Label image.
    n_regions : int
        Labels 1 to R.
    """

    def __init__(self, path: Path, n_regions: int) -> None:
        image = nib.load(path)
        self.mask, self.labels, self.affine = default_mask(), np.asarray(image.dataobj), image.affine
        self.values = list(range(1, n_regions + 1))

    def means(self, studies: Studies, selections: np.ndarray) -> np.ndarray:
        """Association z of selections, averaged in regions, (n, R)."""
        parts = []
        for start in range(0, len(selections), TOGETHER):
            maps = association_maps(studies, selections[start : start + TOGETHER], self.mask)
            parts.append(region_means(maps, self.mask, self.labels, self.affine, self.values))
        return np.concatenate(parts)


def reliability(studies: Studies, selections: np.ndarray, atlas: Atlas, splits: int) -> np.ndarray:
    """Spearman-Brown reliability of each map, (n,), from random halves of its studies."""
    random = np.random.default_rng(0)
    found = np.zeros((splits, len(selections)))
    for split in range(splits):
        halves = np.zeros((2, *selections.shape), dtype=bool)
        for number, selection in enumerate(selections):
            chosen = random.permutation(np.flatnonzero(selection))
            halves[0, number, chosen[: len(chosen) // 2]] = True
            halves[1, number, chosen[len(chosen) // 2 :]] = True
        first, second = (atlas.means(studies, half) for half in halves)
        found[split] = [np.corrcoef(one, other)[0, 1] for one, other in zip(first, second, strict=True)]
    mean = found.mean(axis=0)
    return np.asarray(2 * mean / (1 + mean))


def looks_alike(studies: Studies, found: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Keep of the studies that a rule adds those whose topics are like those of the titles found."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    weights = np.log(studies.topic_weights + 1e-3)
    weights = (weights - weights.mean(axis=0)) / weights.std(axis=0)
    kept = found.copy()
    for number, selection in enumerate(found):
        if (more[number] & ~selection).any() and selection.sum() >= LEAST[0]:
            model = LogisticRegression(C=0.02, class_weight="balanced", max_iter=200)
            propensity = cross_val_predict(model, weights, selection, cv=5, method="decision_function")
            kept[number] |= more[number] & (propensity > np.percentile(propensity[selection], LOWEST))
    return kept


def rules(studies: Studies, words: list[str]) -> dict[str, Callable[[], np.ndarray]]:
    """Rules of selection by name; each gives (words, studies)."""
    import snowballstemmer

    stem = snowballstemmer.stemmer("english").stemWords
    titles = [plain_words(title) for title in studies.titles]
    stems = [stem(title) for title in titles]

    def phrase() -> np.ndarray:
        return words_in_titles([" ".join(title) for title in stems], [" ".join(stem(plain_words(w))) for w in words])

    def parts(of_title: list[list[str]], change: Callable[[list[str]], list[str]], enough: Callable) -> np.ndarray:
        sets = [set(title) for title in of_title]
        wanted = [change(plain_words(word)) for word in words]
        return np.array([[enough(part in title for part in word) for title in sets] for word in wanted])

    return {
        "the words": lambda: words_in_titles(studies.titles, words),
        "stems": phrase,
        "any order": lambda: parts(titles, list, all),
        "stems in any order": lambda: parts(stems, stem, all),
        "any of the words": lambda: parts(titles, list, any),
        "stems in any order, with the topics": lambda: looks_alike(
            studies, words_in_titles(studies.titles, words), parts(stems, stem, all)
        ),
    }


def judged(rows: np.ndarray, names: list[str], published: pd.DataFrame) -> pd.DataFrame:
    """Correlation with the right published map, and its rank among all."""
    found = []
    for name, row in zip(names, rows, strict=True):
        correlation = published.corrwith(pd.Series(row))
        found.append((correlation[name], int((correlation > correlation[name]).sum()) + 1))
    return pd.DataFrame(found, columns=["r", "rank"])


def main() -> None:
    data = Path(os.environ.get("NEUROSSM_TEST_DATA", "."))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=data)
    parser.add_argument("--published", type=Path, default=data / "reference_maps" / "neurosynth_terms_schaefer200.tsv")
    parser.add_argument(
        "--atlas", type=Path, default=data / "atlases" / "Schaefer200_space-MNI152NLin6_res-2x2x2.nii.gz"
    )
    parser.add_argument("--splits", type=int, default=6, help="random halves per term; 0 leaves reliability out")
    parser.add_argument("--rules", nargs="*", help="names of rules (default: all)")
    arguments = parser.parse_args()
    studies = load_neurosynth(arguments.folder)
    published = pd.read_csv(arguments.published, sep="\t").drop(columns="parcel")
    atlas = Atlas(arguments.atlas, len(published))
    terms = published_terms(list(published.columns), studies.terms)
    by_title = words_in_titles(studies.titles, list(terms)) & studies.has_peaks
    titles = by_title.sum(axis=1)
    own = np.array([word not in CLEAR or CLEAR[word] == word.replace(" ", "") for word in terms])
    edges = [0, 1, 10, 20, 50, 100, 200, 10**6]
    counted = pd.cut(pd.Series(titles[own]), edges, right=False).value_counts(sort=False)
    print(f"titles of the {own.sum()} published terms, by their own words\n{counted.to_string()}")
    kept = titles >= LEAST[0]
    words = [word for word, enough in zip(terms, kept, strict=True) if enough]
    names, titles = [terms[word] for word in words], titles[kept]
    if arguments.splits:
        enough = titles >= LEAST[1]
        chosen = by_title[kept][enough]
        table = judged(
            atlas.means(studies, chosen), [n for n, well in zip(names, enough, strict=True) if well], published
        )
        table["reliability"] = reliability(studies, chosen, atlas, arguments.splits)
        table["allowed"] = np.sqrt(table["reliability"].clip(lower=0))
        table["r, corrected"] = table["r"] / table["allowed"]
        for least in LEAST[1:]:
            part = table[titles[enough] >= least]
            print(f"\nat least {least} titles: {len(part)} terms, medians\n{part.median().round(3).to_string()}")
        print(f"allowed below .90: {(table['allowed'] < 0.9).mean():.0%} of the terms\n")
    for name, rule in rules(studies, words).items():
        if arguments.rules and name not in arguments.rules:
            continue
        selections = rule() & studies.has_peaks
        table = judged(atlas.means(studies, selections), names, published)
        told = [
            f"{least}: median r {table['r'][titles >= least].median():.3f}, "
            f"first {(table['rank'][titles >= least] == 1).mean():.0%}"
            for least in LEAST
        ]
        print(f"{name} | {' | '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
