"""Whether what a checkpoint says of itself can be true; asked before a model is built or memory is set aside."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bids_neurossm.errors import CheckpointError

if TYPE_CHECKING:
    from bids_neurossm.training.checkpoint import Facts

#: Settings that are repeated in a loop; each turn of most of them has a tensor of its own.
_REPEATED = ("depth", "layers", "experts", "heads", "walk_steps")

#: No whole number of a model or a window is larger.
_LARGEST = 10_000_000


def check_plausible(facts: Facts, state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse a checkpoint whose values make no sense.

    Parameters
    ----------
    facts : Facts
        What the checkpoint says of itself.
    state : mapping of str to Tensor
        Its tensors.
    path : Path
        For messages.

    Raises
    ------
    CheckpointError
        If a weight is not finite, a count does not match another one, or a number is impossible.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite; train the model again.")
    problem = _wrong_type(facts) or _wrong_count(facts) or _wrong_number(facts, len(state))
    if problem:
        raise CheckpointError(f"{path}: {problem}; the checkpoint is damaged, train the model again.")


def _wrong_type(facts: Facts) -> str | None:
    for name in ("model", "metrics", "versions", "static", "encoder"):
        if not isinstance(getattr(facts, name), Mapping):
            return f"{name} is no table"
    for name in ("classes", "regions"):
        if not all(isinstance(each, str) for each in getattr(facts, name)):
            return f"{name} holds something else than text"
    return None


def _wrong_count(facts: Facts) -> str | None:
    regions, outputs = facts.model.get("n_regions"), facts.model.get("n_outputs")
    if facts.regions and regions is not None and regions != len(facts.regions):
        return f"its model has {regions} regions, and {len(facts.regions)} are named"
    logits = max(len(facts.classes), 1)
    if outputs is not None and outputs != logits:
        return f"its model has {outputs} outputs, and {logits} are expected for {len(facts.classes)} classes"
    if len(set(facts.classes)) < len(facts.classes) or len(set(facts.regions)) < len(facts.regions):
        return "a class or a region is named twice"
    return None


def _wrong_number(facts: Facts, n_tensors: int) -> str | None:
    for name, value in facts.model.items():
        if isinstance(value, int) and (value > _LARGEST or (name in _REPEATED and value > n_tensors)):
            return f"model.{name} = {value} is impossible for a model of {n_tensors} tensors"
    if facts.window is not None and not 0 < facts.window <= _LARGEST:
        return f"window = {facts.window} is impossible"
    if not (math.isfinite(facts.target_mean) and 0 < facts.target_scale < math.inf):
        return f"target_mean = {facts.target_mean} and target_scale = {facts.target_scale} are impossible"
    if facts.repetition_time is not None and not 0 < facts.repetition_time < math.inf:
        return f"repetition_time = {facts.repetition_time} is impossible"
    return None
