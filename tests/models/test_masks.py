"""What a masked autoencoder does not see: whole blocks in time, with the homologues of every region."""

import numpy as np
import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.models.masks import Masking, hidden_regions, homologues, mean_correlation

REGIONS = 40


@pytest.fixture
def twins():
    """Regions 2k and 2k + 1 are a pair, left and right."""
    correlation = np.eye(REGIONS)
    for left in range(0, REGIONS, 2):
        correlation[left, left + 1] = correlation[left + 1, left] = 0.9
    return homologues(correlation, 1)


def test_the_homologue_is_the_region_that_correlates_most(twins):
    assert twins.shape == (REGIONS, 2)
    np.testing.assert_array_equal(twins[6], [6, 7])
    np.testing.assert_array_equal(twins[7], [7, 6])


def test_a_region_without_signal_has_no_homologue():
    correlation = np.full((5, 5), 0.5)
    correlation[2] = correlation[:, 2] = 0.0
    np.testing.assert_array_equal(homologues(correlation, 2)[2], [2, 2, 2])


def test_a_hidden_region_takes_its_homologue_with_it_for_the_whole_block(twins):
    masking = Masking(share=0.5, blocks=(2, 3), homologues=1)
    for seed in range(20):
        hidden = masking.draw(30, twins, np.random.default_rng(seed))
        assert hidden.shape == (REGIONS, 30)
        np.testing.assert_array_equal(hidden[0::2], hidden[1::2])
        assert hidden.any()
        assert set(_stretches(hidden)) <= {2, 3}  # 16 and 24 s with patches of 8 s, and never two blocks in a row
        assert hidden[:, hidden.any(axis=0)].mean() == pytest.approx(0.5, abs=0.06)


def _stretches(hidden):
    """Lengths of the hidden stretches of all regions that do not touch the end of the piece."""
    for row in hidden:
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        yield from (int(stop - start) for start, stop in zip(edges[::2], edges[1::2], strict=True) if stop < len(row))


def test_the_random_mask_hides_as_many_tokens_but_no_blocks(twins):
    local = Masking(homologues=1).draw(30, twins, np.random.default_rng(3))
    loose = Masking("random", homologues=1).draw(30, twins, np.random.default_rng(3))
    assert abs(int(local.sum()) - int(loose.sum())) <= 2
    assert (loose[0::2] != loose[1::2]).any()
    assert 1 in set(_stretches(loose))


@pytest.mark.parametrize("kind", ["local", "random"])
@pytest.mark.parametrize("patches", [1, 2, 3])
def test_no_patch_loses_all_its_regions(twins, kind, patches):
    for seed in range(30):
        hidden = Masking(kind, share=0.9, homologues=1).draw(patches, twins, np.random.default_rng(seed))
        assert not hidden.all(axis=0).any()


def test_regions_that_are_all_homologues_of_each_other_are_refused():
    twins = homologues(np.full((4, 4), 0.5), 3)
    with pytest.raises(UsageError, match=r"All 4 regions of a patch would be hidden, each with 3 homologues"):
        hidden_regions(twins, 0.5, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 1.0}, "nothing is left"),
        ({"kind": "blocks"}, "'local' or 'random'"),
        ({"blocks": (0,)}, "1 patch or more"),
        ({"homologues": -1}, "0 or more"),
    ],
)
def test_impossible_masks_are_refused(settings, words):
    with pytest.raises(UsageError, match=words):
        Masking(**settings)


def test_correlations_are_averaged_over_runs():
    generator = np.random.default_rng(0)
    runs = [generator.normal(size=(50, 3)) for _ in range(2)]
    runs = [(values - values.mean(axis=0)) / values.std(axis=0) for values in runs]
    expected = np.mean([np.corrcoef(values.T) for values in runs], axis=0)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(mean_correlation(runs), expected)
