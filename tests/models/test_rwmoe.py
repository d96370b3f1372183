"""Random walks on a run's own graph, and routers that share the work."""

import numpy as np
import pytest
import torch
from helpers.experts_of_regions import REGIONS, small_model, white_series

from bids_neurossm.models.rwmoe import (
    Experts,
    GraphProfiles,
    Router,
    balance_loss,
    connectivity_graph,
    random_walk,
    regions_with_signal,
    z_loss,
)


def _alone(batch):
    return torch.arange(batch)


def test_the_graph_is_that_of_the_largest_positive_correlations():
    series = white_series(batch=1, length=60)
    graph = connectivity_graph(series, torch.tensor([60]), _alone(1), edges=0.2)[0].numpy()
    correlation = np.corrcoef(series[0].numpy().T)
    pairs = correlation[np.triu_indices(REGIONS, 1)]
    joined = np.where(correlation >= np.sort(pairs)[-9], np.clip(correlation, 0, 1), 0)
    np.fill_diagonal(joined, 0)
    alone = joined.sum(axis=1) == 0
    joined[alone, alone] = 1
    np.testing.assert_allclose(graph, joined / joined.sum(axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(graph.sum(axis=1), 1, rtol=1e-5)


def test_an_isolated_region_stays_where_it_is():
    series = white_series(batch=1, length=60)
    series[0, :, 4] = 0.0
    graph = connectivity_graph(series, torch.tensor([60]), _alone(1), edges=0.3)[0]
    assert float(graph[4, 4]) == 1.0
    assert float(graph[:, 4].sum()) == 1.0


def test_a_run_without_a_positive_edge_is_left_as_it_is():
    wave = torch.sin(torch.arange(40.0))
    series = torch.zeros(1, 40, REGIONS)
    series[0, :, 0], series[0, :, 1] = wave, -wave
    graph = connectivity_graph(series, torch.tensor([40]), _alone(1), edges=0.1)
    torch.testing.assert_close(graph[0], torch.eye(REGIONS))
    tokens = torch.randn(1, REGIONS, 5, 8)
    walked = random_walk(tokens, graph, 3, 0.2)
    torch.testing.assert_close(walked, tokens.repeat(1, 1, 1, 4))
    assert small_model()(series, torch.tensor([40])).isfinite().all()


def test_pieces_of_a_run_share_one_graph_and_padding_does_not_count():
    series = white_series(batch=2, length=30)
    spoilt = torch.cat([series, torch.full((2, 10, REGIONS), 1e3)], dim=1)
    together = connectivity_graph(spoilt, torch.tensor([30, 30]), torch.tensor([0, 0]), 0.3)
    joined = connectivity_graph(series.reshape(1, 60, REGIONS), torch.tensor([60]), _alone(1), 0.3)
    torch.testing.assert_close(together, joined, rtol=1e-4, atol=1e-5)


def test_a_walk_follows_the_edges_and_comes_back():
    transition = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    tokens = torch.tensor([[[[1.0]], [[0.0]]]])
    walked = random_walk(tokens, transition, steps=2, restart=0.25)[0, :, 0]
    # U_1 = .75 P U_0 + .25 U_0, U_2 = .75 P U_1 + .25 U_0
    torch.testing.assert_close(walked, torch.tensor([[1.0, 0.25, 0.8125], [0.0, 0.75, 0.1875]]))


def test_two_experts_are_asked_and_their_weights_add_up_to_one():
    torch.manual_seed(0)
    router = Router(8, 4, balance=0.01, z=0.001)
    present = torch.ones(3, 20, dtype=torch.bool)
    present[2, 15:] = False
    routing = router(torch.randn(3, 20, 8), present)
    assert ((routing.weights > 0).sum(dim=-1) == 2 * present).all()
    torch.testing.assert_close(routing.weights.sum(dim=-1), present.float())


def test_profiles_tell_what_is_special_of_a_graph_in_the_size_of_the_differences_between_runs():
    series, lengths = white_series(6, 60), torch.full((6,), 60)
    graphs = connectivity_graph(series, lengths, _alone(6), edges=0.3)
    signal = regions_with_signal(series, lengths, _alone(6))
    torch.manual_seed(3)
    profiles = GraphProfiles(REGIONS, 5, steps=2, restart=0.2)
    profiles.measure(lambda: [(graphs[:4], signal[:4]), (graphs[4:], signal[4:])])
    torch.testing.assert_close(profiles.usual, graphs.mean(dim=0))
    found = profiles(graphs, signal)
    assert found.shape == (6, REGIONS, 10)
    np.testing.assert_allclose(found.square().mean(dim=(0, 1)).sqrt().detach(), 1.0, rtol=1e-4)
    # The first step is (1 - restart) (P - usual) code, exactly.
    first = 0.8 * (graphs - profiles.usual) @ profiles.code / profiles.spread[:5]
    torch.testing.assert_close(found[:, :, :5], first, rtol=1e-4, atol=1e-5)
    usual = profiles(profiles.usual[None], signal[:1])
    np.testing.assert_allclose(usual.detach(), 0.0, atol=1e-6)


def test_a_region_without_signal_has_no_profile():
    series = white_series(2, 60)
    series[1, :, 4] = 0
    series[0, 50:, 3] = 1e3  # padding
    signal = regions_with_signal(series, torch.tensor([50, 60]), _alone(2))
    assert signal[0].all()
    assert (~signal[1]).nonzero()[:, 0].tolist() == [4]
    graphs = connectivity_graph(series, torch.tensor([50, 60]), _alone(2), edges=0.3)
    found = GraphProfiles(REGIONS, 5, 2, 0.2)(graphs, signal)
    assert not found[1, 4].any()
    assert found[1, 3].any()


def test_cohorts_whose_graphs_are_all_alike_have_nothing_to_be_divided_by():
    graphs = torch.eye(REGIONS).repeat(3, 1, 1)
    profiles = GraphProfiles(REGIONS, 5, 2, 0.2)
    profiles.measure(lambda: [(graphs, torch.ones(3, REGIONS, dtype=torch.bool))])
    assert profiles.spread.eq(1).all()
    with pytest.raises(ValueError, match="no graphs"):
        profiles.measure(lambda: [])


def test_experts_that_are_asked_alone_answer_as_they_do_among_all():
    torch.manual_seed(4)
    experts = Experts(6, 3, experts=4, dropout=0.0)
    features = torch.randn(2, REGIONS, 7, 6)
    chosen = torch.randint(0, 4, (2, REGIONS, 2))
    alone = experts.asked(features, torch.nn.functional.one_hot(chosen, 4).float())
    of_all = experts.inner(features)
    for b in range(2):
        for r in range(REGIONS):
            torch.testing.assert_close(alone[b, r].mT, of_all[b, r][:, chosen[b, r]].movedim(0, 1))


def test_the_losses_of_a_router_are_what_their_definition_says():
    present = torch.ones(8, 1)
    even = torch.full((8, 4), 0.25)
    asked = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]] * 4)
    assert float(balance_loss(even, asked, present)) == pytest.approx(1.0)
    skewed = torch.tensor([[0.5, 0.5, 0, 0]]).repeat(8, 1)
    assert float(balance_loss(skewed, torch.tensor([[1.0, 1, 0, 0]] * 8), present)) == pytest.approx(2.0)
    logits = torch.zeros(8, 4)
    assert float(z_loss(logits, present)) == pytest.approx(np.log(4) ** 2)
    half = present.clone()
    half[4:] = 0
    logits[4:] = 50  # what is not present costs nothing
    assert float(z_loss(logits, half)) == pytest.approx(np.log(4) ** 2)
