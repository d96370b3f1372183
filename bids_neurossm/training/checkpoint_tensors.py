"""Checkpoints of networks: their tensors, and the modules that these are put into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.checkpoint_format import CheckpointMetadata, read_checkpoint, write_checkpoint
from bids_neurossm.errors import CheckpointError

_Module = TypeVar("_Module", bound=torch.nn.Module)


def save_checkpoint(path: Path, state: Mapping[str, Tensor], facts: CheckpointMetadata) -> None:
    """Write tensors and facts; see `bids_neurossm.checkpoint_format.write_checkpoint`."""
    write_checkpoint(path, {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}, facts)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], CheckpointMetadata]:
    """Read tensors and facts; see `bids_neurossm.checkpoint_format.read_checkpoint`."""
    arrays, facts = read_checkpoint(path)
    return as_tensors(arrays), facts


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Make tensors of arrays, which they do not share memory with."""
    return {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}


def restored_module(make: Callable[[], _Module], state: Mapping[str, Tensor], path: Path) -> _Module:
    """Make a module and put tensors into it; their shapes are compared before memory is set aside.

    Parameters
    ----------
    make : callable
        Makes the module from its configuration.
    state : mapping of str to Tensor
        From `load_checkpoint`.
    path : Path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        If a tensor is missing, foreign or of another shape.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if found != wanted:
        name = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[0]
        raise CheckpointError(
            f"{path} does not fit its own architecture: {name} has the shape {found.get(name, 'none')}, and "
            f"{wanted.get(name, 'none')} is expected."
        )
    module = make()
    module.load_state_dict(dict(state), strict=True)
    return module
