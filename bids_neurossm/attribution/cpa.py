"""Calibrated Pathway Attribution of single runs (docs/methods.md, section 3).

How much a pathway moved the decision is told exactly, since the fusion is a sum; where in the pathway's input it lay
is told by activation x gradient, which ranks regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bids_neurossm.errors import UsageError
from bids_neurossm.models.neurossm import NeuroSSM

Localisation = Literal["gradient", "integrated"]
#: Terms of a decision that are no pathways.
FURTHER_TERMS = ("static", "amplitude")


@dataclass(frozen=True)
class PathwayAttribution:
    """Attributions of n runs over P pathways and R regions.

    Attributes
    ----------
    pathways : tuple of str
        Names of the pathways.
    target : array (n,), int64
        The class that was explained; for a continuous target the direction, 1 (or 0) upwards and -1 downwards.
    logit : array (n,)
        Centred logit of that class; for a continuous target the output (its deviation from the training mean, in
        standard deviations) in that direction.
    reference : array (n,)
        The same for the class-balanced training mean of the features.
    importance : array (n, P)
        Delta_p: ``logit = reference + sum_p importance_p``.
    importance_zero : array (n, P)
        The same against features of 0, an arbitrary reference.
    score : array (n, P, R)
        s_p[r]; its sign has no meaning.
    share : array (n, P, R)
        a_p[r] = abs(s_p[r]) / sum of them over r; 0 where a pathway has no gradient at all.
    gap : array (n, P)
        What the scores of ``integrated`` miss of g_p(A_p) - g_p(0); NaN for ``gradient``.
    localisation : {"gradient", "integrated"}
        How the scores were made.
    static, amplitude : array (n,) or None
        Importance of the terms of the decision that are no pathways, where the model has them: they have no regions
        and no map, and are part of the logit, as their references are part of the reference.
    """

    pathways: tuple[str, ...]
    target: NDArray[np.int64]
    logit: NDArray[np.float64]
    reference: NDArray[np.float64]
    importance: NDArray[np.float64]
    importance_zero: NDArray[np.float64]
    score: NDArray[np.float64]
    share: NDArray[np.float64]
    gap: NDArray[np.float64]
    localisation: str
    static: NDArray[np.float64] | None = None
    amplitude: NDArray[np.float64] | None = None

    @property
    def further_terms(self) -> dict[str, NDArray[np.float64]]:
        """Importances of the terms that are no pathways, by name; what is left of the decision is in the pathways."""
        return {name: value for name in FURTHER_TERMS if (value := getattr(self, name)) is not None}

    def averaged(self, owners: ArrayLike) -> PathwayAttribution:
        """Average windows that belong to one run; the shares are taken of the averaged scores.

        Parameters
        ----------
        owners : array (n,), int
            Which run each window is of, 0 to n_runs - 1.
        """
        membership = np.asarray(owners) == np.arange(np.max(owners) + 1)[:, None]
        weights = membership / membership.sum(axis=1, keepdims=True)
        names = ("logit", "reference", "importance", "importance_zero", "score", "gap")
        values: dict[str, Any] = {name: np.tensordot(weights, getattr(self, name), axes=1) for name in names}
        values["target"] = self.target[membership.argmax(axis=1)]
        values |= {name: weights @ value for name, value in self.further_terms.items()}
        return replace(self, **values, share=shares(values["score"]))


def concatenated(parts: Sequence[PathwayAttribution]) -> PathwayAttribution:
    """Join the attributions of several batches."""
    names = ["target", "logit", "reference", "importance", "importance_zero", "score", "share", "gap"]
    names += parts[0].further_terms
    values: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **values)


def cpa(
    model: NeuroSSM,
    series: Tensor | Sequence[NDArray[np.floating]] | NDArray[np.floating],
    target: ArrayLike,
    lengths: Tensor | None = None,
    runs: Tensor | None = None,
    localisation: Localisation = "gradient",
    steps: int = 32,
    repetition_times: Tensor | None = None,
    amplitude: Tensor | None = None,
) -> PathwayAttribution:
    """Attribute the decision about each run to pathways and regions.

    Parameters
    ----------
    model : NeuroSSM
        Trained; its ``pathway_mean`` is the reference.
    series : Tensor or array (B, T, R), or sequence of arrays (T_i, R)
        Standardised contiguous pieces.
    target : array (n,), int
        Class to explain, of each run. For a continuous target the direction: 1 (or 0) for what raises the value, -1
        for what lowers it. Held-out runs are explained in the direction of their true deviation from the training
        mean, which is to them what the true class is; a mean of importances over runs would else be near 0.
    lengths : Tensor (B,), optional
        Valid time points of each piece of a padded tensor.
    runs : Tensor (B,), optional
        Which run each piece belongs to, see `NeuroSSM.forward`.
    localisation : {"gradient", "integrated"}
        Activation x gradient, averaged over time; or its path integral from 0, summed over time, which adds up to
        g_p(A_p) - g_p(0) but for `gap`.
    steps : int
        Points of the path integral.
    repetition_times : Tensor (B,), optional
        Of each piece in s, for a model whose scales are in seconds.
    amplitude : Tensor (n, R), optional
        For a model with the amplitude term, see `NeuroSSM.forward`. Its importance is that against the training mean.

    Returns
    -------
    PathwayAttribution

    Raises
    ------
    UsageError
        If the target does not fit the runs or the classes, or the repetition times do not fit the scales.

    Notes
    -----
    One forward and one backward pass serve all runs and pathways: the term of a pathway depends on that pathway's
    input only, so the gradient of the sum of all terms is each term's own gradient. In gated fusion the gates are
    frozen at their values for the run.
    """
    if localisation not in ("gradient", "integrated"):
        raise UsageError(f"localisation {localisation!r} is not known; gradient and integrated are.")
    was_training = model.training
    model.eval()
    try:
        values, lengths = _padded(series, lengths, next(model.parameters()).device)
        runs = torch.arange(len(values), device=values.device) if runs is None else runs
        with torch.no_grad():
            inputs = model.pathway_inputs(values, lengths, repetition_times)
        found = _attribute(model, inputs, runs, np.asarray(target, dtype=np.int64), localisation, steps)
        return _with_amplitude(model, found, amplitude) if model.config.amplitude else found
    finally:
        model.train(was_training)


def _attribute(
    model: NeuroSSM,
    inputs: list[tuple[Tensor, Tensor]],
    runs: Tensor,
    target: NDArray[np.int64],
    localisation: Localisation,
    steps: int,
) -> PathwayAttribution:
    """Compute all parts from the inputs of the pathways."""
    n_runs = int(runs.max()) + 1
    check_target(target, n_runs, model.config.n_outputs)
    leaves, attached = _encoded(model, inputs, runs, 1.0)
    features = attached.detach()
    with torch.no_grad():
        gates = model.gates(features)
        contrast = contrasts(model.config.n_outputs, target).to(runs.device)
        # (n, P, W): the centred row of W_p for each run's class, times the frozen gate.
        rows = gates[:, :, None].double() * torch.einsum("nc,pcw->npw", contrast, model.head.double())
        logits = model.bias + model.terms(features, gates).sum(dim=1)
        logit = (contrast * logits.double()).sum(dim=1)
        zero_terms = (rows * features.double()).sum(dim=-1)
        mean_terms = (rows * model.pathway_mean.double()).sum(dim=-1)
        reference = contrast @ model.bias.double() + mean_terms.sum(dim=1)
    if localisation == "gradient":
        gradients = _gradients(leaves, attached, rows)
    else:
        points = [(step + 0.5) / steps for step in range(steps)]
        several = [_gradients(*_encoded(model, inputs, runs, point), rows) for point in points]
        gradients = [torch.stack(parts).mean(dim=0) for parts in zip(*several, strict=True)]
    score = _over_time(inputs, gradients, runs, n_runs, mean=localisation == "gradient")
    gap = torch.full_like(zero_terms, torch.nan)
    if localisation == "integrated":
        with torch.no_grad():
            still = model.encode([(torch.zeros_like(values), valid) for values, valid in inputs], runs)
            gap = zero_terms - (rows * still.double()).sum(dim=-1) - score.sum(dim=-1)
    arrays = (tensor.cpu().numpy() for tensor in (logit, reference, zero_terms - mean_terms, zero_terms, score))
    logit_, reference_, importance, importance_zero, score_ = arrays
    return PathwayAttribution(
        model.config.pathway_names, target, logit_, reference_, importance, importance_zero, score_, shares(score_),
        gap.cpu().numpy(), localisation,
    )  # fmt: skip


def _with_amplitude(model: NeuroSSM, found: PathwayAttribution, amplitude: Tensor | None) -> PathwayAttribution:
    """Add the amplitude term, which is 0 at the training mean."""
    with torch.no_grad():
        terms = model.amplitude_term(amplitude, len(found.target)).double().cpu()
        moved = (contrasts(model.config.n_outputs, found.target) * terms).sum(dim=1).numpy()
    return replace(found, logit=found.logit + moved, amplitude=moved)


def _encoded(
    model: NeuroSSM, inputs: list[tuple[Tensor, Tensor]], runs: Tensor, point: float
) -> tuple[list[Tensor], Tensor]:
    """Return ``point`` x the input of each pathway as a leaf of its own, and the features, with their graph."""
    leaves = [(values * point).detach().requires_grad_() for values, _ in inputs]
    with torch.enable_grad():
        pairs = [(leaf, valid) for leaf, (_, valid) in zip(leaves, inputs, strict=True)]
        return leaves, model.encode(pairs, runs)


def _gradients(leaves: list[Tensor], features: Tensor, rows: Tensor) -> list[Tensor]:
    """Gradient of each pathway's centred term with respect to its own input."""
    with torch.enable_grad():
        return list(torch.autograd.grad((rows.to(features.dtype) * features).sum(), leaves))


def _over_time(
    inputs: list[tuple[Tensor, Tensor]], gradients: list[Tensor], runs: Tensor, n_runs: int, mean: bool
) -> Tensor:
    """Input x gradient, (n, P, R): mean or sum over the valid time points of all pieces of a run."""
    membership = torch.nn.functional.one_hot(runs, n_runs).double().T
    scores = []
    for (values, lengths), gradient in zip(inputs, gradients, strict=True):
        valid = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        sums = membership @ (values * gradient * valid[:, :, None]).double().sum(dim=1)
        counts = membership @ lengths.double()
        scores.append(sums / counts.clamp_min(1)[:, None] if mean else sums)
    return torch.stack(scores, dim=1)


def shares(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return abs(s) / sum of abs(s) over the last axis; 0 where all scores are 0."""
    size = np.abs(score)
    total = size.sum(axis=-1, keepdims=True)
    result: NDArray[np.float64] = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return result


def contrasts(n_outputs: int, target: NDArray[np.int64]) -> Tensor:
    """Return weights (n, C) that make logits the centred logit of the target: its own less the mean of the others."""
    if n_outputs == 1:
        return torch.from_numpy(np.where(target < 0, -1.0, 1.0))[:, None]
    weights = torch.full((len(target), n_outputs), -1.0 / (n_outputs - 1), dtype=torch.float64)
    weights[torch.arange(len(target)), torch.from_numpy(target)] = 1.0
    return weights


def check_target(target: NDArray[np.int64], n_runs: int, n_outputs: int) -> None:
    """Refuse a target that is no class of the model, or does not fit the runs.

    Raises
    ------
    UsageError
        Saying what was found.
    """
    if target.shape != (n_runs,):
        raise UsageError(f"The target has shape {target.shape}; one class for each of the {n_runs} runs is expected.")
    if n_outputs == 1 and np.isin(target, (-1, 0, 1)).all():
        return
    if target.min() < 0 or target.max() >= n_outputs:
        raise UsageError(f"The target holds {target.min()} to {target.max()}; the model has {n_outputs} outputs.")


def _padded(
    series: Tensor | Sequence[NDArray[np.floating]] | NDArray[np.floating], lengths: Tensor | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Bring the series to one float32 tensor (B, T, R) and its lengths."""
    if isinstance(series, Tensor):
        values = series.to(device, torch.float32)
    else:
        pieces = [torch.as_tensor(np.asarray(piece, dtype=np.float32)) for piece in series]
        lengths = torch.tensor([len(piece) for piece in pieces]) if lengths is None else lengths
        values = torch.nn.utils.rnn.pad_sequence(pieces, batch_first=True).to(device)
    if lengths is None:
        lengths = torch.full((len(values),), values.shape[1])
    return values, lengths.to(device)
