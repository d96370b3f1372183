"""A layer with the state dict of ``mamba_ssm.Mamba`` gives its numbers."""

import numpy as np
import pytest
import torch

from bids_neurossm.models import Mamba
from bids_neurossm.models.mamba import run_together

BLOCKS = {"mamba_d64": {"d_model": 64, "d_state": 16}, "mamba_d32_s8": {"d_model": 32, "d_state": 8}}


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_same_state_dict_same_output_same_gradients(shared_data, block, backend):
    oracle = np.load(shared_data / "oracles" / "mamba_block_ref.npz", allow_pickle=False)

    def table(kind):
        prefix = f"{block}/{kind}/"
        return {key.removeprefix(prefix): torch.tensor(oracle[key]) for key in oracle.files if key.startswith(prefix)}

    layer = Mamba(**BLOCKS[block], backend=backend)
    layer.load_state_dict(table("state"), strict=True)
    x = torch.tensor(oracle[f"{block}/x"]).requires_grad_()
    y = layer(x)
    torch.testing.assert_close(y.detach(), torch.tensor(oracle[f"{block}/y"]), rtol=1e-4, atol=1e-6)
    y.backward(torch.tensor(oracle[f"{block}/grad_y"]))
    torch.testing.assert_close(x.grad, torch.tensor(oracle[f"{block}/grad_x"]), rtol=1e-3, atol=1e-5)
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    for name, expected in table("grad").items():
        scale = float(expected.abs().max())
        torch.testing.assert_close(gradients[name], expected, rtol=1e-3, atol=1e-5 * scale, msg=name)


@pytest.mark.parametrize("settings", [{}, {"bias": True, "conv_bias": False, "dt_rank": 2}])
def test_layers_that_run_together_give_what_each_gives_alone(settings):
    torch.manual_seed(0)
    layers = [Mamba(12, d_state=4, **settings).double() for _ in range(3)]
    sequences = torch.randn(3, 2, 21, 12, dtype=torch.float64)
    together = run_together(layers, sequences)
    for layer, sequence, ours in zip(layers, sequences, together, strict=True):
        torch.testing.assert_close(ours, layer(sequence), rtol=1e-12, atol=1e-12)


def test_a_sample_sees_nothing_that_comes_after_it():
    torch.manual_seed(0)
    layer, x = Mamba(16, d_state=4), torch.randn(2, 30, 16)
    changed = x.clone()
    changed[:, 20:] = 100.0
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[:, :20], layer(changed)[:, :20], rtol=0, atol=0)
        assert (layer(x)[:, 20:] != layer(changed)[:, 20:]).any()


def test_steps_at_the_start_lie_in_the_range_asked_for():
    torch.manual_seed(0)
    step = torch.nn.functional.softplus(Mamba(64, dt_min=0.01, dt_max=0.2).dt_proj.bias)
    assert step.min() >= 0.01 * (1 - 1e-4)
    assert step.max() <= 0.2 * (1 + 1e-4)
