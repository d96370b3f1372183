"""Time and workspace of the compiled selective scan against autograd through the reference.

Usage: ``python benchmarks/selective_scan.py [--batch 16] [--channels 256] [--length 200] [--states 16]``.
On a CPU: the time of one forward and backward pass, the ratio, and the memory kept between the passes, for the compiled
kernels and two references: ours, which cuts B and C in time once, and the plain form with all steps' (B, D, L, N)
tensors indexed in the loop, whose gradient is quadratic in L.

With ``--device cuda`` (or ``cuda:N``): Triton, mamba-ssm where it can be imported, and the reference side by side:
times of the forward pass and of both, peak memory, and the largest distance of output and gradients from the reference
in double precision, relative to its largest value. ``--kind bfloat16`` gives the kernels half precision.
"""

from __future__ import annotations

import argparse
import time
from typing import Literal

import torch

from bids_neurossm.errors import DeviceUnavailableError
from bids_neurossm.ops import selective_scan

Engine = Literal["reference", "cpu", "triton", "mamba-ssm"]


def inputs(batch: int, channels: int, length: int, states: int, kind: torch.dtype) -> list[torch.Tensor]:
    """Draw u, delta, A, B, C, D, z and delta_bias, each with a gradient."""
    torch.manual_seed(0)
    shapes = [(batch, length, channels)] * 2 + [(batch, length, states)] * 2 + [(batch, length, channels)]
    u, delta, B, C, z = (torch.randn(shape, dtype=kind).transpose(1, 2) for shape in shapes)
    A = -torch.arange(1, states + 1, dtype=kind).repeat(channels, 1)
    D, bias = torch.ones(channels, dtype=kind), torch.full((channels,), -3.0, dtype=kind)
    return [tensor.requires_grad_() for tensor in (u, delta, A, B, C, D, z, bias)]


def indexed_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    z: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Scan in the plain form: every decay and input is laid out first, then indexed."""
    step = torch.nn.functional.softplus(delta + bias[:, None])
    decays = torch.exp(step[..., None] * A[:, None])
    inputs = (step * u)[..., None] * B.mT[:, None]
    state = torch.zeros_like(decays[:, :, 0])
    steps = []
    for t in range(u.shape[2]):
        state = decays[:, :, t] * state + inputs[:, :, t]
        steps.append((state * C[:, None, :, t]).sum(dim=-1))
    return (torch.stack(steps, dim=2) + D[:, None] * u) * torch.nn.functional.silu(z)


def scan(*tensors: torch.Tensor, backend: Engine) -> torch.Tensor:
    """Scan with one of the package's engines."""
    u, delta, A, B, C, D, z, bias = tensors
    out = selective_scan(u, delta, A, B, C, D, z, bias, delta_softplus=True, backend=backend)
    assert isinstance(out, torch.Tensor)
    return out


def seconds(
    tensors: list[torch.Tensor], backend: Literal["reference", "cpu", "indexed"], repeats: int
) -> tuple[float, int]:
    """Return the best time of a forward and backward pass, and the bytes that the graph keeps."""
    best, kept = float("inf"), 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    for _ in range(repeats):
        kept = 0
        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            out = indexed_scan(*tensors) if backend == "indexed" else scan(*tensors, backend=backend)
        torch.autograd.grad(out, tensors, torch.ones_like(out))
        best = min(best, time.perf_counter() - start)
    return best, kept


def outcome(tensors: list[torch.Tensor], backend: Engine) -> list[torch.Tensor]:
    """Return the output, and the gradients of all tensors."""
    out = scan(*tensors, backend=backend)
    return [out.detach(), *torch.autograd.grad(out, tensors, torch.ones_like(out))]


def gpu_seconds(tensors: list[torch.Tensor], backend: Engine, repeats: int, backward: bool) -> tuple[float, int]:
    """Return the best time of a pass on the GPU, and the most memory that was taken beside the arguments."""
    best, before = float("inf"), torch.cuda.memory_allocated(tensors[0].device)
    torch.cuda.reset_peak_memory_stats(tensors[0].device)
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        if backward:
            outcome(tensors, backend)
        else:
            with torch.no_grad():
                scan(*tensors, backend=backend)
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3)
    return best, torch.cuda.max_memory_allocated(tensors[0].device) - before


def on_gpu(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print a row per engine."""
    device = torch.device(options.device)
    torch.cuda.set_device(device)
    drawn = inputs(options.batch, options.channels, options.length, options.states, torch.float32)
    # The rates, the skip and the bias stay in float32, as in a layer under autocast.
    narrow = (0, 1, 3, 4, 6)
    tensors = [
        tensor.detach().to(device, kind if place in narrow else torch.float32).requires_grad_()
        for place, tensor in enumerate(drawn)
    ]
    exact = outcome([tensor.detach().double().requires_grad_() for tensor in tensors], "reference")
    print(f"{torch.cuda.get_device_name(device)}, {kind}, B {options.batch}, D {options.channels}, L {options.length}, "
          f"N {options.states}")  # fmt: skip
    print(f"{'engine':12} {'forward ms':>11} {'both ms':>11} {'peak MiB':>10} {'distance':>10}")
    engines: tuple[Engine, ...] = ("triton", "mamba-ssm", "reference")
    for backend in engines:
        try:
            ours = outcome(tensors, backend)
        except DeviceUnavailableError as error:
            print(f"{backend:12} {error}")
            continue
        pairs = zip(ours, exact, strict=True)
        distance = max(float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs)
        repeats = max(1, options.repeats // 2) if backend == "reference" else options.repeats * 10
        forward, _ = gpu_seconds(tensors, backend, repeats, backward=False)
        both, peak = gpu_seconds(tensors, backend, repeats, backward=True)
        print(f"{backend:12} {forward * 1e3:11.3f} {both * 1e3:11.3f} {peak / 2**20:10.1f} {distance:10.1e}")


def on_cpu(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print the times and the memory of the compiled kernels and of the two references."""
    tensors = inputs(options.batch, options.channels, options.length, options.states, kind)
    start = time.perf_counter()
    seconds(tensors, "cpu", 1)
    print(f"first call (compilation or cache)  {time.perf_counter() - start:8.2f} s")
    fast, fast_bytes = seconds(tensors, "cpu", options.repeats * 4)
    slow, slow_bytes = seconds(tensors, "reference", max(1, options.repeats // 2))
    plain, plain_bytes = seconds(tensors, "indexed", 1)
    print(f"threads                            {torch.get_num_threads():8d}")
    print(f"compiled,   forward and backward   {fast * 1e3:8.1f} ms  keeps {fast_bytes / 2**20:8.1f} MiB")
    print(f"reference,  forward and backward   {slow * 1e3:8.1f} ms  keeps {slow_bytes / 2**20:8.1f} MiB")
    print(f"plain form, forward and backward   {plain * 1e3:8.1f} ms  keeps {plain_bytes / 2**20:8.1f} MiB")
    print(f"ratio to reference, to plain form  {slow / fast:8.1f} {plain / fast:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 16), ("channels", 256), ("length", 200), ("states", 16), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kind", choices=("float32", "float64", "bfloat16", "float16"), default="float32")
    parser.add_argument("--double", action="store_const", const="float64", dest="kind")
    options = parser.parse_args()
    kind: torch.dtype = getattr(torch, options.kind)
    if options.device == "cpu":
        on_cpu(options, kind)
    elif torch.cuda.is_available():
        on_gpu(options, kind)
    else:
        raise SystemExit(f"The device {options.device!r} is not usable here; --device cpu is.")


if __name__ == "__main__":
    main()
