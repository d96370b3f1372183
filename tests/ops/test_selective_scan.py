"""Every engine of the selective scan gives the numbers of mamba-ssm's own reference, forward and backward."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from bids_neurossm.errors import DeviceUnavailableError, UsageError
from bids_neurossm.ops import selective_scan

CASES = ["plain", "softplus_bias_gate", "long", "one_step"]
NAMES = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"]


def _draw(batch=2, channels=6, length=35, states=3, form="(B,N,L)", groups=2, kind=torch.float64):
    """Random arguments with gradients; lengths are no multiple of anything inside."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=kind)

    shape = {"(D,N)": (channels, states), "(B,N,L)": (batch, states, length)}.get(form, (batch, groups, states, length))
    drawn = {
        "u": normal(batch, channels, length), "delta": normal(batch, channels, length),
        "A": -normal(channels, states).exp(), "B": normal(*shape), "C": normal(*shape), "D": normal(channels),
        "z": normal(batch, channels, length), "delta_bias": normal(channels),
    }  # fmt: skip
    return {name: tensor.requires_grad_() for name, tensor in drawn.items()}


def _outcome(arguments, backend, softplus=True):
    """Output, last state, and the gradients of a sum that touches both."""
    out, state = selective_scan(**arguments, delta_softplus=softplus, return_last_state=True, backend=backend)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    gradients = torch.autograd.grad((out * weight).sum() + state.square().sum(), list(arguments.values()))
    return [out.detach(), state.detach(), *gradients]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_equal_to_mamba_ssm(shared_data, case, backend):
    oracle = np.load(shared_data / "oracles" / "selective_scan_ref.npz", allow_pickle=False)
    arguments = {
        name: torch.tensor(oracle[f"{case}/{name}"]).requires_grad_() for name in NAMES if f"{case}/{name}" in oracle
    }
    softplus = bool(oracle[f"{case}/delta_softplus"])
    out, state = selective_scan(**arguments, delta_softplus=softplus, return_last_state=True, backend=backend)
    gradients = torch.autograd.grad(out, list(arguments.values()), torch.tensor(oracle[f"{case}/grad_out"]))
    expected = {"out": out, "last_state": state}
    expected.update({f"grad_{name}": gradient for name, gradient in zip(arguments, gradients, strict=True)})
    for name, ours in expected.items():
        theirs = oracle[f"{case}/{name}"]
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-4, atol=3e-6 * scale, err_msg=name)


@pytest.mark.parametrize("form", ["(D,N)", "(B,N,L)", "(B,G,N,L)"])
@pytest.mark.parametrize("softplus", [True, False])
def test_compiled_equals_reference_in_double_precision(form, softplus):
    arguments = _draw(form=form)
    if not softplus:
        # A step is positive; without the softplus the caller sees to it.
        with torch.no_grad():
            arguments["delta"].abs_()
            arguments["delta_bias"].abs_()
    for ours, theirs in zip(
        _outcome(arguments, "cpu", softplus), _outcome(arguments, "reference", softplus), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_mixed_forms_of_b_and_c_and_no_optional_argument():
    arguments = _draw(form="(B,G,N,L)")
    arguments["C"] = _draw(form="(B,N,L)")["C"]
    arguments = {name: arguments[name] for name in NAMES[:5]}
    for ours, theirs in zip(_outcome(arguments, "cpu"), _outcome(arguments, "reference"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_float32_is_as_exact_as_float32_can_be_with_wide_inputs():
    double = _draw(channels=70, length=100, states=8)
    with torch.no_grad():
        double["delta"] *= 8
        double["z"] *= 20
    single = {name: tensor.detach().float().requires_grad_() for name, tensor in double.items()}
    for ours, theirs in zip(_outcome(single, "cpu"), _outcome(double, "reference"), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=2e-6 * float(theirs.abs().max()))


def test_gradients_agree_with_finite_differences():
    arguments = _draw(batch=1, channels=2, length=18, states=2)
    names = list(arguments)

    def scan(*tensors):
        return selective_scan(**dict(zip(names, tensors, strict=True)), delta_softplus=True, backend="cpu")

    assert torch.autograd.gradcheck(scan, tuple(arguments.values()))


def test_the_same_bits_for_any_number_of_threads_and_any_layout():
    arguments = _draw(batch=5, channels=130, length=64, states=8, kind=torch.float32)
    before = torch.get_num_threads()
    outcomes = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outcomes.append(_outcome(arguments, "cpu"))
    finally:
        torch.set_num_threads(before)
    turned = {
        name: (tensor.detach().mT.contiguous().mT if tensor.ndim == 3 else tensor.detach()).requires_grad_()
        for name, tensor in arguments.items()
    }
    outcomes.append(_outcome(turned, "cpu"))
    for other in outcomes[1:]:
        for first, second in zip(outcomes[0], other, strict=True):
            assert torch.equal(first, second)


def test_what_is_not_a_number_is_not_hidden():
    arguments = _draw(kind=torch.float32)
    with torch.no_grad():
        arguments["u"][0, 1, 20] = torch.nan
        out = selective_scan(**arguments, delta_softplus=True)
    assert out[0, 1, 20:].isnan().all()
    assert out[0, 1, :20].isfinite().all()
    assert out[1].isfinite().all()


def test_half_precision_comes_back_in_half_precision():
    arguments = {name: tensor.detach().bfloat16() for name, tensor in _draw().items()}
    out = selective_scan(**arguments, delta_softplus=True)
    expected = selective_scan(**arguments, delta_softplus=True, backend="reference")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected)


def test_what_does_not_fit_is_named():
    arguments = _draw()
    with pytest.raises(UsageError, match=r"B has shape \(2, 3, 34\)"):
        selective_scan(**{**arguments, "B": arguments["B"][..., :-1]})
    with pytest.raises(UsageError, match="z has shape"):
        selective_scan(**{**arguments, "z": arguments["z"][:1]})
    with pytest.raises(UsageError, match="nonsense"):
        selective_scan(**arguments, backend="nonsense")
    with pytest.raises(DeviceUnavailableError, match="needs CUDA tensors"):
        selective_scan(**arguments, backend="triton")
    with pytest.raises(DeviceUnavailableError, match="CUDA"):
        selective_scan(**arguments, backend="mamba-ssm")


def test_without_a_writable_cache_the_kernels_still_work(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    script = (
        "import torch; from bids_neurossm.ops import selective_scan as s; x = torch.ones(1, 2, 3, dtype=torch.float64);"
        "print(float(s(x, x, -torch.ones(2, 1, dtype=x.dtype), x[:, :1], x[:, :1]).sum()))"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(blocked / "below"), "HOME": str(blocked)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    decay = np.exp(-1)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(2 * (1 + (1 + decay) + (1 + decay + decay**2)))
