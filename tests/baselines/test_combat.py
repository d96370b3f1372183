"""ComBat is that of its authors, learned on training runs alone."""

import numpy as np
import pandas as pd
import pytest
from helpers.baseline_cohorts import baseline, cohort_of_sites

from bids_neurossm.baselines.combat import ComBat
from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import LabelError, ResourceMissingError
from bids_neurossm.estimators.load import load_estimator


def test_combat_is_that_of_its_authors_and_goes_to_new_people_of_the_same_sites(tmp_path):
    neuro_combat = pytest.importorskip("neuroCombat")
    cohort = cohort_of_sites(tmp_path, n=90, shift=0.5)
    features = pearson_features(cohort, np.arange(90))
    features[:, 1] = 0.25  # a dead pair of regions
    sites = cohort.runs["site"].to_numpy(dtype=str)
    combat = ComBat().fit(features[:60], sites[:60])
    alive = np.arange(features.shape[1]) != 1
    theirs = neuro_combat.neuroCombat(
        features[:60, alive].T.astype(np.float64), pd.DataFrame({"site": sites[:60]}), "site"
    )["data"].T
    np.testing.assert_allclose(combat.transform(features[:60], sites[:60])[:, alive], theirs, rtol=2e-4, atol=2e-5)
    new = combat.transform(features[60:], sites[60:])
    assert (new[:, 1] == 0.25).all()
    last = features.shape[1] - 1  # regions 3 and 4, whose coupling is the site's
    before, after = (pd.Series(x[:, last]).groupby(sites[60:]).mean() for x in (features[60:], new))
    assert np.ptp(after) < 0.35 * np.ptp(before)


def test_combat_refuses_what_it_can_not_know(tmp_path, monkeypatch):
    pytest.importorskip("neuroCombat")
    random = np.random.default_rng(0)
    features, sites = random.normal(size=(12, 6)), np.array(["A"] * 6 + ["B"] * 6)
    combat = ComBat().fit(features, sites)
    with pytest.raises(LabelError, match="'C' is not among those that were learned"):
        combat.transform(features[:1], np.array(["C"]))
    with pytest.raises(LabelError, match="A has 2"):
        ComBat().fit(features[4:], sites[4:])
    with pytest.raises(LabelError, match="all training runs are from A"):
        ComBat().fit(features[:6], sites[:6])
    with pytest.raises(LabelError, match="6 training runs have no site"):
        ComBat().fit(features, np.where(sites == "A", "", "B"))
    monkeypatch.setitem(__import__("sys").modules, "neuroCombat", None)
    with pytest.raises(ResourceMissingError, match=r"bids-neurossm\[harmonise\]"):
        ComBat().fit(features, sites)


def test_harmonised_features_take_the_site_out_of_a_baseline_and_come_back_from_disk(tmp_path):
    """The site is in regions 3 and 4 only: harmonised connectivity no longer tells it."""
    pytest.importorskip("neuroCombat")
    cohort = cohort_of_sites(tmp_path / "cohort", n=90, shift=0.5)
    by_site = Cohort.create(
        tmp_path / "sites", cohort.runs.assign(label=cohort.runs["site"], start=0),
        [cohort.raw(i) for i in range(90)], cohort.regions, cohort.networks, "class",
    )  # fmt: skip
    hits = {}
    for harmonise in (None, "combat"):
        model = baseline("pearson-connectivity", **({"harmonise": harmonise} if harmonise else {}))
        model.fit(by_site, np.arange(60), 0)
        scores = model.predict(by_site, np.arange(60, 90))
        hits[harmonise] = (scores.argmax(axis=1) == by_site.labels(np.arange(60, 90))).mean()
        model.save(tmp_path / "kept.safetensors")
        np.testing.assert_allclose(
            load_estimator(tmp_path / "kept.safetensors").predict(by_site, np.arange(60, 90)), scores, rtol=1e-6
        )
    assert hits[None] > 0.7
    assert hits["combat"] < 0.5
    for name in ("covariates", "majority", "site-only"):
        baseline(name, harmonise="combat").fit(by_site, np.arange(60), 0)
