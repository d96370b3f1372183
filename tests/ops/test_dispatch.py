"""One name for the selective scan: the numbers of mamba-ssm's own reference, and which engine runs."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.random_scans import NAMES, draw_scan

from bids_neurossm.errors import DeviceUnavailableError, UsageError
from bids_neurossm.ops import dispatch, selective_scan

CASES = ["plain", "softplus_bias_gate", "long", "one_step"]


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


def test_what_is_not_a_number_is_not_hidden():
    arguments = draw_scan(kind=torch.float32)
    with torch.no_grad():
        arguments["u"][0, 1, 20] = torch.nan
        out = selective_scan(**arguments, delta_softplus=True)
    assert out[0, 1, 20:].isnan().all()
    assert out[0, 1, :20].isfinite().all()
    assert out[1].isfinite().all()


def test_half_precision_comes_back_in_half_precision():
    arguments = {name: tensor.detach().bfloat16() for name, tensor in draw_scan().items()}
    out = selective_scan(**arguments, delta_softplus=True)
    expected = selective_scan(**arguments, delta_softplus=True, backend="reference")
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected)


def test_what_does_not_fit_is_named():
    arguments = draw_scan()
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


class _OnGpu:
    is_cuda = True


def test_a_cuda_tensor_is_never_sent_to_the_cpu_kernels(monkeypatch):
    monkeypatch.setattr(dispatch, "_mamba_function", lambda: ImportError("not here"))
    assert dispatch._chosen(_OnGpu()) == "triton"
    monkeypatch.setattr(dispatch, "_mamba_function", lambda: max)
    assert dispatch._chosen(_OnGpu()) == "mamba-ssm"
    assert dispatch._chosen(torch.ones(1)) == "cpu"


def test_without_triton_the_reason_and_the_remedy_are_told():
    script = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch; from bids_neurossm.ops import selective_scan as scan\n"
        "x = torch.ones(1, 2, 3)\n"
        "try: scan(x, x, -torch.ones(2, 1), x[:, :1], x[:, :1], backend='triton')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("DeviceUnavailableError The GPU kernels need Triton"), done.stderr
    assert "bids-neurossm[cuda]" in done.stdout


def test_triton_is_imported_only_when_it_is_asked_for():
    script = "import sys, bids_neurossm.ops.dispatch, bids_neurossm.models.neurossm; print('triton' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
