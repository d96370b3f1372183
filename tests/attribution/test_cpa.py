"""CPA adds up over pathways exactly, and over regions where the path integral is asked for."""

import numpy as np
import pytest
import torch

from bids_neurossm.attribution import cpa
from bids_neurossm.attribution.checks import completeness
from bids_neurossm.attribution.cpa import concatenated
from bids_neurossm.errors import UsageError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig

N_REGIONS = 7


def _model(n_outputs=3, **settings):
    torch.manual_seed(0)
    model = NeuroSSM(NeuroSSMConfig(N_REGIONS, n_outputs, width=8, state=4, **settings))
    with torch.no_grad():
        model.pathway_mean.normal_()
        model.bias.normal_()
        model.head.normal_()
        if model.gate is not None:
            model.gate.normal_()
    return model.eval()


def _series(n=4, length=40):
    return np.random.default_rng(0).normal(size=(n, length, N_REGIONS)).astype(np.float32)


def _centred(logits, target):
    others = np.delete(logits, target)
    return logits[target] - others.mean()


@pytest.mark.parametrize("fusion", ["additive", "gated"])
def test_reference_and_importances_add_up_to_the_centred_logit(fusion):
    model, series, target = _model(fusion=fusion), _series(), [0, 1, 2, 1]
    attribution = cpa(model, series, target)
    with torch.no_grad():
        logits = model(torch.tensor(series), torch.full((4,), 40)).numpy()
    expected = [_centred(row, c) for row, c in zip(logits, target, strict=True)]
    np.testing.assert_allclose(attribution.logit, expected, atol=1e-5)
    np.testing.assert_allclose(attribution.reference + attribution.importance.sum(axis=1), attribution.logit, atol=1e-5)
    assert completeness(attribution).passed


def test_an_importance_is_what_setting_the_features_to_their_mean_costs():
    model, series = _model(), _series(n=1)
    attribution = cpa(model, series, [2])
    with torch.no_grad():
        features = model.encode(model.pathway_inputs(torch.tensor(series), torch.tensor([40])), torch.tensor([0]))
        for pathway in range(6):
            ablated = features.clone()
            ablated[:, pathway] = model.pathway_mean[pathway]
            logits = model.bias + model.terms(ablated, model.gates(ablated)).sum(1)
            cost = attribution.logit[0] - _centred(logits[0].numpy(), 2)
            assert attribution.importance[0, pathway] == pytest.approx(cost, abs=1e-5)


def test_importance_against_zero_is_the_centred_term_of_the_pathway():
    model, series = _model(), _series(n=2)
    attribution = cpa(model, series, [0, 2])
    with torch.no_grad():
        terms = model.pathway_terms(torch.tensor(series), torch.tensor([40, 40])).numpy()
    for run, target in enumerate((0, 2)):
        for pathway in range(6):
            expected = _centred(terms[run, pathway], target)
            assert attribution.importance_zero[run, pathway] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("localisation", ["gradient", "integrated"])
def test_one_forward_and_one_backward_pass_serve_all_runs_and_pathways(localisation, monkeypatch):
    model, counts = _model(), {"forward": 0, "backward": 0}
    encode, grad = model.encode, torch.autograd.grad

    def counted(name, function):
        def call(*arguments, **named):
            counts[name] += 1
            return function(*arguments, **named)

        return call

    monkeypatch.setattr(model, "encode", counted("forward", encode))
    monkeypatch.setattr(torch.autograd, "grad", counted("backward", grad))
    cpa(model, _series(n=4), [0, 1, 2, 0], localisation=localisation, steps=5)
    # The path integral takes its steps besides, and the features of an input of 0. No pathway is run on its own.
    expected = {"gradient": (1, 1), "integrated": (1 + 5 + 1, 5)}[localisation]
    assert (counts["forward"], counts["backward"]) == expected


def test_a_continuous_target_is_explained_upwards_or_downwards():
    model, series = _model(n_outputs=1), _series()
    up, down, mixed = (cpa(model, series, target) for target in ([1] * 4, [-1] * 4, [-1, 1, 0, -1]))
    with torch.no_grad():
        values = model(torch.tensor(series), torch.full((4,), 40)).numpy()[:, 0]
    np.testing.assert_allclose(up.logit, values, atol=1e-5)
    np.testing.assert_allclose(down.importance, -up.importance, atol=1e-6)
    np.testing.assert_allclose(down.share, up.share, atol=1e-6)
    np.testing.assert_allclose(mixed.logit, [-values[0], values[1], values[2], -values[3]], atol=1e-5)
    for attribution in (up, down, mixed):
        assert completeness(attribution).passed
    with pytest.raises(UsageError, match="holds 0 to 2"):
        cpa(model, series, [0, 1, 2, 0])


def test_a_term_that_is_no_pathway_has_an_importance_and_no_map():
    model = _model(amplitude=True)
    with torch.no_grad():
        model.amplitude_head.normal_()
    series, amplitude, target = _series(), torch.randn(4, N_REGIONS), [0, 1, 2, 1]
    found = cpa(model, series, target, amplitude=amplitude)
    with torch.no_grad():
        logits = model(torch.tensor(series), torch.full((4,), 40), amplitude=amplitude).numpy()
    np.testing.assert_allclose(
        found.logit, [_centred(row, c) for row, c in zip(logits, target, strict=True)], atol=1e-5
    )
    assert list(found.further_terms) == ["amplitude"]
    assert np.abs(found.amplitude).min() > 0
    assert found.share.shape[1] == found.importance.shape[1] == len(found.pathways) == 6
    assert completeness(found).passed
    runs = found.averaged([0, 0, 1, 1])
    np.testing.assert_allclose(runs.amplitude, found.amplitude.reshape(2, 2).mean(axis=1))
    np.testing.assert_allclose(concatenated([found, found]).amplitude, np.tile(found.amplitude, 2))


def test_scores_are_input_times_gradient_averaged_over_time():
    model, series = _model(), _series(n=1)
    attribution = cpa(model, series, [1])
    inputs = model.pathway_inputs(torch.tensor(series), torch.tensor([40]))
    leaves = [values.clone().requires_grad_() for values, _ in inputs]
    features = model.encode([(leaf, valid) for leaf, (_, valid) in zip(leaves, inputs, strict=True)], torch.tensor([0]))
    terms = model.terms(features, model.gates(features))[0]
    for pathway, leaf in enumerate(leaves):
        term = terms[pathway, 1] - terms[pathway, [0, 2]].mean()
        (gradient,) = torch.autograd.grad(term, leaf, retain_graph=True)
        expected = (leaf * gradient)[0].mean(dim=0).detach().numpy()
        np.testing.assert_allclose(attribution.score[0, pathway], expected, atol=1e-6)
    np.testing.assert_allclose(attribution.share.sum(axis=-1), 1)


def test_integrated_scores_add_up_but_for_the_reported_gap():
    model, series = _model(), _series()
    attribution = cpa(model, series, [0, 1, 2, 0], localisation="integrated", steps=64)
    with torch.no_grad():
        inputs = model.pathway_inputs(torch.tensor(series), torch.full((4,), 40))
        still = model.encode([(torch.zeros_like(v), n) for v, n in inputs], torch.arange(4))
        terms = model.terms(still, model.gates(still)).numpy()
    for run, target in enumerate((0, 1, 2, 0)):
        for pathway in range(6):
            change = attribution.importance_zero[run, pathway] - _centred(terms[run, pathway], target)
            found = attribution.score[run, pathway].sum() + attribution.gap[run, pathway]
            assert found == pytest.approx(change, abs=1e-4)
    assert np.abs(attribution.gap).max() < 0.05 * np.abs(attribution.score.sum(-1)).max()
    assert np.isnan(cpa(model, series, [0, 1, 2, 0]).gap).all()


def test_two_classes_are_located_in_the_same_regions_with_opposite_importance():
    model, series = _model(n_outputs=2), _series()
    one, other = cpa(model, series, [0] * 4), cpa(model, series, [1] * 4)
    np.testing.assert_allclose(one.share, other.share, rtol=1e-5)
    np.testing.assert_allclose(one.importance, -other.importance, atol=1e-6)


def test_a_region_without_signal_gets_nothing():
    series = _series()
    series[:, :, 3] = 0
    attribution = cpa(_model(), series, [0, 1, 2, 0])
    assert (attribution.share[:, :, 3] == 0).all()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_unequal_lengths_and_batches_change_nothing(bidirectional):
    model, series = _model(bidirectional=bidirectional), _series()
    pieces = [series[0], series[1, :33], series[2, :37]]
    together = cpa(model, pieces, [0, 1, 2])
    alone = concatenated([cpa(model, [piece], [target]) for target, piece in enumerate(pieces)])
    np.testing.assert_allclose(together.importance, alone.importance, atol=1e-5)
    np.testing.assert_allclose(together.share, alone.share, rtol=1e-3, atol=1e-5)


def test_windows_of_a_run_are_averaged():
    attribution = cpa(_model(), _series(), [1, 1, 2, 1])
    runs = attribution.averaged([0, 0, 1, 0])
    np.testing.assert_allclose(runs.importance[0], attribution.importance[[0, 1, 3]].mean(axis=0))
    np.testing.assert_allclose(runs.score[1], attribution.score[2])
    np.testing.assert_array_equal(runs.target, [1, 2])
    np.testing.assert_allclose(runs.share.sum(axis=-1), 1)
    assert completeness(runs).passed


def test_the_model_is_left_as_it_was():
    model = _model(dropout=0.5).train()
    cpa(model, _series(), [0, 1, 2, 0])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_target_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="4 runs"):
        cpa(_model(), _series(), [0, 1])
    with pytest.raises(UsageError, match="3 outputs"):
        cpa(_model(), _series(), [0, 1, 2, 3])
    with pytest.raises(UsageError, match="localisation"):
        cpa(_model(), _series(), [0, 1, 2, 0], localisation="lime")
