"""A small LMAE-RWMoE with random weights, and series for it."""

import torch

from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, LmaeRwmoeConfig

REGIONS = 10


def small_config(**settings):
    return LmaeRwmoeConfig(REGIONS, **{"n_outputs": 3, "width": 8, "nodes": 4, "state": 2, **settings})


def small_model(seed=0, **settings):
    torch.manual_seed(seed)
    return LmaeRwmoe(small_config(**settings)).eval()


def white_series(batch=3, length=48, seed=1):
    return torch.randn(batch, length, REGIONS, generator=torch.Generator().manual_seed(seed))
