"""The compiled kernels give the numbers of the definition, forward and backward."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.random_scans import NAMES, draw_scan, scan_outcome

from bids_neurossm.ops import selective_scan


@pytest.mark.parametrize("form", ["(D,N)", "(B,N,L)", "(B,G,N,L)"])
@pytest.mark.parametrize("softplus", [True, False])
def test_compiled_equals_reference_in_double_precision(form, softplus):
    arguments = draw_scan(form=form)
    if not softplus:
        # A step is positive; without the softplus the caller sees to it.
        with torch.no_grad():
            arguments["delta"].abs_()
            arguments["delta_bias"].abs_()
    for ours, theirs in zip(
        scan_outcome(arguments, "cpu", softplus), scan_outcome(arguments, "reference", softplus), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_mixed_forms_of_b_and_c_and_no_optional_argument():
    arguments = draw_scan(form="(B,G,N,L)")
    arguments["C"] = draw_scan(form="(B,N,L)")["C"]
    arguments = {name: arguments[name] for name in NAMES[:5]}
    for ours, theirs in zip(scan_outcome(arguments, "cpu"), scan_outcome(arguments, "reference"), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_float32_is_as_exact_as_float32_can_be_with_wide_inputs():
    double = draw_scan(channels=70, length=100, states=8)
    with torch.no_grad():
        double["delta"] *= 8
        double["z"] *= 20
    single = {name: tensor.detach().float().requires_grad_() for name, tensor in double.items()}
    for ours, theirs in zip(scan_outcome(single, "cpu"), scan_outcome(double, "reference"), strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=2e-6 * float(theirs.abs().max()))


def test_gradients_agree_with_finite_differences():
    arguments = draw_scan(batch=1, channels=2, length=18, states=2)
    names = list(arguments)

    def scan(*tensors):
        return selective_scan(**dict(zip(names, tensors, strict=True)), delta_softplus=True, backend="cpu")

    assert torch.autograd.gradcheck(scan, tuple(arguments.values()))


def test_the_same_bits_for_any_number_of_threads_and_any_layout():
    arguments = draw_scan(batch=5, channels=130, length=64, states=8, kind=torch.float32)
    before = torch.get_num_threads()
    outcomes = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outcomes.append(scan_outcome(arguments, "cpu"))
    finally:
        torch.set_num_threads(before)
    turned = {
        name: (tensor.detach().mT.contiguous().mT if tensor.ndim == 3 else tensor.detach()).requires_grad_()
        for name, tensor in arguments.items()
    }
    outcomes.append(scan_outcome(turned, "cpu"))
    for other in outcomes[1:]:
        for first, second in zip(outcomes[0], other, strict=True):
            assert torch.equal(first, second)


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
