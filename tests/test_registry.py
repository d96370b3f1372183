"""The models by name: what the package knows of a model without importing it."""

from dataclasses import replace

import pytest

from bids_neurossm import registry
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.registry import (
    Bins,
    ModelEntry,
    baseline_panel,
    blaming,
    installed_entry,
    model_entry,
    model_names,
    register_model,
    resolved,
)

#: Of this package: other tests add models of their own.
OURS = sorted(name for name, entry in registry._MODELS.items() if entry.factory.startswith("bids_neurossm."))


@pytest.fixture
def own_models(monkeypatch):
    """Models that are added stay in this test."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))


def test_the_models_of_this_package_are_listed_in_order():
    assert [name for name in model_names() if name in OURS] == [
        "age-only", "covariates", "kernel-ridge", "linear-svm", "lmae-rwmoe", "lmae-rwmoe-static", "majority",
        "mean-pooled-mlp", "multiscale-tangent", "neurossm", "neurossm-static", "pearson-connectivity", "site-only",
        "tangent-connectivity",
    ]  # fmt: skip


@pytest.mark.parametrize("name", OURS)
def test_every_reference_of_an_entry_can_be_imported(name):
    entry = model_entry(name)
    references = [entry.factory, *entry.figures, *([entry.methods] if entry.methods else [])]
    assert all(callable(resolved(each, name, entry)) for each in references)
    assert entry.has_static_term == name.endswith("-static")
    if entry.joins:
        assert name == entry.joins + registry.STATIC


def test_the_panel_depends_on_the_type_of_the_target():
    classes, values = baseline_panel("class"), baseline_panel("continuous")
    assert "age-only" not in classes
    assert [name for name in values if name != "age-only"] == classes
    assert {"majority", "covariates", "pearson-connectivity", "tangent-connectivity", "site-only"} <= set(classes)


@pytest.mark.parametrize(
    ("name", "settings", "bins"),
    [
        ("neurossm", {}, Bins(1, 4, False)),
        ("neurossm", {"scales": [8.0, 2.0], "scale_unit": "seconds"}, Bins(2.0, 8.0, True)),
        ("lmae-rwmoe", {}, Bins(1.0, 4.0, False)),
        ("lmae-rwmoe", {"sample": 2.0, "patch": 3, "scale_unit": "seconds"}, Bins(2.0, 6.0, True)),
        ("majority", {}, Bins(1, 1, False)),
    ],
)
def test_bins_follow_from_the_settings_of_the_recipe(name, settings, bins):
    assert model_entry(name).bins(settings) == bins


def test_a_name_is_given_once(own_models):
    entry = ModelEntry("package.module:create", "another")
    register_model("another", entry)
    register_model("another", replace(entry))
    assert model_entry("another") == entry
    with pytest.raises(UsageError, match=r"The model name 'another' is taken by package\.module:create"):
        register_model("another", replace(entry, factory="other.module:create"))


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match="The model 'neuro' is not known; known are age-only, "):
        model_entry("neuro")
    assert installed_entry("neuro") is None


def test_an_error_in_the_code_of_another_package_names_it():
    words = "The package gru-model, which brings the model 'gru', cannot be used: KeyError: 'x'"
    with pytest.raises(UsageError, match=words), blaming("gru", "gru-model"):
        _ = {}["x"]
    with pytest.raises(UsageError, match="cannot be used: SystemExit: 3"), blaming("gru", "gru-model"):
        raise SystemExit(3)
    with pytest.raises(LabelError, match="as it is"), blaming("gru", "gru-model"):
        raise LabelError("as it is")


def test_an_error_of_this_package_is_handed_on_as_it_is():
    with pytest.raises(KeyError), blaming("neurossm", "bids_neurossm"):
        _ = {}["x"]
