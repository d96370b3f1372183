"""Pearson and tangent connectivity: dead regions, bins, references, and what may be left undone for speed."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.baselines.connectivity import (
    TangentSpace,
    covariances_of,
    fisher_z_connectivity,
    kept_volumes,
    pearson_features,
    shrunk_covariance,
)
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import RunError


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


def test_pearson_connectivity_is_fisher_z_with_dead_regions_at_nought():
    series = np.random.default_rng(0).normal(900, 3, size=(100, 5))
    series[:, 2], series[:, 4] = 7.5, np.nan
    z = fisher_z_connectivity(series)
    assert z.dtype == np.float32
    expected = np.arctanh(np.corrcoef(series[:, [0, 1, 3]].T)[[0, 0, 1], [1, 2, 2]])
    np.testing.assert_allclose(z[[0, 2, 5]], expected, rtol=1e-5)
    assert (np.delete(z, [0, 2, 5]) == 0).all()
    assert np.isfinite(fisher_z_connectivity(np.tile(series[:, :1], 3))).all()


def test_censored_volumes_do_not_enter(tmp_path):
    whole = np.random.default_rng(0).normal(size=(100, 4))
    whole[40:50] = 1e6
    runs = pd.DataFrame({"run": ["x"], "participant_id": ["s"], "label": ["a"], "segments": ["[[0, 40], [50, 100]]"]})
    cohort = Cohort.create(tmp_path, runs, [whole], list("abcd"), list("abcd"), "class")
    expected = fisher_z_connectivity(np.delete(whole, np.s_[40:50], axis=0))
    np.testing.assert_allclose(pearson_features(cohort, [0])[0], expected, atol=1e-3)


def test_the_tangent_space_is_that_of_nilearn(two_sites):
    from nilearn.connectome import ConnectivityMeasure
    from sklearn.covariance import LedoitWolf

    chosen = np.arange(8)
    series = [two_sites.standardised(i)[:, :20].astype(np.float64) for i in chosen]
    measure = ConnectivityMeasure(LedoitWolf(store_precision=False), kind="tangent", vectorize=True)
    expected = measure.fit_transform(series)
    covariances = np.stack([shrunk_covariance(x) for x in series])
    found = TangentSpace(tolerance=1e-6).fit(covariances).transform(covariances)
    np.testing.assert_allclose(found, np.sqrt(2) * expected, atol=1e-4)


def test_a_dead_region_stays_apart_in_the_covariance():
    series = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    series[:, 1] = 0
    covariance = shrunk_covariance(series)
    np.testing.assert_array_equal(covariance[1], [0, 1, 0, 0])
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_covariances_of_real_runs_are_positive_definite(two_sites):
    assert np.linalg.eigvalsh(covariances_of(two_sites, [0, 70])).min() > 0
