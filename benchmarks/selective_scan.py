"""The selective scan against other ways to compute it, forward and backward.

Usage: ``python benchmarks/selective_scan.py [--batch 16] [--channels 256] [--length 200] [--states 16]``. On a CPU:

- time and memory of the compiled kernels, and of the same scan in plain torch through autograd: step by step (B and C
  cut in time once, and in the plain form that indexes (B, D, L, N) tensors), in log2(L) steps, by halving, in chunks
  (``scan_variants.py``). Memory is the highest resident memory that the system saw in a process of its own, above that
  before the pass, less the output and the gradients of output and arguments; beside it, its share of all states' size;
- time per step from 100 to 10,000 time points;
- time with one thread and with more.

With ``--device cuda`` (or ``cuda:N``): Triton, mamba-ssm where it can be imported, and the reference side by side over
the shapes of the recipes and over long sequences: times of the forward pass and of both, peak memory, the largest
distance of output and gradients from the reference in double precision relative to its largest value, and the
geometric mean of the ratios of the times. ``--kind bfloat16`` gives the kernels half precision.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import scan_variants
import torch

import bids_neurossm
from bids_neurossm.errors import DeviceUnavailableError
from bids_neurossm.ops import selective_scan
from bids_neurossm.ops.dispatch import Backend

Sizes = tuple[int, int, int, int, int]
Scan = Callable[..., torch.Tensor]


def inputs(sizes: Sizes, kind: torch.dtype) -> list[torch.Tensor]:
    """Draw u, delta, A, B, C, D, z and delta_bias, each with a gradient; sizes are B, D, L, N and groups of B and C."""
    batch, channels, length, states, groups = sizes
    torch.manual_seed(0)
    wide, narrow = (batch, length, channels), (batch, length, groups, states)
    u, delta, z = (torch.randn(wide, dtype=kind).transpose(1, 2) for _ in range(3))
    B, C = (torch.randn(narrow, dtype=kind).permute(0, 2, 3, 1) for _ in range(2))
    if groups == 1:
        B, C = B[:, 0], C[:, 0]
    A = -torch.arange(1, states + 1, dtype=kind).repeat(channels, 1)
    D, bias = torch.ones(channels, dtype=kind), torch.full((channels,), -3.0, dtype=kind)
    return [tensor.requires_grad_() for tensor in (u, delta, A, B, C, D, z, bias)]


def engine(backend: Backend) -> Scan:
    """Return one of the package's engines as a scan."""

    def scan(*tensors: torch.Tensor) -> torch.Tensor:
        u, delta, A, B, C, D, z, bias = tensors
        out = selective_scan(u, delta, A, B, C, D, z, bias, delta_softplus=True, backend=backend)
        assert isinstance(out, torch.Tensor)
        return out

    return scan


def ways() -> dict[str, Scan]:
    """Return all ways to scan on a CPU."""
    return {
        "compiled": engine("cpu"),
        "step by step, cut once": engine("reference"),
        "step by step, indexed": scan_variants.indexed_scan,
        "log2(L) steps": scan_variants.log_step_scan,
        "halving": scan_variants.associative_scan,
        "chunks": scan_variants.chunked_scan,
    }


def outcome(tensors: Sequence[torch.Tensor], scan: Scan) -> list[torch.Tensor]:
    """Return the output, and the gradients of all tensors."""
    out = scan(*tensors)
    return [out.detach(), *torch.autograd.grad(out, tensors, torch.ones_like(out))]


def seconds(tensors: Sequence[torch.Tensor], scan: Scan, repeats: int) -> tuple[float, float]:
    """Return the best time of a forward and backward pass: on the wall, and of the processor over all threads."""
    wall, processor = [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        outcome(tensors, scan)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - used)
    return min(wall), min(processor)


def resident(field: str) -> int:
    """Bytes of this process's memory: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def workspace(name: str, sizes: Sizes) -> int:
    """Most memory that a pass took beside arguments, output and their gradients; for a process of its own."""
    scan = ways()[name]
    outcome(inputs((1, 16, 20, sizes[3], 1), torch.float32), scan)  # compiles, or loads what was compiled
    tensors = inputs(sizes, torch.float32)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is now
    results = outcome(tensors, scan)
    expected = sum(tensor.numel() * tensor.element_size() for tensor in [*results, results[0]])
    return resident("VmHWM") - before - expected


def table_of_ways(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print time, ratio and memory of all ways."""
    sizes = (options.batch, options.channels, options.length, options.states, 1)
    tensors, states = inputs(sizes, kind), 4 * math.prod(sizes)
    start = time.perf_counter()
    exact = outcome([tensor.detach().double().requires_grad_() for tensor in tensors], ways()["halving"])
    seconds(tensors, ways()["compiled"], 1)
    print(
        f"B, D, L, N: {sizes[:4]}, {torch.get_num_threads()} threads; preparation {time.perf_counter() - start:.1f} s"
    )
    head = f"{'ms':>9} {'x compiled':>11} {'processor ms':>13} {'x compiled':>11}"
    print(f"{'way':22} {head} {'workspace MB':>13} {'x all states':>13} {'distance':>9}")
    fast, least = 0.0, 0.0
    for name, scan in ways().items():
        slow = name == "step by step, indexed"
        took, used = seconds(tensors, scan, 1 if slow else options.repeats * (4 if name == "compiled" else 1))
        fast, least = fast or took, least or used
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            taken = alone.submit(workspace, name, sizes).result()
        pairs = zip(outcome(tensors, scan) if not slow else [], exact, strict=False)
        distance = max((float((a.double() - b).abs().max() / b.abs().max()) for a, b in pairs), default=math.nan)
        times = f"{took * 1e3:9.1f} {took / fast:11.1f} {used * 1e3:13.1f} {used / least:11.1f}"
        print(f"{name:22} {times} {taken / 1e6:13.1f} {taken / states:13.3f} {distance:9.0e}")


def table_of_lengths(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print the time per step from 100 to 10,000 time points."""
    print("\nB 4, D 80, N 8\n     L        ms  us per step  against 100 | processor time, the same")
    first: list[float] = []
    for length in (100, 200, 500, 1000, 2000, 5000, 10000):
        tensors = inputs((4, 80, length, 8, 1), kind)
        seconds(tensors, engine("cpu"), 2)
        took = seconds(tensors, engine("cpu"), options.repeats * 4)
        first = first or [each / length for each in took]
        columns = [
            f"{each * 1e3:9.2f} {each / length * 1e6:12.2f} {each / length / one:12.2f}"
            for each, one in zip(took, first, strict=True)
        ]
        print(f"{length:6d} {' |'.join(columns)}")


def table_of_threads(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print the time with one thread, and with 2, 4 ... as many as there are processors."""
    tensors = inputs((options.batch, options.channels, options.length, options.states, 1), kind)
    print("\nthreads        ms  x one thread")
    threads, alone, before = 1, 0.0, torch.get_num_threads()
    while threads <= len(os.sched_getaffinity(0)):
        torch.set_num_threads(threads)
        took, _ = seconds(tensors, engine("cpu"), options.repeats * 4)
        alone = alone or took
        print(f"{threads:7d} {took * 1e3:9.1f} {alone / took:13.2f}")
        threads *= 2
    torch.set_num_threads(before)


def recipe_sizes() -> list[tuple[str, Sizes]]:
    """Return what the recipes give the scan: both streams of a scale at once, 16 runs."""
    rows = []
    for path in sorted((Path(bids_neurossm.__file__).parent / "data" / "recipes").glob("*.toml")):
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        model, window = recipe["model"], recipe["training"]["window"]
        streams = len(model["streams"])
        for scale in model["scales"]:
            if isinstance(scale, int):
                channels = streams * model.get("expand", 2) * model["width"]
                rows.append((f"{path.stem} / {scale}", (16, channels, window // scale, model["state"], streams)))
    return rows


def gpu_seconds(tensors: list[torch.Tensor], scan: Scan, repeats: int, backward: bool) -> tuple[float, int]:
    """Return the best time of a pass on the GPU, and the most memory that was taken beside the arguments."""
    best, before = float("inf"), torch.cuda.memory_allocated(tensors[0].device)
    torch.cuda.reset_peak_memory_stats(tensors[0].device)
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        if backward:
            outcome(tensors, scan)
        else:
            with torch.no_grad():
                scan(*tensors)
        end.record()
        end.synchronize()
        best = min(best, begin.elapsed_time(end) / 1e3)
    return best, torch.cuda.max_memory_allocated(tensors[0].device) - before


def gpu_row(
    what: str, sizes: Sizes, kind: torch.dtype, device: torch.device, backends: Sequence[Backend], repeats: int
) -> dict[str, float]:
    """Print a row per engine; return each engine's seconds, forward and backward."""
    # The rates, the skip and the bias stay in float32, as in a layer under autocast.
    narrow, found = (0, 1, 3, 4, 6), {}
    tensors = [
        tensor.detach().to(device, kind if place in narrow else torch.float32).requires_grad_()
        for place, tensor in enumerate(inputs(sizes, torch.float32))
    ]
    exact = outcome([tensor.detach().double().requires_grad_() for tensor in tensors], engine("reference"))
    for backend in backends:
        pairs = zip(outcome(tensors, engine(backend)), exact, strict=True)
        distance = max(float((a.double() - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs)
        times = max(1, repeats // 2) if backend == "reference" else repeats * 10
        forward, _ = gpu_seconds(tensors, engine(backend), times, backward=False)
        found[backend], peak = gpu_seconds(tensors, engine(backend), times, backward=True)
        print(
            f"{what:16} {sizes!s:24} {backend:10} {forward * 1e3:10.3f} {found[backend] * 1e3:10.3f} "
            f"{peak / 2**20:9.1f} {distance:9.1e}"
        )
    return found


def on_gpu(options: argparse.Namespace, kind: torch.dtype) -> None:
    """Print the engines side by side over the recipes' shapes and long sequences."""
    device = torch.device(options.device)
    torch.cuda.set_device(device)
    backends: list[Backend] = ["triton"]
    try:
        outcome([t.detach().to(device).requires_grad_() for t in inputs((1, 16, 16, 8, 1), torch.float32)],
                engine("mamba-ssm"))  # fmt: skip
        backends.append("mamba-ssm")
    except DeviceUnavailableError as error:
        print(error)
    backends.append("reference")
    print(f"{torch.cuda.get_device_name(device)}, {kind}; other side: {backends[1]}")
    head = f"{'forward ms':>10} {'both ms':>10} {'peak MiB':>9} {'distance':>9}"
    print(f"{'what':16} {'B, D, L, N, groups':24} {'engine':10} {head}")
    given = ("as given", (options.batch, options.channels, options.length, options.states, 1))
    ratios = {}
    for what, sizes in [*recipe_sizes(), given]:
        found = gpu_row(what, sizes, kind, device, backends, options.repeats)
        ratios[what] = found[backends[1]] / found["triton"]
    for what, ratio in ratios.items():
        print(f"{backends[1]} / triton, {what:16} {ratio:8.2f}")
    mean = math.exp(sum(math.log(ratio) for ratio in ratios.values()) / len(ratios))
    print(f"geometric mean {mean:.2f}, least {min(ratios.values()):.2f}")
    for length in (1200, 4800, 10000):
        # The reference takes a launch per time point and operation: too long here, and its numbers are known.
        gpu_row("long", (16, 192, length, 8, 2), kind, device, backends[:-1], options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 16), ("channels", 256), ("length", 200), ("states", 16), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kind", choices=("float32", "float64", "bfloat16", "float16"), default="float32")
    options = parser.parse_args()
    kind: torch.dtype = getattr(torch, options.kind)
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        for table in (table_of_ways, table_of_lengths, table_of_threads):
            table(options, kind)
    elif torch.cuda.is_available():
        on_gpu(options, kind)
    else:
        raise SystemExit(f"The device {options.device!r} is not usable here; --device cpu is.")


if __name__ == "__main__":
    main()
