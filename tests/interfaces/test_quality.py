"""QC-FC of a cohort on disk: over participants, in the table's own words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.interfaces.quality import qc_fc_table

N, R, T = 36, 6, 120


@pytest.fixture
def series() -> tuple[list[np.ndarray], np.ndarray]:
    """Two runs of each participant; motion adds a signal that regions share."""
    rng = np.random.default_rng(0)
    motion = rng.uniform(0.05, 0.6, 2 * N)
    runs = [rng.normal(size=(T, R)) + 3 * moved * rng.normal(size=(T, 1)) for moved in motion]
    return runs, motion


def cohort_of(folder: Path, runs: list[np.ndarray], motion: np.ndarray) -> Cohort:
    table = pd.DataFrame(
        {
            "run": [f"run-{index}" for index in range(len(runs))],
            "participant_id": [f"{index // 2:02d}" for index in range(len(runs))],
            "label": ["a", "b"] * (len(runs) // 2),
            "mean_fd": motion,
        }
    )
    regions = [f"r{index}" for index in range(runs[0].shape[1])]
    return Cohort.create(folder, table, runs, regions, ["n"] * len(regions), "class", {"denoise": "simple"})


def test_connectivity_and_motion_are_averaged_over_the_runs_of_a_participant(
    series: tuple[list[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    runs, motion = series
    (found,) = qc_fc_table(cohort_of(tmp_path, runs, motion), None).itertuples()
    edges = np.array([np.arctanh(np.corrcoef(run.T)[np.triu_indices(R, 1)]) for run in runs])
    edges, moved = edges.reshape(N, 2, -1).mean(axis=1), motion.reshape(N, 2).mean(axis=1)
    expected = [stats.pearsonr(edge, moved) for edge in edges.T]
    assert (found.strategy, found.n_participants, found.n_edges) == ("simple", N, 15)
    assert found.mean_displacement == pytest.approx(moved.mean())
    # The cohort keeps single precision.
    assert found.median_absolute_r == pytest.approx(np.median([abs(each.statistic) for each in expected]), rel=1e-5)
    assert found.share_significant == np.mean([each.pvalue < 0.05 for each in expected]) > 0.9
    assert np.isnan(found.distance_dependence)
    assert (
        f"median absolute correlation of a connection with mean framewise displacement is {found.median_absolute_r:.2f}"
        in (found.sentence)
    )
    assert "by chance alone" in found.sentence
    assert "says little" not in found.sentence


def test_distances_come_from_the_atlas(series: tuple[list[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    import nibabel as nib

    labels = np.zeros((20, 4, 4), dtype=np.int16)
    places = np.array([0, 1, 3, 7, 12, 18])
    labels[places, 1:3, 1:3] = np.arange(1, R + 1)[:, None, None]
    nib.save(nib.Nifti1Image(labels, np.diag([2.0, 2, 2, 1])), tmp_path / "atlas.nii.gz")
    names = tuple("ABCDEF")
    atlas = Parcellation(
        {"atlas": "X"}, "X", tmp_path / "atlas.nii.gz", tmp_path / "x.tsv", tuple(range(1, R + 1)), names, ("n/a",) * R
    )
    _, motion = series
    # Motion is now shared by near regions only.
    rng = np.random.default_rng(1)
    near = [rng.normal(size=(T, R)) + 3 * moved * rng.normal(size=(T, 1)) * (places < 5) for moved in motion]
    (found,) = qc_fc_table(cohort_of(tmp_path / "cohort", near, motion), atlas).itertuples()
    assert found.distance_dependence < -0.5
    assert f"with distance {found.distance_dependence:.2f}" in found.sentence
    (same,) = qc_fc_table(cohort_of(tmp_path / "other", near, motion), None).itertuples()
    assert same.median_absolute_r == found.median_absolute_r


def test_motion_that_is_not_known_is_said_to_be_so(series: tuple[list[np.ndarray], np.ndarray], tmp_path: Path) -> None:
    runs, motion = series
    motion = motion.copy()
    motion[6:] = np.nan
    (found,) = qc_fc_table(cohort_of(tmp_path, runs, motion), None).itertuples()
    assert (found.n_participants, found.n_edges) == (3, 0)
    assert np.isnan(found.median_absolute_r)
    assert found.sentence == (
        "QC-FC is not known: 3 of 36 participants state a mean framewise displacement, and 4 are needed."
    )


def test_a_small_cohort_is_told_that_it_is_small_and_dead_regions_have_no_edges(
    series: tuple[list[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    runs, motion = series
    few = [run.copy() for run in runs[:20]]
    for run in few:
        run[:, 0] = np.nan
        run[:, 1] = 7.0
    (found,) = qc_fc_table(cohort_of(tmp_path, few, motion[:20]), None).itertuples()
    assert found.n_edges == 6
    assert found.sentence.endswith("With fewer than 30 participants this says little.")
