"""The Triton kernels give the numbers of the reference, forward and backward: interpreted here, compiled on a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_neurossm.errors import DeviceUnavailableError, UsageError
from bids_neurossm.ops import selective_scan

pytest.importorskip("triton", reason="the GPU kernels need Triton")

NAMES = ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"]
ORACLES = ["plain", "softplus_bias_gate", "one_step"]
# Shapes of B and of C, which optional arguments are there, and what every shape is not: a multiple of tile or chunk.
FORMS = {
    "fixed": ("DN", "DN", NAMES),
    "shared": ("BNL", "BNL", NAMES),
    "grouped": ("BGNL", "BGNL", NAMES),
    "mixed": ("BGNL", "BNL", NAMES[:5]),
    "steps_as_given": ("BNL", "BNL", NAMES[:6]),
    "two_tiles": ("BNL", "BNL", NAMES),
}


def _draw(form, kind=torch.float32, channels=4, length=17, states=3):
    """Random arguments; 17 time points are one more than a chunk of the kernels."""
    generator = torch.Generator().manual_seed(0)
    # Where there are many programs a single sequence keeps the interpreter fast.
    batch = 1 if form in ("fixed", "mixed", "two_tiles") else 2

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    of_B, of_C, present = FORMS[form]
    channels = 18 if form == "two_tiles" else channels
    shapes = {"DN": (channels, states), "BNL": (batch, states, length), "BGNL": (batch, 2, states, length)}
    drawn = {
        "u": normal(batch, channels, length), "delta": normal(batch, channels, length) * 3,
        "A": -normal(channels, states).exp(), "B": normal(*shapes[of_B]), "C": normal(*shapes[of_C]),
        "D": normal(channels), "z": normal(batch, channels, length) * 5, "delta_bias": normal(channels),
    }  # fmt: skip
    if form == "steps_as_given":
        drawn["delta"] = drawn["delta"].abs() / 3
    return {name: drawn[name].to(kind) for name in present}


def _reference(arguments, softplus, backend="reference", device="cpu"):
    """Output, last state, and gradients for incoming ones that differ everywhere."""
    leaves = {name: tensor.detach().to(device).requires_grad_() for name, tensor in arguments.items()}
    out, state = selective_scan(**leaves, delta_softplus=softplus, return_last_state=True, backend=backend)
    incoming = _incoming(arguments)
    gradients = torch.autograd.grad((out, state), list(leaves.values()), [g.to(device, out.dtype) for g in incoming])
    named = {"out": out.detach(), "last_state": state.detach()}
    return named | {f"grad_{name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}


def _incoming(arguments):
    u, A = arguments["u"], arguments["A"]
    state = torch.linspace(1, -2, len(u) * A.numel()).reshape(len(u), *A.shape)
    return torch.linspace(-1, 1, u.numel()).reshape(u.shape), state


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory):
    """Run all cases in one process whose kernels are interpreted, and return its outcomes."""
    folder = tmp_path_factory.mktemp("triton")

    def run(cases):
        np.savez(folder / "cases.npz", **cases)
        program = [sys.executable, str(Path(__file__).with_name("triton_outcomes.py"))]
        # The package is found as it is here, be it installed or not.
        environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [*program, str(folder / "cases.npz"), str(folder / "out.npz")],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return np.load(folder / "out.npz", allow_pickle=False)

    return run


def _assert_close(ours, theirs, name):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=3e-6 * scale, err_msg=name)


def test_equal_to_mamba_ssm(shared_data, interpreted):
    oracle = np.load(shared_data / "oracles" / "selective_scan_ref.npz", allow_pickle=False)
    cases = {key: oracle[key] for key in oracle.files if key.split("/")[0] in ORACLES}
    for case in ORACLES:
        cases[f"{case}/grad_last_state"] = np.zeros_like(oracle[f"{case}/last_state"])
    outcomes = interpreted(cases)
    assert len(outcomes.files) >= 7 * len(ORACLES)
    for key in outcomes.files:
        _assert_close(outcomes[key], oracle[key], key)


def test_interpreted_equals_reference_in_every_form(interpreted):
    cases, expected = {}, {}
    for form in FORMS:
        arguments, softplus = _draw(form), form != "steps_as_given"
        cases |= {f"{form}/{name}": tensor.numpy() for name, tensor in arguments.items()}
        cases |= {f"{form}/delta_softplus": np.array(softplus)}
        incoming = zip(("grad_out", "grad_last_state"), _incoming(arguments), strict=True)
        cases |= {f"{form}/{name}": tensor.numpy() for name, tensor in incoming}
        double = {name: tensor.double() for name, tensor in arguments.items()}
        expected |= {f"{form}/{name}": value.numpy() for name, value in _reference(double, softplus).items()}
    outcomes = interpreted(cases)
    assert set(outcomes.files) == set(expected)
    for key in expected:
        assert outcomes[key].dtype == np.float32
        _assert_close(outcomes[key], expected[key], key)


@pytest.mark.parametrize("kind", ["fp32", "bf16"])
@pytest.mark.parametrize("optional", [True, False])
@pytest.mark.parametrize("kernel", ["_forward_kernel", "_backward_kernel"])
def test_kernels_compile_for_a_gpu_that_is_not_here(kernel, optional, kind, tmp_path, monkeypatch):
    # The interpreter takes what the compiler refuses (types that change in a loop, globals): both have to agree.
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("interpreted kernels are not compiled")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from bids_neurossm.ops import triton as engine

    function = getattr(engine, kernel)
    wide = {"u", "delta", "B", "C", "z", "out", "grad_out", "grad_u", "grad_delta", "grad_z"}
    whole = {"length", "channels", "groups", "tiles", "n_states", "sequences"}
    sizes = {"CHUNK": engine.CHUNK, "TILE": engine.TILE, "STATES": 8}
    fixed = {each.name: sizes.get(each.name, optional) for each in function.params if each.is_constexpr}
    signature = {
        each.name: "constexpr" if each.name in fixed else "i32" if each.name in whole
        else f"*{kind}" if each.name in wide else "*fp32"
        for each in function.params
    }  # fmt: skip
    source = ASTSource(function, signature, constexprs=fixed)
    built = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 1, "enable_fp_fusion": True})
    assert len(built.asm["cubin"]) > 1000
    assert "atom." not in built.asm["ptx"]


def test_a_cpu_tensor_is_refused_and_not_moved():
    with pytest.raises(DeviceUnavailableError, match="needs CUDA tensors; u is on cpu"):
        selective_scan(**_draw("shared"), backend="triton")


def test_shapes_that_do_not_fit_are_named(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    arguments = _draw("shared")
    with pytest.raises(UsageError, match="z has shape"):
        selective_scan(**{**arguments, "z": arguments["z"][:1]}, backend="triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_on_a_gpu_as_the_reference(form, kind, bound):
    arguments, softplus = _draw(form, kind, channels=64, length=203, states=8), form != "steps_as_given"
    # The reference in double precision, of the very numbers that the kernels are given.
    exact = _reference({name: tensor.double() for name, tensor in arguments.items()}, softplus)
    ours = _reference(arguments, softplus, backend="triton", device="cuda")
    again = _reference(arguments, softplus, backend="triton", device="cuda")
    for name, expected in exact.items():
        assert torch.equal(ours[name], again[name])
        distance = (ours[name].double().cpu() - expected).abs().max() / expected.abs().max()
        assert float(distance) < bound, name
