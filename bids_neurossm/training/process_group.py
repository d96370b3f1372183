"""Several processes that train one model together, each with its share of every batch.

Gradients are summed in one message per step: the models are small (some 100,000 numbers), so that nothing is gained by
sending them in parts while others are still computed, and a process may have no run of a batch, or take its runs in
smaller parts than the others do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is.

    Attributes
    ----------
    rank : int
        From 0; the first one leads: it validates, tells and writes.
    size : int
        How many there are. With more than one, `torch.distributed` must have been initialised.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first."""
        return self.rank == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """Return this process's part of a batch: neighbours, as many as the others have or one less."""
        return [items[i] for i in torch.arange(len(items)).tensor_split(self.size)[self.rank].tolist()]

    def add_gradients(self, model: nn.Module, loss: float) -> float:
        """Sum the gradients of all processes in place, and return the sum of their losses."""
        if self.size == 1:
            return loss
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in parameters:
            if parameter.grad is None:  # no run of this batch was ours
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(each.flatten() for each in gradients), torch.tensor([loss], device=gradients[0].device)])
        torch.distributed.all_reduce(flat)
        sums = torch.split(flat[:-1], [each.numel() for each in gradients])
        for gradient, summed in zip(gradients, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))
        return float(flat[-1])

    def agree(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)


ALONE = Ranks()
