"""NeuroSSM is a sum over pathways, and nothing but valid samples of one piece ever meets."""

import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
from bids_neurossm.models.neurossm import log_variation


def _model(seed=0, **settings):
    torch.manual_seed(seed)
    return NeuroSSM(NeuroSSMConfig(n_regions=6, n_outputs=3, width=8, state=4, **settings)).eval()


def _series(batch=3, length=40, seed=1):
    return torch.randn(batch, length, 6, generator=torch.Generator().manual_seed(seed))


def _lengths(*lengths):
    return torch.tensor(lengths)


@pytest.mark.parametrize("fusion", ["additive", "gated"])
def test_bias_and_pathway_terms_add_up_to_the_logits(fusion):
    model, series, lengths = _model(fusion=fusion), _series(), _lengths(40, 40, 33)
    terms = model.pathway_terms(series, lengths)
    assert terms.shape == (3, 6, 3)
    torch.testing.assert_close(model.bias + terms.sum(1), model(series, lengths))


def test_removing_a_pathway_changes_the_logits_by_its_own_term():
    model, series, lengths = _model(), _series(), _lengths(40, 40, 40)
    before, terms = model(series, lengths), model.pathway_terms(series, lengths)
    with torch.no_grad():
        model.head[4] = 0
    torch.testing.assert_close(before - model(series, lengths), terms[:, 4])


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(bidirectional):
    model, series = _model(bidirectional=bidirectional), _series()
    lengths = _lengths(40, 29, 17)
    spoilt = series.clone()
    spoilt[1, 29:], spoilt[2, 17:] = 1e3, -1e3
    together = model(spoilt, lengths)
    for row, length in enumerate(lengths):
        alone = model(series[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=1e-4, atol=1e-5)


def test_pieces_of_a_run_are_pooled_and_a_gap_is_not_crossed():
    model, series = _model(), _series(batch=2, length=24)
    pieces = model(series, _lengths(24, 24), torch.tensor([0, 0]))
    swapped = model(series.flip(0), _lengths(24, 24), torch.tensor([0, 0]))
    torch.testing.assert_close(pieces, swapped, rtol=1e-4, atol=1e-5)
    joined = model(series.reshape(1, 48, 6), _lengths(48))
    assert not torch.allclose(pieces, joined, atol=1e-4)
    doubled = model(series[[0, 0]], _lengths(24, 24), torch.tensor([0, 0]))
    torch.testing.assert_close(doubled, model(series[:1], _lengths(24)), rtol=1e-4, atol=1e-5)


def test_inputs_are_pooled_first_and_differenced_then():
    model, series = _model(), _series(batch=1, length=11)
    inputs = dict(zip(model.config.pathway_names, model.pathway_inputs(series, _lengths(11)), strict=True))
    assert list(inputs) == ["raw-1", "raw-2", "raw-4", "difference-1", "difference-2", "difference-4"]
    bins = torch.stack([series[:, 0:4].mean(1), series[:, 4:8].mean(1)], dim=1)
    torch.testing.assert_close(inputs["raw-4"][0], bins)
    torch.testing.assert_close(inputs["difference-4"][0], bins[:, 1:] - bins[:, :1])
    assert [int(length) for _, length in inputs.values()] == [11, 5, 2, 10, 4, 1]


def test_inputs_are_divided_by_the_constants_of_the_training_set():
    model, series = _model(), _series()
    before = model.pathway_inputs(series, _lengths(40, 40, 40))
    model.input_scale.copy_(torch.arange(1.0, 7.0))
    after = model.pathway_inputs(series, _lengths(40, 40, 40))
    for number, ((old, _), (new, _)) in enumerate(zip(before, after, strict=True)):
        torch.testing.assert_close(new * (number + 1), old)


def test_a_piece_too_short_for_a_pathway_adds_nothing_to_it():
    model, series = _model(), _series(batch=2, length=40)
    runs = torch.tensor([0, 0])
    one = model.encode(model.pathway_inputs(series[:1], _lengths(40)), runs[:1])
    both = model.encode(model.pathway_inputs(series, _lengths(40, 3)), runs)
    torch.testing.assert_close(both[:, [2, 5]], one[:, [2, 5]])
    assert not torch.allclose(both[:, 0], one[:, 0])


def test_dropout_works_in_training_only_and_drops_whole_regions():
    model, series, lengths = _model(dropout=0.0, region_dropout=0.5), _series(), _lengths(40, 40, 40)
    assert torch.equal(model(series, lengths), model(series, lengths))
    model.train()
    assert not torch.equal(model(series, lengths), model(series, lengths))
    kept = model._kept_regions(200, series)
    assert set(kept.unique().tolist()) == {0.0, 2.0}


def _alone(model, inputs, runs):
    """Features pathway by pathway: nothing batched, nothing moved past the embedding."""
    features = []
    for (values, lengths), (stream, _), layers in zip(inputs, model.config.pathways, model.pathway_layers, strict=True):
        sequence = layers(torch.nn.functional.gelu(model.embeddings[stream](values)), lengths)
        means = []
        for run in range(int(runs.max()) + 1):
            pieces = [sequence[row, : lengths[row]] for row in torch.where(runs == run)[0]]
            means.append(torch.cat(pieces).mean(dim=0))
        features.append(torch.nn.functional.layer_norm(torch.stack(means), means[0].shape))
    return torch.stack(features, dim=1)


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"bidirectional": True, "depth": 2}, {"scales": (2.5, 5.0), "scale_unit": "seconds"},
        {"streams": ("difference",), "convolution": 2},
    ],
)  # fmt: skip
def test_pathways_that_run_together_give_what_each_gives_alone(settings):
    model, times = _model(**settings).double(), torch.tensor([2.0, 0.8, 1.1])
    model.input_scale.copy_(torch.linspace(0.5, 2, len(model.input_scale)))
    series, lengths, runs = _series().double(), _lengths(40, 33, 37), torch.tensor([0, 0, 1])
    inputs = model.pathway_inputs(series, lengths, times)
    outcomes = []
    for features in (
        _alone(model, inputs, runs), model.encode(inputs, runs), model.features(series, lengths, runs, times)
    ):  # fmt: skip
        weights = torch.linspace(-1, 1, features.numel(), dtype=torch.float64).view(features.shape)
        leaves = [parameter for parameter in model.parameters() if parameter is not model.head]
        gradients = torch.autograd.grad((features * weights).sum(), leaves, allow_unused=True)
        outcomes.append([features, *(each for each in gradients if each is not None)])
    assert len(outcomes[0]) > 20
    for together in outcomes[1:]:
        for ours, expected in zip(together, outcomes[0], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


def test_a_training_step_is_the_same_to_the_bit_given_the_seed():
    outcomes = []
    for threads in (1, 2):
        model, before = _model(seed=3).train(), torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            torch.manual_seed(5)
            model(_series(length=200), _lengths(200, 200, 90)).sum().backward()
        finally:
            torch.set_num_threads(before)
        outcomes.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert all(torch.equal(outcomes[0][name], outcomes[1][name]) for name in outcomes[0])


def test_half_precision_stays_near_single_precision():
    model, series, lengths = _model(), _series(length=200), _lengths(200, 200, 90)
    exact = model(series, lengths).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded, features = model(series, lengths).detach(), model.features(series, lengths)
    assert features.dtype == torch.float32
    torch.testing.assert_close(rounded.float(), exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))


def _amplitude():
    mean, deviation = torch.rand(2, 3, 6, generator=torch.Generator().manual_seed(4)) + 0.5
    mean[:, 2] = -1.0
    mean[1, 0] = 0.0
    return log_variation(mean, deviation), mean, deviation


def test_amplitude_is_one_more_additive_term():
    model, plain, series, lengths = _model(amplitude=True), _model(), _series(), _lengths(40, 40, 33)
    amplitude, mean, deviation = _amplitude()
    model.fit_amplitude(amplitude)
    assert torch.equal(model(series, lengths, amplitude=amplitude), plain(series, lengths))
    with torch.no_grad():
        model.amplitude_head.copy_(torch.arange(18.0).view(3, 6))
    terms = model.pathway_terms(series, lengths, amplitude=amplitude)
    assert model.config.term_names == (*plain.config.pathway_names, "amplitude")
    assert torch.equal(terms[:, :6], plain.pathway_terms(series, lengths))
    torch.testing.assert_close(model.bias + terms.sum(1), model(series, lengths, amplitude=amplitude))
    # By hand: region 2 has no positive mean at all, region 0 none in run 1.
    expected = torch.zeros(3, 6)
    for region in (0, 1, 3, 4, 5):
        usable = torch.tensor([0, 2]) if region == 0 else torch.arange(3)
        ratio = (deviation[usable, region] / mean[usable, region]).log()
        expected[usable, region] = (ratio - ratio.mean()) / ratio.std(correction=0)
    torch.testing.assert_close(terms[:, 6], expected @ model.amplitude_head.T, rtol=1e-4, atol=1e-4)


def test_amplitudes_that_are_missing_or_of_other_runs_are_refused_and_others_do_not_look_at_them():
    model, series, lengths = _model(amplitude=True), _series(), _lengths(40, 40, 33)
    with pytest.raises(UsageError, match="amplitudes of 3 runs x 6 regions, not none"):
        model(series, lengths)
    with pytest.raises(UsageError, match=r"not an array of shape \(2, 6\)"):
        model(series, lengths, amplitude=torch.zeros(2, 6))
    assert torch.equal(_model()(series, lengths, amplitude=torch.zeros(2, 6)), _model()(series, lengths))
    assert set(_model(amplitude=True).state_dict()) - set(_model().state_dict()) == {
        "amplitude_head", "amplitude_mean", "amplitude_scale"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"scales": (1.5,)}, "seconds"), ({"scales": ()}, "scales"), ({"streams": ("raw", "raw")}, "streams"),
        ({"dropout": 1.0}, "dropout"), ({"fusion": "mean"}, "fusion"), ({"width": 0}, "width"),
    ],
)  # fmt: skip
def test_impossible_shapes_are_refused(settings, word):
    with pytest.raises(UsageError, match=word):
        NeuroSSMConfig(**{"n_regions": 6, "n_outputs": 2, **settings})
