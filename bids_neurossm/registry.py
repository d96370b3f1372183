"""The models by name: what the rest of the package knows of a model, without importing it.

The models of this package are listed here. Those of other packages are found by their entry points in the group
``bids_neurossm.models``: the name of the entry point is the model's, and its object is a `ModelEntry`
(docs/add-a-model.md). Listing names imports nothing; only the package of a model that is asked for is imported.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from bids_neurossm.errors import NeuroSSMError, UsageError

#: Entry points of other packages' models.
GROUP = "bids_neurossm.models"

#: What the name of a model ends in that is joined with a static term.
STATIC = "-static"

#: A run must have so many of a model's largest bins.
LEAST_BINS = 8

_OURS = "bids_neurossm"


@dataclass(frozen=True)
class Bins:
    """What a model averages the time points of a run over.

    Parameters
    ----------
    smallest, largest : float
        Lengths, in time points or in s.
    in_seconds : bool
        Which of the two.
    """

    smallest: float = 1
    largest: float = 1
    in_seconds: bool = False


def _time_points(settings: Mapping[str, Any]) -> Bins:
    return Bins()


def _scales(settings: Mapping[str, Any]) -> Bins:
    scales = tuple(settings.get("scales", (1, 2, 4)))
    return Bins(min(scales), max(scales), settings.get("scale_unit") == "seconds")


def _patches(settings: Mapping[str, Any]) -> Bins:
    sample, patch = float(settings.get("sample", 1)), int(settings.get("patch", 4))
    return Bins(sample, sample * patch, settings.get("scale_unit") == "seconds")


def _first(settings: Mapping[str, Any]) -> int:
    return 1


def _second_where_pretrained(settings: Mapping[str, Any]) -> int:
    return 2 if settings.get("pretrain") else 1


def _second(settings: Mapping[str, Any]) -> int:
    return 2


@dataclass(frozen=True)
class ModelEntry:
    """What is known of a model before it is made. References are ``"package.module:name"``.

    Parameters
    ----------
    factory : str
        Reference to a function of (name, spec, training, execution) that returns an
        `bids_neurossm.estimators.protocol.Estimator`.
    label : str
        The name as people write it.
    by_recipe : bool
        It is trained by gradient descent: it takes the recipe's settings, and one training per seed. Others are fitted
        in closed form, or nearly so.
    bins : callable
        Takes the ``[model]`` settings of a recipe; a run must have eight of the largest bins.
    joins : str
        Name of the model whose output a static term is added to, where this is such a sum.
    is_patch_based : bool
        It reads patches through an encoder that can be pretrained.
    methods : str
        Reference to a function of (settings, cohort, training) that returns sentences for the methods section.
    attribution : tuple of (str, str)
        What importance is told of (``"a pathway"``), and what ranks regions, for the methods section; empty for a model
        whose decisions are not explained.
    map_note : str
        What a reader of its maps has to know.
    importance_note : str
        The same, for the figure of its pathways.
    figures : tuple of str
        References to functions of the folder of an analysis that return a
        `bids_neurossm.reports.figures.canvas.Picture` or None, for the report.
    needs : str
        Column of the table of participants without which it says nothing: it must vary, and not be the target.
    panel : str
        Which analyses have it as a baseline unless others are named: ``all``, ``continuous`` or none.
    revision : callable
        Takes the settings; returns a number that is raised when the same settings lead to other results than before.
        Models of an earlier revision are trained again.
    package, version : str
        Who brings it, and in which version; filled in.
    """

    factory: str
    label: str
    by_recipe: bool = True
    bins: Callable[[Mapping[str, Any]], Bins] = _time_points
    joins: str = ""
    is_patch_based: bool = False
    methods: str = ""
    attribution: tuple[str, str] | tuple[()] = ("a pathway", "input x gradient over the series")
    map_note: str = ""
    importance_note: str = ""
    figures: tuple[str, ...] = ()
    needs: str = ""
    panel: str = ""
    revision: Callable[[Mapping[str, Any]], int] = _first
    package: str = _OURS
    version: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """Name and version of the package that brings it, where that is another one."""
        return {} if self.package == _OURS else {self.package: self.version}

    @property
    def has_static_term(self) -> bool:
        """Whether it is the sum of a model of dynamics and a static term."""
        return bool(self.joins)


_NEUROSSM = ModelEntry(
    f"{_OURS}.estimators.neurossm:create",
    "NeuroSSM",
    bins=_scales,
    attribution=("a pathway", "activation x gradient within a pathway"),
    methods=f"{_OURS}.estimators.neurossm:methods",
    map_note="Stream and scale are not fully identifiable: a raw pathway at a fine scale can express differences and "
    "slower averages.",
    importance_note="A scale is s time points of averaging.",
)
_LMAE_RWMOE = ModelEntry(
    f"{_OURS}.estimators.lmae_rwmoe:create",
    "LMAE + RWMOE",
    bins=_patches,
    is_patch_based=True,
    # Pretraining moved into the one training loop.
    revision=_second_where_pretrained,
    methods=f"{_OURS}.estimators.lmae_rwmoe:methods",
    attribution=("an expert of regions", "input x gradient over their series and the profiles of the run's graph"),
    map_note="Experts have no meaning of their own: where seeds disagree on their regions, read the sum over experts.",
    figures=(f"{_OURS}.reports.figures.experts:expert_networks",),
)


def _linear(kind: str, label: str, panel: str = "", needs: str = "", module: str = "linear_baselines") -> ModelEntry:
    factory = f"{_OURS}.baselines.{module}:{kind}"
    return ModelEntry(factory, label, by_recipe=False, attribution=(), panel=panel, needs=needs)


_MODELS: dict[str, ModelEntry] = {
    "neurossm": _NEUROSSM,
    "neurossm-static": replace(_NEUROSSM, label="NeuroSSM + static connectivity", joins="neurossm"),
    "lmae-rwmoe": _LMAE_RWMOE,
    "lmae-rwmoe-static": replace(_LMAE_RWMOE, label="LMAE + RWMOE + static connectivity", joins="lmae-rwmoe"),
    "majority": _linear("majority", "guessing (majority class)", panel="all", module="dummy"),
    "covariates": _linear("covariates", "covariates only", panel="all"),
    "pearson-connectivity": _linear("pearson", "Pearson connectivity", panel="all"),
    "tangent-connectivity": _linear("tangent", "tangent connectivity", panel="all"),
    "multiscale-tangent": _linear("multiscale_tangent", "multiscale tangent connectivity"),
    "site-only": _linear("site_only", "site only", "all", "site", "dummy"),
    "age-only": _linear("age_only", "age only", "continuous", "age"),
    "linear-svm": _linear("support_vectors", "linear SVM", module="kernel_machines"),
    "kernel-ridge": _linear("ridge", "kernel ridge", module="kernel_machines"),
    "mean-pooled-mlp": ModelEntry(
        f"{_OURS}.estimators.mean_pooled_mlp:create", "mean-pooled MLP", attribution=(), revision=_second
    ),
}

#: The baseline that is what a static term is on its own.
STATIC_BASELINE = "tangent-connectivity"


def register_model(name: str, entry: ModelEntry) -> None:
    """Add a model for this process; one for the command line, whose workers are other processes, is an entry point.

    Raises
    ------
    UsageError
        If the name is taken by another model.
    """
    if _MODELS.get(name, entry) != entry:
        raise UsageError(f"The model name {name!r} is taken by {_MODELS[name].factory}.")
    _MODELS[name] = entry


def model_names() -> list[str]:
    """Return the names of all models that are installed, sorted; nothing is imported for that."""
    return sorted({*_MODELS, *_others()})


def model_entry(name: str) -> ModelEntry:
    """Return what is known of a model; the package that brings it is imported, unless it is this one.

    Raises
    ------
    UsageError
        If no model has that name, two have it, or the package that brings it cannot be loaded.
    """
    others = _others().get(name, ())
    if len(others) + (name in _MODELS) > 1:
        packages = [*([_OURS] if name in _MODELS else []), *map(_package, others)]
        raise UsageError(f"Several packages bring a model {name!r}: {', '.join(packages)}. Uninstall all but one.")
    if name in _MODELS:
        return _MODELS[name]
    if not others:
        raise UsageError(f"The model {name!r} is not known; known are {', '.join(model_names())}.")
    with blaming(name, _package(others[0])):
        entry = others[0].load()
        if not isinstance(entry, ModelEntry):
            raise TypeError(f"{others[0].value} is a {type(entry).__name__}; a ModelEntry is expected")
        if entry.joins and name != entry.joins + STATIC:
            raise TypeError(f"{name} joins {entry.joins}, and has to be called {entry.joins + STATIC}")
        point = others[0]
        return replace(entry, package=_package(point), version="" if point.dist is None else point.dist.version)


def baseline_panel(target_type: str) -> list[str]:
    """Return the baselines that an analysis of such a target has unless others are named, in their order."""
    return [name for name, entry in _MODELS.items() if entry.panel in ("all", target_type)]


def installed_entry(name: str) -> ModelEntry | None:
    """Return what is known of a model, or None where results speak of one that cannot be used here."""
    try:
        return model_entry(name)
    except UsageError:
        return None


def resolved(reference: str, name: str, entry: ModelEntry) -> Any:
    """Import what a reference of an entry stands for.

    Raises
    ------
    UsageError
        If that fails in the package of somebody else.
    """
    module, _, attribute = reference.partition(":")
    with blaming(name, entry.package):
        return getattr(import_module(module), attribute)


@contextmanager
def blaming(name: str, package: str) -> Iterator[None]:
    """Turn an error in the code of another package into one sentence that names it."""
    try:
        yield
    except NeuroSSMError:
        raise
    except (Exception, SystemExit) as error:
        if package == _OURS:
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise UsageError(
            f"The package {package}, which brings the model {name!r}, cannot be used: {type(error).__name__}: {error} "
            f"({Path(place.filename).name}, line {place.lineno})"
        ) from error


@cache
def _others() -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
