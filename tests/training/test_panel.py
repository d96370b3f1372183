"""The further baselines learn on the training side, agree with scikit-learn, and meet what they are there for."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from bids_neurossm.baselines import kernel_machines
from bids_neurossm.baselines.combat import ComBat
from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.baselines.linear import participant_weights
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import LabelError, ResourceMissingError, UsageError
from bids_neurossm.estimators.load import load_estimator
from bids_neurossm.estimators.mean_pooled_mlp import MeanPooledConfig, MeanPooledMLP
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.registry import model_entry
from bids_neurossm.training.windows import assemble

QUICK = Training(epochs=15, batch_size=12, window=40, learning_rate=0.01, weight_decay=0.0)
NAMES = ["linear-svm", "kernel-ridge", "mean-pooled-mlp", "site-only", "age-only"]


def baseline(name, **settings):
    return create_estimator(name, ModelSpec(name, "", settings), QUICK, Execution(device="cpu"))


def simulated(folder, target="class", n=60, regions=5, shift=0.0, sites=("X", "Y", "Z")):
    """Region 0 follows region 1 in class "b" and lies higher; a continuous target is that coupling."""
    random = np.random.default_rng(0)
    share = np.arange(n) % 2 if target == "class" else random.random(n)
    site = [sites[i // 2 % len(sites)] for i in range(n)]
    series = []
    for number in range(n):
        x = random.normal(size=(60, regions))
        x[:, 1] = 0.8 * share[number] * x[:, 0] + np.sqrt(1 - 0.64 * share[number] ** 2) * x[:, 1]
        # What a volume alone can show: both regions are seldom low together.
        x[:, 2] = np.abs(x[:, 2]) if share[number] > 0.5 else x[:, 2]
        x[:, 3] += shift * sites.index(site[number]) * x[:, 4]
        series.append(x)
    runs = pd.DataFrame({"run": [f"r{i}" for i in range(n)], "participant_id": [f"s{i}" for i in range(n)]})
    runs["label"] = np.array(["a", "b"])[share] if target == "class" else share
    runs = runs.assign(site=site, age=[20.0 + i % 7 for i in range(n)])
    names = [f"r{i}" for i in range(regions)]
    return Cohort.create(folder, runs, series, names, names, target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["class", "continuous"])
def test_every_baseline_trains_predicts_and_is_saved(tmp_path, name, target):
    cohort = simulated(tmp_path / "cohort", target)
    train, test = np.arange(44), np.arange(44, 60)
    model = baseline(name)
    with pytest.raises(UsageError, match="fitted"):
        model.predict(cohort, test)
    model.fit(cohort, train, 1)
    scores = model.predict(cohort, test)
    assert scores.shape == (16, 2 if target == "class" else 1)
    assert np.isfinite(scores).all()
    if name in ("linear-svm", "kernel-ridge", "mean-pooled-mlp"):
        truth = cohort.labels(test)
        found = (
            roc_auc_score(truth, scores[:, 1] - scores[:, 0])
            if target == "class"
            else 0.5 + np.corrcoef(truth, scores[:, 0])[0, 1]
        )
        assert found > 0.75
    again = baseline(name)
    again.fit(cohort, train, 1)
    np.testing.assert_allclose(again.predict(cohort, test), scores, rtol=1e-6)
    model.save(tmp_path / "model.safetensors")
    loaded = load_estimator(tmp_path / "model.safetensors", Execution(device="cpu"))
    assert loaded.name == name
    np.testing.assert_array_equal(loaded.predict(cohort, test), scores)


@pytest.mark.parametrize("name", NAMES)
def test_a_baseline_reads_nothing_but_its_training_runs(tmp_path, name):
    cohort = simulated(tmp_path)
    first, second = baseline(name), baseline(name)
    first.fit(cohort, np.arange(44), 1)
    labels = cohort.runs["label"].where(cohort.runs.index < 44, "a")
    spoilt = Cohort(cohort.folder, cohort.runs.assign(label=labels, age=cohort.runs["age"]), cohort.regions,
                    cohort.networks, cohort.classes, cohort.target_type, "other")  # fmt: skip
    second.fit(spoilt, np.arange(44), 1)
    np.testing.assert_array_equal(first.predict(cohort, np.arange(60)), second.predict(spoilt, np.arange(60)))


def test_the_margin_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_machines, "MARGIN_PENALTIES", (1.0,))
    cohort = simulated(tmp_path)
    model = baseline("linear-svm")
    model.fit(cohort, np.arange(44), 1)
    features = pearson_features(cohort, np.arange(60)).astype(np.float64)
    centred = features - features[:44].mean(axis=0)
    centred /= np.sqrt((centred[:44] ** 2).sum(axis=1).mean())
    labels = cohort.labels(np.arange(44))
    theirs = SVC(C=1.0, kernel="linear").fit(
        centred[:44], labels, sample_weight=participant_weights(cohort.runs.iloc[:44], labels, 2, True)
    )
    margin = np.diff(model.predict(cohort, np.arange(44, 60)), axis=1)[:, 0] / model.chosen["factor"]
    np.testing.assert_allclose(margin, theirs.decision_function(centred[44:]), atol=5e-3)


def test_kernel_ridge_is_that_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_machines, "RIDGE_PENALTIES", (0.1,))
    monkeypatch.setattr(kernel_machines, "WIDTHS", (2.0,))
    cohort = simulated(tmp_path, "continuous")
    model = baseline("kernel-ridge")
    model.fit(cohort, np.arange(44), 1)
    features = pearson_features(cohort, np.arange(60)).astype(np.float64)
    centred = features - features[:44].mean(axis=0)
    centred /= np.sqrt((centred[:44] ** 2).sum(axis=1).mean())
    target = cohort.labels(np.arange(44))
    from sklearn.metrics.pairwise import rbf_kernel

    theirs = KernelRidge(alpha=0.1, kernel="precomputed").fit(
        rbf_kernel(centred[:44], gamma=0.25) + 1, (target - target.mean()) / target.std()
    )
    expected = theirs.predict(rbf_kernel(centred[44:], centred[:44], gamma=0.25) + 1) * target.std() + target.mean()
    np.testing.assert_allclose(model.predict(cohort, np.arange(44, 60))[:, 0], expected, rtol=1e-4)


def test_the_mlp_does_not_look_at_time_or_at_padding():
    torch.manual_seed(0)
    model = MeanPooledMLP(MeanPooledConfig(4, 2, width=8)).eval()
    random = np.random.default_rng(0)
    series = [random.normal(size=(length, 4)).astype(np.float32) for length in (30, 50)]
    whole = [(each, [(0, len(each))]) for each in series]
    together = model(*assemble(whole).arguments)
    alone = torch.cat([model(*assemble([each]).arguments) for each in whole])
    torch.testing.assert_close(together, alone)
    shuffled = [(random.permutation(each), pieces) for each, pieces in whole]
    torch.testing.assert_close(model(*assemble(shuffled).arguments), together)
    # A run in two pieces is one run: its pieces weigh by their length, what lies between them does not count.
    gap = np.insert(series[0], 10, 99.0, axis=0)
    torch.testing.assert_close(model(*assemble([(gap, [(0, 10), (11, 31)])]).arguments), together[:1])
    assert model_entry("mean-pooled-mlp").by_recipe
    assert not model_entry("kernel-ridge").by_recipe


def test_the_site_alone_predicts_its_shares_or_its_median(tmp_path):
    runs = pd.DataFrame({"run": list("abcdefgh"), "participant_id": list("abcdefgh")})
    runs["site"] = ["X", "X", "X", "X", "Y", "Y", "Y", "Z"]
    series = [np.random.default_rng(i).normal(size=(9, 2)) for i in range(8)]
    runs["label"] = [20.0, 21.0, 30.0, 80.0, 60.0, 61.0, 62.0, 99.0]
    ages = Cohort.create(tmp_path / "ages", runs, series, ["p", "q"], ["p", "q"], "continuous")
    model = baseline("site-only")
    model.fit(ages, np.arange(7), 0)
    assert model.predict(ages, np.array([0, 4, 7]))[:, 0].tolist() == [25.5, 61.0, 60.0]
    runs["label"] = ["p", "p", "p", "c", "c", "c", "c", "p"]
    classes = Cohort.create(tmp_path / "classes", runs, series, ["p", "q"], ["p", "q"], "class")
    model.fit(classes, np.arange(7), 0)
    chance = 1 / (1 + np.exp(-np.diff(model.predict(classes, np.array([0, 4, 7])), axis=1)[:, 0]))
    np.testing.assert_allclose(chance, [(3 + 3 / 7) / 5, (3 / 7) / 4, 3 / 7], rtol=1e-6)


def test_combat_is_that_of_its_authors_and_goes_to_new_people_of_the_same_sites(tmp_path):
    neuro_combat = pytest.importorskip("neuroCombat")
    cohort = simulated(tmp_path, n=90, shift=0.5)
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
    cohort = simulated(tmp_path / "cohort", n=90, shift=0.5)
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
