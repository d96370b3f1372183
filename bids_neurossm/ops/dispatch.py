"""One name for the selective scan, whichever engine runs it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Literal, cast

from torch import Tensor

from bids_neurossm.errors import DeviceUnavailableError, UsageError

Backend = Literal["auto", "reference", "cpu", "triton", "mamba-ssm"]
Result = Tensor | tuple[Tensor, Tensor]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    backend: Backend = "auto",
) -> Result:
    """Run the selective scan; the arguments are those of mamba-ssm's ``selective_scan_fn``.

    Parameters
    ----------
    u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state
        See `bids_neurossm.ops.reference.selective_scan_reference`.
    backend : {"auto", "reference", "cpu", "triton", "mamba-ssm"}
        ``auto`` takes mamba-ssm for CUDA tensors where it is installed, and the compiled CPU kernels otherwise.

    Returns
    -------
    Tensor (B, D, L), or that and the last state (B, D, N)

    Raises
    ------
    DeviceUnavailableError
        If the backend asked for is not there.
    UsageError
        If the backend is unknown or the shapes do not fit each other.
    """
    chosen: str = backend
    if backend == "auto":
        chosen = "mamba-ssm" if u.is_cuda and find_spec("mamba_ssm") is not None else "cpu"
    arguments = (u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)
    if chosen == "reference":
        from bids_neurossm.ops.reference import selective_scan_reference

        return selective_scan_reference(*arguments)
    if chosen == "cpu":
        # Imported here: numba takes a while, and who runs on a GPU does not need it.
        from bids_neurossm.ops.cpu import selective_scan_cpu

        return selective_scan_cpu(*arguments)
    if chosen == "mamba-ssm":
        return _mamba_ssm(*arguments)
    if chosen == "triton":
        raise DeviceUnavailableError(
            "The triton kernels come with a later release; backend='mamba-ssm' or backend='cpu' can be used."
        )
    raise UsageError(f"The backend {backend!r} is not known; auto, reference, cpu, triton, mamba-ssm are.")


def _mamba_ssm(u: Tensor, *arguments: Tensor | bool | None) -> Result:
    """Call the CUDA kernels of the mamba-ssm package."""
    if not u.is_cuda:
        raise DeviceUnavailableError(f"backend='mamba-ssm' needs CUDA tensors; u is on {u.device}.")
    try:
        module = import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError as error:
        raise DeviceUnavailableError(
            f"backend='mamba-ssm' can not be imported ({error}); install bids-neurossm[cuda]."
        ) from error
    return cast(Result, module.selective_scan_fn(u, *arguments))
