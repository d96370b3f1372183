"""Which device and which engines of the selective scan work on this machine, found out by trying them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from bids_neurossm.errors import NeuroSSMError
from bids_neurossm.ops.dispatch import Backend, selective_scan

#: How far an engine may be from the reference on numbers of order one, in single precision.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Engine:
    """One way to run the selective scan.

    Parameters
    ----------
    name : str
        Backend.
    usable : bool
        Whether it ran and gave the reference's numbers.
    detail : str
        What was found.
    """

    name: str
    usable: bool
    detail: str


def gpu_names() -> list[str]:
    """List the CUDA devices that torch can use, with their compute capability and memory."""
    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        found.append(f"{facts.name}, {facts.major}.{facts.minor}, {facts.total_memory / 2**30:.0f} GiB")
    return found


def device_choice(name: str) -> str:
    """Say in a sentence which device ``--device`` stands for here, and why.

    Parameters
    ----------
    name : str
        ``auto``, or a device that was asked for.
    """
    if name != "auto":
        return f"Models are trained on {name}, as --device says."
    if torch.cuda.is_available():
        gpus = gpu_names()
        if len(gpus) > 1:
            return f"Models are trained on GPUs; --device auto found {len(gpus)}: {'; '.join(gpus)}."
        return f"Models are trained on {gpus[0]}, which --device auto found."
    if torch.version.cuda is None and torch.version.hip is None:
        why = f"the installed torch, {torch.__version__}, is built without CUDA"
    else:
        why = f"torch {torch.__version__} finds no GPU with a driver that it can use"
    return f"Models are trained on the processor: --device auto found no GPU, since {why}."


def check_engines() -> list[Engine]:
    """Run a small scan on every engine and compare it with the reference.

    Returns
    -------
    list of Engine
        The CPU kernels, and those for CUDA where there is a device.
    """
    engines = [_checked("cpu", "cpu")]
    if torch.cuda.is_available():
        packages: tuple[tuple[Backend, str], ...] = (("triton", "triton"), ("mamba-ssm", "mamba_ssm"))
        for backend, package in packages:
            if find_spec(package) is None:
                engines.append(Engine(backend, False, "not installed"))
            else:
                engines.append(_checked(backend, "cuda"))
    return engines


def _checked(backend: Backend, device: str) -> Engine:
    generator = torch.Generator().manual_seed(0)
    u, step = torch.randn(2, 1, 8, 64, generator=generator)
    A = -torch.rand(8, 8, generator=generator) - 0.1
    B, C = torch.randn(2, 1, 8, 64, generator=generator)
    u, step, A, B, C = (each.to(device) for each in (u, torch.nn.functional.softplus(step), A, B, C))
    try:
        expected = selective_scan(u, step, A, B, C, backend="reference")
        found = selective_scan(u, step, A, B, C, backend=backend)
    except NeuroSSMError as error:
        return Engine(backend, False, str(error))
    except Exception as error:  # a compiler or a driver can fail in its own ways; the doctor has to go on
        return Engine(backend, False, f"{type(error).__name__}: {str(error).strip().splitlines()[0][:120]}")
    assert isinstance(expected, torch.Tensor)
    assert isinstance(found, torch.Tensor)
    difference = float((found - expected).abs().max())
    detail = f"differs from the reference by {difference:.1e}"
    return Engine(backend, difference < _TOLERANCE, detail)
