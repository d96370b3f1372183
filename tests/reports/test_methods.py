"""The methods text: what was done and cited, and nothing else."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.reports.methods import group_methods, series_text


def test_the_methods_cite_what_was_used_and_only_that() -> None:
    summary = {"methods": "neurossm predicts sex_at_birth in 5 % of cases.", "versions": {"torch": "2.6.0"}}
    terms = pd.DataFrame({"class": ["wm"], "term": ["n back"], "used": ["True"]})
    reference = pd.DataFrame({"rho": [0.4], "n_regions": [48], "n_surrogates": [1000]})
    methods = group_methods(summary, reference, terms, "Series of HarvardOxford48.")
    keys = [source.key for source in methods.sources]
    assert {"genc2026", "desikan2006", "salo2023", "freedman1983", "paszke2019"} <= set(keys)
    assert not {"schaefer2018", "nadeau2003", "fortin2018"} & set(keys)
    assert "sex\\_at\\_birth in 5 \\% of cases" in methods.latex()
    assert "\\cite{" in methods.latex()
    assert "[@desikan2006]" in methods.markdown()
    assert "terms of wm: n back" in methods.markdown()
    assert methods.bibtex().count("@") == len(keys)


def test_what_is_not_known_of_a_series_is_not_said() -> None:
    facts = {"HighPass": "n/a", "LowPass": 0.1, "FramewiseDisplacementThreshold": "n/a", "ConfoundColumns": ["csf"]}
    text = series_text(facts | {"DenoisingStrategy": "mine"}, "mine", 48)
    assert "n/a" not in text
    assert "below 0.1 Hz" in text
    assert "censored" not in text
