"""One person under two names is named; different people, families and shared artefacts are not."""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.baselines.connectivity import fisher_z_connectivity
from bids_neurossm.controls.fingerprinting import CONTROL, STANDS_OUT, alike_participants, likeness


def cohort(n=40, features=300, sessions=0, seed=0, artefact=0.0):
    """Features of n people; the first `sessions` of them come again, under other names, with other noise."""
    random = np.random.default_rng(seed)
    people = random.normal(size=(n, features))
    people += artefact * (random.random(n) < 0.3)[:, None] * random.normal(size=features)
    owners = np.concatenate([np.arange(n), np.arange(sessions)])
    names = [f"sub-{i:03d}" for i in range(len(owners))]
    runs = pd.DataFrame({"participant_id": names, "group": names})
    return runs, people[owners] + random.normal(size=(len(owners), features))


def test_a_second_session_under_another_name_is_named():
    runs, features = cohort(sessions=2)
    (row,) = alike_participants(runs, features).to_dict(orient="records")
    assert row["control"] == CONTROL
    assert row["verdict"].startswith("warning: under two names there seems to be one person: sub-00")
    assert "sub-000 and sub-040 (" in row["verdict"]
    assert "sub-001 and sub-041 (" in row["verdict"]
    assert row["observed"] > row["null_q95"] > row["null_mean"]
    assert row["n"] == 42


def test_different_people_are_not_accused_nor_those_who_share_an_artefact():
    for seed in range(20):
        for artefact in (0.0, 2.0):
            verdict = alike_participants(*cohort(seed=seed, artefact=artefact))["verdict"].item()
            assert verdict == "no two participants look like one person"


def test_a_family_stands_on_one_side_anyway():
    runs, features = cohort(sessions=2)
    runs.loc[[0, 40], "group"] = "family"
    verdict = alike_participants(runs, features)["verdict"].item()
    assert "sub-040" not in verdict
    assert "sub-041" in verdict


def test_runs_of_a_participant_are_taken_together_and_few_people_are_not_judged():
    runs, features = cohort(sessions=1)
    twice = pd.concat([runs, runs], ignore_index=True)
    assert alike_participants(twice, np.concatenate([features, features + 0.1]))["n"].item() == 41
    assert alike_participants(runs.iloc[:9], features[:9]).empty


def test_the_most_alike_are_found_as_by_looking_at_all_pairs(monkeypatch):
    monkeypatch.setattr("bids_neurossm.controls.fingerprinting._BLOCK", 7)
    runs, features = cohort(sessions=3)
    found = likeness(features, runs["group"].tolist())
    centred = features - features.mean(axis=0)
    every = np.corrcoef(centred)
    pairs = every[np.triu_indices(len(every), 1)]
    assert found.mean == pytest.approx(pairs.mean(), abs=1e-6)
    best = found.pairs[0]
    assert best.similarity == pytest.approx(every[best.first, best.second], abs=1e-6)
    others = np.delete(every[[best.first, best.second]], [best.first, best.second], axis=1)
    assert best.distance == pytest.approx((best.similarity - others.max()) / pairs.std(), rel=1e-4)
    assert sum(pair.distance > STANDS_OUT for pair in found.pairs) == 3


def test_halves_of_real_runs_are_known_for_one_person(shared_data):
    """Half of a run of 55 patients (117 volumes), and of each in turn the other half under another name."""
    stored = np.load(shared_data / "psychosis" / "dt_AROMA_8Phys_bpf_419_ses-1.npz")
    series = [np.nan_to_num(stored[name][::4].T) for name in stored.files]
    first, second = (
        np.stack([fisher_z_connectivity(run[part]) for run in series]) for part in (np.s_[:117], np.s_[117:])
    )
    names = [f"sub-{i:02d}" for i in range(len(series))]
    found = []
    for features, who in ((first, names), *((np.vstack([first, half]), [*names, "again"]) for half in second)):
        pairs = likeness(features, who).pairs
        found.append([(pair.first, pair.second) for pair in pairs if pair.distance > STANDS_OUT])
    assert found[0] == []
    right = [pairs == [(number, len(series))] for number, pairs in enumerate(found[1:])]
    assert np.mean(right) > 0.5
    assert all(right[number] or not pairs for number, pairs in enumerate(found[1:]))
