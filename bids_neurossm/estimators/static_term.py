"""What connectivity alone says of a run, as one more additive term of NeuroSSM (docs/methods.md, section 1.8).

A linear model on tangent connectivity is fitted in closed form on the training runs and frozen. How much of it is
believed beside NeuroSSM is found by `bids_neurossm.estimators.late_fusion`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bids_neurossm.baselines.features import MultiscaleTangentFeatures
from bids_neurossm.baselines.linear_solver import LinearModel, fit_linear, out_of_fold, participant_weights
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.shrinkage import shrinkage
from bids_neurossm.evaluation.metrics import centred_logits
from bids_neurossm.training.inference import balanced_mean

if TYPE_CHECKING:
    from bids_neurossm.attribution.cpa import PathwayAttribution

#: What the names of its tensors in a checkpoint begin with.
PREFIX = "static."
#: Sizes of the bins that it looks at, in time points; see `fit_static`.
_SCALES = (1,)
#: Of the inner splits.
_SEED = 0


@dataclass(frozen=True)
class StaticTerm:
    """A frozen linear model on tangent connectivity, and how much of it is believed.

    Parameters
    ----------
    features : MultiscaleTangentFeatures
        With the references of the training runs.
    model : LinearModel
        Fitted on them.
    weight : float
        What its prediction is multiplied by.
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
        return centred_logits(terms - self.centre, target)

    def weighing(self, weight: float, unseen: NDArray[np.float64], target: NDArray[Any]) -> StaticTerm:
        """Return the same term with a weight, and the centre that it has then.

        Parameters
        ----------
        weight : float
            What its prediction is multiplied by from now on.
        unseen : array (n, C)
            Its out-of-fold predictions of the training runs, with weight 1.
        target : array (n,)
            Of the training runs.
        """
        centre = balanced_mean(unseen, target if self.model.classes else None)
        return replace(self, weight=weight, centre=weight * centre)

    def added_to(self, attribution: PathwayAttribution, terms: NDArray[np.float64]) -> PathwayAttribution:
        """Return the attribution of the whole decision from that of the pathways, with the term's own importance."""
        own = centred_logits(terms, attribution.target)
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


def fit_static(
    cohort: Cohort,
    indices: NDArray[np.int64],
    class_weights: bool,
    target_mean: float = 0.0,
    target_scale: float = 1.0,
) -> tuple[StaticTerm, NDArray[np.float64] | None]:
    """Fit the static term on training runs, and weigh it as if it decided alone.

    Its covariances are those of single time points. Slower scales beside them cost three times as much, and neither
    the term nor its sum with NeuroSSM, which looks at slower scales itself, was better for them (docs/accuracy.md).

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
        Fitted on all of them; its weight is 0 where it tells nothing.
    array (n, C) or None
        Its predictions of each of them with weight 1, from models that did not see the run's participant. The
        references and the penalty are shared by these models; neither can tell a run's label. None where a class has
        a single group, so that there are no such models.

    Raises
    ------
    RunError
        If a run holds too few volumes.
    LabelError
        If a class has no training run.
    """
    features = MultiscaleTangentFeatures(_SCALES)
    values = features.fit(cohort, indices)
    runs = cohort.runs.iloc[indices].reset_index(drop=True)
    target = cohort.labels(indices)
    classes = len(cohort.classes)
    model = fit_linear(values, target, runs, classes, _SEED, class_weights)
    term = StaticTerm(features, model, 0.0, np.zeros(max(classes, 1)), target_mean, target_scale)
    unseen = out_of_fold(values, target, runs, classes, _SEED, model.penalty, class_weights)
    if unseen is None:
        # Too few participants to know what it is worth: it is not believed at all.
        return term, None
    unseen = (unseen - target_mean) / target_scale
    goal = target if classes else (target - target_mean) / target_scale
    weight = shrinkage(unseen, goal, participant_weights(runs, target, classes, class_weights))
    return term.weighing(weight, unseen, target), unseen
