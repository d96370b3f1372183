"""Linear models in rotated coordinates are those of scikit-learn, and each participant counts once."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from bids_neurossm.baselines import linear_solver
from bids_neurossm.baselines.linear_solver import fit_linear, out_of_fold
from bids_neurossm.cohort.splitting import make_splits


@pytest.mark.parametrize(("n", "p"), [(40, 300), (80, 6)])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_rotated_coordinates_give_the_same_model_as_the_features_themselves(monkeypatch, n, p, classes):
    random = np.random.default_rng(0)
    x = random.normal(size=(n, p)) + 5
    y = np.arange(n) % classes if classes else x[:, 0] + random.normal(size=n)
    runs = pd.DataFrame({"participant_id": [f"s{i}" for i in range(n)], "label": [str(v) for v in y] if classes else y})
    monkeypatch.setattr(linear_solver, "PENALTIES", (1.0,))
    model = linear_solver.fit_linear(x, y, runs, classes, seed=0)
    scaled = (x - x.mean(axis=0)) / np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    if not classes:
        expected = Ridge(alpha=1.0).fit(scaled, y).predict(scaled)
        np.testing.assert_allclose(model.predict(x)[:, 0], expected, rtol=1e-6)
        return
    reference = LogisticRegression(C=1.0, tol=1e-8, max_iter=5000).fit(scaled, y)
    np.testing.assert_allclose(
        np.exp(model.predict(x)) / np.exp(model.predict(x)).sum(axis=1, keepdims=True),
        reference.predict_proba(scaled),
        atol=2e-4,
    )


def test_every_participant_weighs_the_same():
    runs = pd.DataFrame({"participant_id": ["a", "a", "a", "b", "c"]})
    weights = linear_solver.participant_weights(runs, np.array([0, 0, 0, 1, 1]), 2)
    np.testing.assert_allclose(weights / weights.sum(), [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3])
    balanced = linear_solver.participant_weights(runs, np.array([0, 0, 0, 1, 1]), 2, class_weights=True)
    assert balanced[:3].sum() == pytest.approx(balanced[3:].sum())
    tasks = linear_solver.participant_weights(pd.DataFrame({"participant_id": ["a", "a"]}), np.array([0, 1]), 2)
    np.testing.assert_array_equal(tasks, [1, 1])


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
