"""Real data whose truth is known: change of symptoms can not be predicted from these scans, and that is what is said.

55 people with a first episode of psychosis, resting state at baseline, change of their BPRS score later.
"""

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cohort.splitting import make_splits, with_resplits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.controls.permutation import label_permutation
from bids_neurossm.estimators.protocol import create_estimator
from bids_neurossm.evaluation.comparison import compare
from bids_neurossm.evaluation.metrics import prediction_frame, unit_predictions

MODELS = ["majority", "pearson-connectivity", "linear-svm", "mean-pooled-mlp"]


@pytest.fixture(scope="module")
def predicted(shared_data, tmp_path_factory):
    """Out-of-fold predictions of two splits of five folds, every fourth region."""
    outcome = pd.read_csv(shared_data / "psychosis" / "bprs_change_scores.txt", sep="\t")
    change = outcome.groupby("BIDS_ID")["outcome"].mean()
    stored = np.load(shared_data / "psychosis" / "dt_AROMA_8Phys_bpf_419_ses-1.npz")
    people = [name for name in change.index if name in stored.files]
    runs = pd.DataFrame({"run": people, "participant_id": people, "label": change[people].to_numpy()})
    names = [f"r{i}" for i in range(0, 419, 4)]
    series = (np.nan_to_num(stored[name][::4].T) for name in people)
    cohort = Cohort.create(tmp_path_factory.mktemp("psychosis"), runs, series, names, names, "continuous")
    splits = make_splits(cohort.runs, [], "continuous", 5, 0.0, None, seed=42)
    splits = with_resplits(splits, cohort.runs, [], "continuous", 2, seed=42)
    settings = Training(epochs=4, batch_size=16, window=60)
    frames = []
    for name in MODELS:
        for number in (1, 2):
            for fold in range(1, 6):
                train, test = splits.repeat(number).fold_indices(cohort.runs, fold)
                model = create_estimator(name, ModelSpec(name, "", {}), settings, Execution(device="cpu"))
                model.fit(cohort, train, seed=fold)
                scores, rows = model.predict(cohort, test), cohort.runs.iloc[test]
                place = {"set_name": "development", "fold": fold, "seed": 1, "split": number}
                frames.append(prediction_frame(rows, scores, [], model=name, **place))
    return unit_predictions(pd.concat(frames, ignore_index=True), "participant")


@pytest.mark.parametrize("model", MODELS[1:])
def test_no_model_is_said_to_predict_the_outcome(predicted, model):
    own = predicted[(predicted["model"] == model) & (predicted["split"] == 1)]
    assert own["participant_id"].nunique() == 47
    control = label_permutation(own, [], "participant", permutations=199, seed=0).iloc[0]
    assert control["p"] > 0.05
    assert control["verdict"].startswith("nothing learned: chance does as well")
    both = predicted[predicted["model"].isin([model, "majority"])]
    error = compare(both, model, [], ["mae"]).iloc[0]
    assert error["n_folds"] == 10
    assert not error["verdict"].startswith(f"{model} beats")
