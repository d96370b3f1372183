"""What connectivity alone says of a run, as one more additive term of NeuroSSM (docs/methods.md, section 1.8).

A multiscale tangent-connectivity classifier is fitted in closed form on the training runs and frozen. NeuroSSM is
trained on what it leaves: its out-of-fold logits on the training runs are the offset of NeuroSSM's own, so that
neither sees an answer that was made with the run's own label. What NeuroSSM adds is weighed on training runs that it
was not fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.errors import CheckpointError
from bids_neurossm.models.neurossm import NeuroSSM
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.connectivity import MultiscaleTangentFeatures
from bids_neurossm.training.inference import predict_logits
from bids_neurossm.training.linear import LinearModel, fit_linear, out_of_fold, participant_weights
from bids_neurossm.training.runset import TrainingSet

if TYPE_CHECKING:
    from bids_neurossm.attribution.cpa import PathwayAttribution

#: What the names of its tensors in a checkpoint begin with.
PREFIX = "static."
#: Of the inner splits.
_SEED = 0


@dataclass(frozen=True)
class StaticTerm:
    """A frozen linear model on multiscale tangent connectivity, and how much of it is believed.

    Parameters
    ----------
    features : MultiscaleTangentFeatures
        With the references of the training runs.
    model : LinearModel
        Fitted on them.
    weight : float
        What its prediction is multiplied by, from 0 to 2; see :func:`shrinkage`.
    centre : array (C,)
        Class-balanced mean of the term over the training runs, the reference of its importance.
    target_mean, target_scale : float
        A continuous target is standardised by them; 0 and 1 for classes.
    """

    features: MultiscaleTangentFeatures
    model: LinearModel
    weight: float
    centre: NDArray[np.float64]
    target_mean: float = 0.0
    target_scale: float = 1.0

    def term(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what is added to the model's output: logits (n, C), or values (n, 1) of the standardised target.

        Raises
        ------
        RunError
            If a run has fewer than 8 bins of the largest scale.
        """
        if self.weight == 0:
            return np.zeros((len(indices), len(self.centre)))
        values = self.model.predict(self.features.transform(cohort, indices))
        return self.weight * (values - self.target_mean) / self.target_scale

    def importance(self, terms: NDArray[np.float64], target: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how far the term moved each decision, in the units of the importances of pathways.

        Parameters
        ----------
        terms : array (n, C)
            Of :meth:`term`.
        target : array (n,), int64
            The class that is explained; for a continuous target the direction, -1 for downwards.

        Returns
        -------
        array (n,)
            Centred term of that class (its own minus the mean of the others), less the same of the reference.
        """
        return towards(terms - self.centre, target)

    def added_to(self, attribution: PathwayAttribution, terms: NDArray[np.float64]) -> PathwayAttribution:
        """Return the attribution of the whole decision from that of the pathways, with the term's own importance."""
        own = towards(terms, attribution.target)
        moved = self.importance(terms, attribution.target)
        return replace(
            attribution,
            logit=attribution.logit + own,
            reference=attribution.reference + own - moved,
            static=moved,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays that a checkpoint keeps, by name."""
        arrays, _ = self.features.state()
        arrays |= {"coefficients": self.model.coefficients, "intercepts": self.model.intercepts, "centre": self.centre}
        return {PREFIX + name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}

    def facts(self) -> dict[str, Any]:
        """Return the plain values that a checkpoint keeps."""
        _, facts = self.features.state()
        return {**facts, "weight": self.weight, "penalty": self.model.penalty, "classes": self.model.classes}

    @classmethod
    def restored(
        cls, tensors: dict[str, Tensor], facts: dict[str, Any], target_mean: float, target_scale: float
    ) -> StaticTerm:
        """Bring back what :meth:`tensors` and :meth:`facts` gave.

        Raises
        ------
        CheckpointError
            If something is missing.
        """
        try:
            arrays = {name.removeprefix(PREFIX): tensor.numpy() for name, tensor in tensors.items()}
            features = MultiscaleTangentFeatures()
            features.restore(arrays, facts)
            model = LinearModel(arrays["coefficients"], arrays["intercepts"], facts["classes"], facts["penalty"])
            return cls(features, model, float(facts["weight"]), arrays["centre"], target_mean, target_scale)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The static term of the checkpoint can not be read: {error}.") from error


def towards(values: NDArray[np.float64], target: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far outputs (n, C) speak for what is explained, (n,): that logit minus the mean of the others.

    Of a continuous target (n, 1), the value in the direction of the target, -1 for downwards.
    """
    if values.shape[1] == 1:
        return np.where(target < 0, -1.0, 1.0) * values[:, 0]
    own = values[np.arange(len(target)), target]
    return np.asarray(own - (values.sum(axis=1) - own) / (values.shape[1] - 1), dtype=np.float64)


def fit_static(
    cohort: Cohort,
    indices: NDArray[np.int64],
    class_weights: bool,
    target_mean: float = 0.0,
    target_scale: float = 1.0,
) -> tuple[StaticTerm, NDArray[np.float64]]:
    """Fit the static term on training runs; the same for every seed, so that models of several seeds share it.

    Parameters
    ----------
    cohort : Cohort
        Where the runs are.
    indices : array (n,), int64
        The training runs; nothing else of the cohort is looked at.
    class_weights : bool
        Give every class the same total weight.
    target_mean, target_scale : float
        See `StaticTerm`.

    Returns
    -------
    StaticTerm
        Fitted on all of them.
    array (n, C)
        The offsets: its term for each of them, from models that did not see the run's participant. The references
        and the penalty are shared by these models; neither can tell a run's label.

    Raises
    ------
    RunError
        If a run has fewer than 8 bins of the largest scale.
    LabelError
        If a class has no training run.
    """
    features = MultiscaleTangentFeatures()
    values = features.fit(cohort, indices)
    runs = cohort.runs.iloc[indices].reset_index(drop=True)
    target = cohort.labels(indices)
    classes = len(cohort.classes)
    model = fit_linear(values, target, runs, classes, _SEED, class_weights)
    unseen = out_of_fold(values, target, runs, classes, _SEED, model.penalty, class_weights)
    if unseen is None:
        # Too few participants to know what it is worth: it is not believed at all.
        nothing = np.zeros((len(indices), max(classes, 1)))
        return StaticTerm(features, model, 0.0, nothing[0], target_mean, target_scale), nothing
    offsets = (unseen - target_mean) / target_scale
    goal = target if classes else (target - target_mean) / target_scale
    weight = shrinkage(offsets, goal, participant_weights(runs, target, classes, class_weights))
    offsets = weight * offsets
    centre = offsets.mean(axis=0)
    if classes:
        centre = np.mean([offsets[target == value].mean(axis=0) for value in np.unique(target)], axis=0)
    return StaticTerm(features, model, weight, centre, target_mean, target_scale), offsets


def shrinkage(unseen: NDArray[np.float64], goal: NDArray[Any], weights: NDArray[np.float64]) -> float:
    """Return the factor that makes out-of-fold predictions most truthful; 0 where they tell nothing.

    The factor in [0, 2] with the smallest log loss, or squared error; or 0 where its gain over 0 is smaller than the
    gain's own standard error.

    Parameters
    ----------
    unseen : array (n, C)
        Out-of-fold logits, or values (n, 1) of a standardised target.
    goal : array (n,)
        Class indices, or standardised values.
    weights : array (n,)
        What each run counts.
    """
    nothing = np.zeros_like(unseen)
    factor = best_factor(unseen, nothing, goal, weights, 2.0)
    gain = weights * (_losses(nothing, goal) - _losses(factor * unseen, goal))
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return factor if float(gain.mean()) > error else 0.0


def shrink_dynamics(model: NeuroSSM, aside: TrainingSet, window: int | None, class_weights: bool) -> float:
    """Weigh a NeuroSSM against the static term on training runs that it was not fitted on; return its factor.

    A model that fits its training runs too well speaks too loudly beside a term that is made of out-of-fold
    predictions. Its head and bias are multiplied by the factor in [0, 1] with which the sum of both has the smallest
    loss on the runs set aside: every term of the decision shrinks alike, and 0 means that dynamics add nothing.

    Parameters
    ----------
    model : NeuroSSM
        Fitted on the other training runs; changed in place.
    aside : TrainingSet
        With the offsets of the static term.
    window : int or None
        Time points per window.
    class_weights : bool
        Give every class the same total weight.
    """
    own = predict_logits(model, aside.inputs, window)
    weights = np.ones(len(aside))
    if class_weights and own.shape[1] > 1:
        weights /= np.bincount(aside.targets.astype(np.int64))[aside.targets.astype(np.int64)]
    offsets = np.zeros_like(own) if aside.offsets is None else aside.offsets
    factor = best_factor(own, offsets, aside.targets, weights, 1.0)
    with torch.no_grad():
        model.head.mul_(factor)
        model.bias.mul_(factor)
        if model.config.amplitude:
            model.amplitude_head.mul_(factor)
    return factor


def best_factor(
    values: NDArray[np.float64],
    offsets: NDArray[np.float64],
    goal: NDArray[Any],
    weights: NDArray[np.float64],
    largest: float,
) -> float:
    """Return the factor in [0, largest] for which offsets + factor x values (n, C) have the smallest loss."""
    from scipy.optimize import minimize_scalar

    def loss(factor: float) -> float:
        return float(weights @ _losses(offsets + factor * values, goal))

    found = minimize_scalar(loss, bounds=(0.0, largest), method="bounded")
    # The search never tries the ends themselves.
    return min((0.0, float(found.x), largest), key=loss)


def _losses(outputs: NDArray[np.float64], goal: NDArray[Any]) -> NDArray[np.float64]:
    """Log loss of logits (n, C), or squared error of values (n, 1)."""
    from scipy.special import log_softmax

    if outputs.shape[1] == 1:
        return np.asarray((outputs[:, 0] - goal) ** 2, dtype=np.float64)
    return np.asarray(-log_softmax(outputs, axis=1)[np.arange(len(goal)), goal], dtype=np.float64)
