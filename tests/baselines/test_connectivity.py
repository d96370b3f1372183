"""Tangent connectivity at several scales: its bins, its references, and what may be left undone for speed."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.baselines.connectivity import TangentSpace, covariances_of, kept_volumes, shrunk_covariance
from bids_neurossm.baselines.features import MultiscaleTangentFeatures
from bids_neurossm.baselines.linear import fit_linear, out_of_fold
from bids_neurossm.cohort.splitting import make_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import RunError
from bids_neurossm.estimators.load import load_estimator
from bids_neurossm.estimators.protocol import create_estimator

REGIONS = 6


def autoregressive(coefficient, random, length=120):
    noise = random.normal(size=(length + 10, REGIONS))
    for t in range(1, len(noise)):
        noise[t] += coefficient * noise[t - 1]
    return noise[10:]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Class "b" couples regions 0 and 1 in what is slow alone: at single time points fast noise hides it."""
    random = np.random.default_rng(0)
    series = []
    for number in range(60):
        x = autoregressive(0.0, random)
        slow = np.repeat(random.normal(size=(30, 1)), 4, axis=0)
        x[:, :1] += slow
        x[:, 1:2] += slow if number % 2 else np.repeat(random.normal(size=(30, 1)), 4, axis=0)
        series.append(x)
    runs = pd.DataFrame({"participant_id": [f"s{i:02d}" for i in range(60)]})
    runs["run"], runs["label"] = runs["participant_id"], np.array(["a", "b"])[np.arange(60) % 2]
    names = [f"r{i}" for i in range(REGIONS)]
    return Cohort.create(tmp_path_factory.mktemp("cohort"), runs, series, names, names, "class")


@pytest.fixture(scope="module")
def real_covariances(shared_data):
    """Return covariances of 40 regions in the 42 participants of one ABIDE site."""
    with np.load(shared_data / "abide" / "cc200_filtglobal_site-KKI.npz") as file:
        series = [file[key].astype(np.float64)[:, :200:5] for key in file.files]
    return np.stack([shrunk_covariance(x) for x in series])


def test_bins_are_means_that_cross_no_gap_and_are_never_partial(tmp_path):
    series = np.random.default_rng(0).normal(size=(60, 3))
    runs = pd.DataFrame({"run": ["x"], "participant_id": ["s"], "label": ["a"], "segments": ["[[0, 30], [37, 60]]"]})
    one = Cohort.create(tmp_path, runs, [series], list("abc"), list("abc"), "class")
    whole = one.standardised(0)
    bins = kept_volumes(one, 0, 4)
    assert bins.shape == (30 // 4 + 23 // 4, 3)
    np.testing.assert_allclose(bins[6], whole[24:28].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(bins[7], whole[37:41].mean(axis=0), rtol=1e-5)
    with pytest.raises(RunError, match=r"x: 5 bins of 8 time points.* needs 8"):
        kept_volumes(one, 0, 8)[:]


def test_tangent_vectors_of_the_mean_itself_are_nought_and_lengths_are_distances(real_covariances):
    space = TangentSpace(tolerance=1e-6)
    vectors = space.fit_transform(real_covariances)
    assert np.linalg.norm(vectors.mean(axis=0)) < 1e-5 * np.linalg.norm(vectors, axis=1).mean()
    root = np.linalg.inv(space.whitening)
    assert np.abs(space.transform((root @ root)[None])).max() < 1e-6
    # The length of a tangent vector is the affine-invariant distance from the mean.
    values = np.linalg.eigvals(np.linalg.solve(root @ root, real_covariances[0])).real
    np.testing.assert_allclose(np.linalg.norm(vectors[0]), np.sqrt((np.log(values) ** 2).sum()), rtol=1e-5)


def test_the_early_end_of_the_descent_leaves_the_kernel_between_participants_as_it_is(real_covariances):
    def kernel(tolerance):
        vectors = TangentSpace(tolerance).fit_transform(real_covariances).astype(np.float64)
        centred = vectors - vectors.mean(axis=0)
        return centred @ centred.T

    exact, quick = kernel(1e-6), kernel(TangentSpace().tolerance)
    assert np.linalg.norm(quick - exact) < 0.01 * np.linalg.norm(exact)


def test_few_passes_are_enough_by_default(real_covariances, monkeypatch):
    passes = []
    transform = TangentSpace.transform
    monkeypatch.setattr(TangentSpace, "transform", lambda self, s: passes.append(len(s)) or transform(self, s))
    TangentSpace().fit_transform(real_covariances)
    assert 2 <= len(passes) <= 3


def test_each_scale_has_its_own_reference_and_the_same_weight(cohort):
    features = MultiscaleTangentFeatures((1, 4))
    train = np.arange(40)
    both = features.fit(cohort, train)
    cells = REGIONS * (REGIONS + 1) // 2
    assert both.shape == (40, 2 * cells)
    for number, size in enumerate((1, 4)):
        block = both[:, number * cells : (number + 1) * cells].astype(np.float64)
        np.testing.assert_allclose(block.var(axis=0).sum(), 1.0, rtol=1e-5)
        alone = TangentSpace().fit_transform(covariances_of(cohort, train, size))
        np.testing.assert_allclose(block, alone / np.sqrt(alone.astype(np.float64).var(axis=0).sum()), atol=1e-5)
    # The references are those of the training runs, whoever is transformed.
    np.testing.assert_allclose(features.transform(cohort, train[:3]), both[:3], atol=1e-5)


def test_slow_coupling_is_found_and_comes_back_from_disk(cohort, tmp_path):
    train, test = np.arange(40), np.arange(40, 60)
    model = create_estimator("multiscale-tangent", ModelSpec(), Training(), Execution())
    model.fit(cohort, train, seed=0)
    logits = model.predict(cohort, test)
    assert (logits.argmax(axis=1) == cohort.labels(test)).mean() >= 0.9
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(load_estimator(tmp_path / "model.safetensors").predict(cohort, test), logits)


def test_out_of_fold_predictions_come_from_models_without_the_participant():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(60, 200)), np.arange(60) % 2
    runs = pd.DataFrame({"participant_id": [f"s{i}" for i in range(60)], "label": y.astype(str)})
    scores = out_of_fold(x, y, runs, 2, 0, penalty=100.0)
    # Random features fit their own labels, and tell nothing of others'.
    seen = fit_linear(x, y, runs, 2, 0).predict(x)
    assert (seen.argmax(axis=1) == y).mean() > 0.9
    assert 0.25 < (scores.argmax(axis=1) == y).mean() < 0.75
    # A row's own label does not move its score.
    split = make_splits(runs, ["0", "1"], "class", 5, 0.0, None, 0)
    _, test = split.fold_indices(runs, 1)
    turned = y.copy()
    turned[test] = 1 - turned[test]
    again = out_of_fold(x, turned, runs.assign(label=y.astype(str)), 2, 0, penalty=100.0)
    np.testing.assert_allclose(again[test], scores[test], atol=1e-8)
