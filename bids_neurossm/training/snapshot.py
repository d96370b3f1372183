"""A training that is under way on disk, so that it goes on with the last whole epoch after a kill.

One safetensors file per training, replaced in one step after every epoch: weights, moments of the optimizer, the
weights of the best epoch; numbers that are no tensors stand in its header as JSON. Random numbers need no place in it:
every generator is seeded anew from seed and epoch (`bids_neurossm.training.fit`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from bids_neurossm.files.write import write_bytes

FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """Where the state of a training is kept.

    Attributes
    ----------
    path : Path
        Its file.
    digest : str
        Hash of everything that the training depends on; the state of another training is not taken.
    """

    path: Path
    digest: str

    def write(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the file.

        Raises
        ------
        OutputNotWritableError
            If the folder can not be written.
        """
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"format": FORMAT, "digest": self.digest, "sha256": tensors_sha256(plain), **facts}
        write_bytes(self.path, save_tensors(plain, metadata={"state": json.dumps(header)}))

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and facts; None where there is no file, or a damaged one, or that of another training."""
        try:
            with safe_open(self.path, framework="pt") as file:
                facts = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError, ValueError, KeyError):
            return None
        known = isinstance(facts, dict) and facts.pop("format", None) == FORMAT
        if (
            not known
            or facts.pop("digest", None) != self.digest
            or facts.pop("sha256", None) != tensors_sha256(tensors)
        ):
            return None
        return tensors, facts

    def remove(self) -> None:
        """Remove the file; the training has ended."""
        self.path.unlink(missing_ok=True)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors on the CPU, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}\n".encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a prefix before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def of_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `with_prefix` marked, without the prefix."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of an optimizer as ``<parameter>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: Any) -> None:
    """Give an optimizer its moments and the settings of its groups back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    # JSON has no tuples.
    plain = [{name: tuple(v) if name == "betas" else v for name, v in group.items()} for group in groups]
    optimizer.load_state_dict({"state": state, "param_groups": plain})
