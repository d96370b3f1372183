"""Documented names that have moved keep working, and say where they are now."""

import importlib

import pytest

MOVED = {
    "bids_neurossm.training.estimators": ("bids_neurossm.estimators.sklearn_api", "NeuroSSMClassifier"),
    "bids_neurossm.training.estimator": ("bids_neurossm.estimators.protocol", "Estimator"),
    "bids_neurossm.training.cohort": ("bids_neurossm.cohort.store", "standardise"),
}


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_new_one_with_a_note(old: str) -> None:
    new, name = MOVED[old]
    module = importlib.import_module(old)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {new}"):
        found = getattr(module, name)
    assert found is getattr(importlib.import_module(new), name)
    with pytest.raises(AttributeError):
        _ = module.no_such_name
