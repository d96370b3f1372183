"""The mean-pooled MLP looks at each volume alone."""

import numpy as np
import torch

from bids_neurossm.estimators.mean_pooled_mlp import MeanPooledConfig, MeanPooledMLP
from bids_neurossm.registry import model_entry
from bids_neurossm.training.windows import assemble


def test_the_mlp_does_not_look_at_time_or_at_padding():
    torch.manual_seed(0)
    model = MeanPooledMLP(MeanPooledConfig(4, 2, width=8)).eval()
    random = np.random.default_rng(0)
    series = [random.normal(size=(length, 4)).astype(np.float32) for length in (30, 50)]
    whole = [(each, [(0, len(each))]) for each in series]
    together = model(*assemble(whole).arguments)
    alone = torch.cat([model(*assemble([each]).arguments) for each in whole])
    torch.testing.assert_close(together, alone)
    shuffled = [(random.permutation(each), pieces) for each, pieces in whole]
    torch.testing.assert_close(model(*assemble(shuffled).arguments), together)
    # A run in two pieces is one run: its pieces weigh by their length, what lies between them does not count.
    gap = np.insert(series[0], 10, 99.0, axis=0)
    torch.testing.assert_close(model(*assemble([(gap, [(0, 10), (11, 31)])]).arguments), together[:1])
    assert model_entry("mean-pooled-mlp").by_recipe
    assert not model_entry("kernel-ridge").by_recipe
