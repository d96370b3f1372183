"""What every model is to the evaluation: fit, predict, save; and the registry of the models by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.errors import UsageError
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.follow import Follow


class Estimator(Protocol):
    """A model that learns from some runs of a cohort and predicts others.

    Attributes
    ----------
    name : str
        The name that it is registered by.
    """

    name: str

    def fit(self, cohort: Cohort, indices: NDArray[np.int64], seed: int) -> None:
        """Learn from the runs `indices`, and from nothing else of the cohort."""
        ...

    def predict(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return logits (n, C) for classes, values (n, 1) for a continuous target."""
        ...

    def save(self, path: Path) -> None:
        """Write what was learnt to `path`."""
        ...


@runtime_checkable
class Followed(Protocol):
    """An estimator whose training takes long: it tells how far it is, and goes on after a kill."""

    def follow(self, follow: Follow, state_file: Path | None = None) -> None:
        """Say who is told, and where the state is kept after every epoch."""
        ...


Factory = Callable[[str, ModelSpec, Training, Execution], Estimator]

#: The models of dynamics: NeuroSSM, and the one that has an encoder, which can be pretrained.
FIRST_FAMILY, SECOND_FAMILY = "neurossm", "lmae-rwmoe"
#: What the name of a model of dynamics ends in that is joined with a static term.
STATIC = "-static"

# name -> "module:factory", a `Factory`: a new model is one new file and one line here.
_MODELS: dict[str, str] = {
    FIRST_FAMILY: "bids_neurossm.training.first_family:create",
    FIRST_FAMILY + STATIC: "bids_neurossm.training.first_family:create",
    SECOND_FAMILY: "bids_neurossm.training.second_family:create",
    SECOND_FAMILY + STATIC: "bids_neurossm.training.second_family:create",
    "majority": "bids_neurossm.training.baselines:create",
    "covariates": "bids_neurossm.training.baselines:create",
    "pearson-connectivity": "bids_neurossm.training.baselines:create",
    "tangent-connectivity": "bids_neurossm.training.baselines:create",
    "multiscale-tangent": "bids_neurossm.training.baselines:create",
    "age-only": "bids_neurossm.training.baselines:create",
    "site-only": "bids_neurossm.training.site_only:create",
    "linear-svm": "bids_neurossm.training.kernels:create",
    "kernel-ridge": "bids_neurossm.training.kernels:create",
    "mean-pooled-mlp": "bids_neurossm.training.mlp:create",
}

#: Models that are trained as the recipe says, once per seed; the others are fitted in closed form, or nearly so.
_BY_RECIPE = (FIRST_FAMILY, SECOND_FAMILY, "mean-pooled-mlp")


def follows_recipe(name: str) -> bool:
    """Whether a model takes the recipe's settings and one training per seed: it is trained by gradient descent."""
    return name.startswith(_BY_RECIPE)


def is_joined(name: str) -> bool:
    """Whether a model of dynamics is joined with a static term, by its registered name."""
    return name in (FIRST_FAMILY + STATIC, SECOND_FAMILY + STATIC)


def is_first_family(name: str) -> bool:
    """Whether a model is NeuroSSM, by its registered name."""
    return name in (FIRST_FAMILY, FIRST_FAMILY + STATIC)


def is_second_family(name: str) -> bool:
    """Whether a model is LMAE-RWMOE, by its registered name."""
    return name in (SECOND_FAMILY, SECOND_FAMILY + STATIC)


def register_model(name: str, factory: str) -> None:
    """Add a model to the registry for this process.

    Parameters
    ----------
    name : str
        What the model is called on the command line.
    factory : str
        ``"package.module:function"``; the function takes (name, spec, training, execution).

    Raises
    ------
    UsageError
        If the name is taken by another factory.
    """
    if _MODELS.get(name, factory) != factory:
        raise UsageError(f"The model name {name!r} is taken by {_MODELS[name]}.")
    _MODELS[name] = factory


def registered_models() -> list[str]:
    """Return the names of all models, sorted."""
    return sorted(_MODELS)


def create_estimator(name: str, spec: ModelSpec, training: Training, execution: Execution) -> Estimator:
    """Make an unfitted estimator.

    Parameters
    ----------
    name : str
        Registered name.
    spec, training, execution : ModelSpec, Training, Execution
        Handed to the model's factory; a baseline uses what concerns it.

    Raises
    ------
    UsageError
        If no model has that name.
    """
    if name not in _MODELS:
        raise UsageError(f"The model {name!r} is not known; known are {', '.join(registered_models())}.")
    module, _, function = _MODELS[name].partition(":")
    factory = cast(Factory, getattr(import_module(module), function))
    return factory(name, spec, training, execution)
