"""Where tensors live: the device that a command line names."""

from __future__ import annotations

import torch

from bids_neurossm.errors import DeviceUnavailableError


def torch_device(name: str) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises
    ------
    DeviceUnavailableError
        If it is not there.
    """
    usable = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if usable else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name.startswith("cuda") and usable:
        return torch.device(name)
    raise DeviceUnavailableError(f"The device {name!r} is not usable here; --device cpu is.")
