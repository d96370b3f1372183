r"""One name for the selective scan, whichever engine runs it.

With the state h of channel d, its step :math:`\Delta`, and h_0 = 0 (Gu and Dao 2023, Mamba, arXiv 2312.00752, section
3.2 and algorithm 2):

.. math:: h_t = \exp(\Delta_t A)\, h_{t-1} + \Delta_t B_t u_t, \qquad y_t = C_t \cdot h_t + D u_t

and the output is :math:`y_t \cdot \mathrm{silu}(z_t)` where a gate is given.

===========  ==============================================  ==================================================
engine       runs on                                         taken by ``auto``
===========  ==============================================  ==================================================
cpu          processors: compiled kernels                    for tensors that are not on a CUDA device
mamba-ssm    CUDA: that package's kernels                    for CUDA tensors, where the package can be imported
triton       CUDA: this package's kernels                    for CUDA tensors, where it can not
reference    any device: the definition, step by step        never
===========  ==============================================  ==================================================

``auto`` never moves CUDA tensors to the processor: where no engine for them can be imported, that is an error. Which of
the two engines for CUDA is the faster has not been measured yet (``benchmarks/selective_scan.py --device cuda``);
mamba-ssm comes first because its kernels are the ones in wide use.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
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
    u, delta : Tensor (B, D, L)
        Input and step of each channel.
    A : Tensor (D, N)
        Rates of the N states of each channel (negative for a stable system).
    B, C : Tensor (D, N), (B, N, L) or (B, G, N, L)
        Input and output matrices: fixed per channel, or changing in time and shared by all channels, or by each of
        G groups of D / G neighbouring channels.
    D : Tensor (D,), optional
        Weight of the input itself in the output.
    z : Tensor (B, D, L), optional
        Gate.
    delta_bias : Tensor (D,), optional
        Added to `delta`, before the softplus.
    delta_softplus : bool
        Pass `delta` through a softplus.
    return_last_state : bool
        Return the state after the last time point too.
    backend : {"auto", "reference", "cpu", "triton", "mamba-ssm"}
        The engine, see the table above.

    Returns
    -------
    Tensor (B, D, L), or that and Tensor (B, D, N)
        Output in the type of `u`; the state in at least float32.

    Raises
    ------
    DeviceUnavailableError
        If the backend asked for is not there, or the tensors are on a device that it does not serve.
    UsageError
        If the backend is unknown or the shapes do not fit each other.
    """
    chosen = _chosen(u) if backend == "auto" else backend
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
        return _triton(*arguments)
    raise UsageError(f"The backend {backend!r} is not known; auto, reference, cpu, triton, mamba-ssm are.")


def _chosen(u: Tensor) -> str:
    """Name the engine that serves a tensor best."""
    if not u.is_cuda:
        return "cpu"
    # An installed mamba-ssm that was built for another torch can not be imported: the Triton kernels do as well.
    return "triton" if isinstance(_mamba_function(), ImportError) else "mamba-ssm"


@cache
def _mamba_function() -> Callable[..., Result] | ImportError:
    """Return the scan of the mamba-ssm package, or why there is none; asked once per process."""
    try:
        module = import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError as error:
        return error
    return cast(Callable[..., Result], module.selective_scan_fn)


def _mamba_ssm(u: Tensor, *arguments: Tensor | bool | None) -> Result:
    """Call the CUDA kernels of the mamba-ssm package."""
    if not u.is_cuda:
        raise DeviceUnavailableError(f"backend='mamba-ssm' needs CUDA tensors; u is on {u.device}.")
    function = _mamba_function()
    if isinstance(function, ImportError):
        raise DeviceUnavailableError(
            f"backend='mamba-ssm' can not be imported ({function}); install bids-neurossm[cuda]."
        ) from function
    return function(u, *arguments)


def _triton(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    return_last_state: bool,
) -> Result:
    """Call the package's own GPU kernels."""
    try:
        # Imported here: only machines with a GPU need Triton.
        from bids_neurossm.ops.triton import selective_scan_triton
    except ImportError as error:
        raise DeviceUnavailableError(
            f"The GPU kernels need Triton, which can not be imported ({error}); install bids-neurossm[cuda], or work "
            "on the CPU with --device cpu."
        ) from error
    return selective_scan_triton(u, delta, A, B, C, D, z, delta_bias, delta_softplus, return_last_state)
