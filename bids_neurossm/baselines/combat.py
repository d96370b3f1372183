"""ComBat over sites on features, learned on training runs alone (docs/methods.md, section 2).

Johnson et al., 2007, Biostatistics 8:118; Fortin et al., 2018, NeuroImage 167:104. The estimates are those of
neuroCombat, the package of its authors, which is an optional extra. Nothing is protected: to protect the target would
need the labels of those who are to be predicted.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.cohort.store import Cohort
from bids_neurossm.errors import LabelError, ResourceMissingError, UsageError

if TYPE_CHECKING:
    from bids_neurossm.baselines.features import Features

#: A variance over fewer runs of a site says nothing.
RUNS_PER_SITE = 3
_ARRAYS = ("centre", "spread", "shift", "stretch")


class ComBat:
    """Location and scale of every feature at every site, shrunk together by empirical Bayes.

    Attributes
    ----------
    sites : list of str
        S sites that were learned.
    centre, spread : array, shape (p,)
        Grand mean, and pooled standard deviation within sites.
    shift, stretch : array, shape (S, p)
        What is taken from the standardised features of a site, and what they are divided by.
    """

    def __init__(self) -> None:
        self.sites: list[str] = []
        self.centre = self.spread = np.empty(0)
        self.shift = self.stretch = np.empty((0, 0))

    def fit(self, features: NDArray[np.floating], sites: NDArray[np.str_]) -> ComBat:
        """Learn from features, shape (n, p), and the site of each row.

        Raises
        ------
        LabelError
            If a site is unknown, there is one site only, or a site has fewer than 3 rows.
        ResourceMissingError
            If neuroCombat is not installed.
        """
        try:
            from neuroCombat import neuroCombat
        except ImportError as error:
            raise ResourceMissingError(
                "--harmonise combat needs neuroCombat, which is not installed; pip install 'bids-neurossm[harmonise]'."
            ) from error
        names, counts = np.unique(sites, return_counts=True)
        if "" in names:
            raise LabelError(f"--harmonise combat: {int(counts[0])} training runs have no site.")
        if len(names) < 2:
            raise LabelError(f"--harmonise combat: all training runs are from {names[0]}; two sites are needed.")
        if counts.min() < RUNS_PER_SITE:
            few = f"{names[counts.argmin()]} has {counts.min()}"
            raise LabelError(
                f"--harmonise combat needs {RUNS_PER_SITE} training runs of every site; {few}. Leave the site out with "
                "--exclude-participant-label, or do without harmonisation."
            )
        self.sites = [str(name) for name in names]
        values = np.asarray(features, dtype=np.float64)
        # A feature that is constant (a dead region) has nothing to be harmonised, and no variance to divide by.
        alive = np.ptp(values, axis=0) > 0
        p = values.shape[1]
        self.centre, self.spread = np.zeros(p), np.ones(p)
        self.shift, self.stretch = np.zeros((len(names), p)), np.ones((len(names), p))
        with contextlib.redirect_stdout(io.StringIO()):  # it tells every step
            found = neuroCombat(values[:, alive].T, pd.DataFrame({"site": sites}), "site")["estimates"]
        self.centre[alive] = found["stand.mean"][:, 0]
        self.spread[alive] = np.sqrt(found["var.pooled"][:, 0])
        self.shift[:, alive] = found["gamma.star"]
        self.stretch[:, alive] = np.sqrt(found["delta.star"])
        return self

    def transform(self, features: NDArray[np.floating], sites: NDArray[np.str_]) -> NDArray[np.float32]:
        """Harmonise features, shape (n, p), of known sites.

        Raises
        ------
        LabelError
            If a site was not learned: its shift can not be known.
        """
        unknown = sorted(set(sites.tolist()) - set(self.sites))
        if unknown:
            raise LabelError(
                f"--harmonise combat: the site {unknown[0]!r} is not among those that were learned "
                f"({', '.join(self.sites)}): a site that was never seen can not be harmonised."
            )
        place = np.searchsorted(self.sites, sites)
        standard = (np.asarray(features, dtype=np.float64) - self.centre) / self.spread
        adjusted = (standard - self.shift[place]) / self.stretch[place]
        return np.asarray(adjusted * self.spread + self.centre, dtype=np.float32)


class HarmonisedFeatures:
    """Features of a baseline after ComBat over the column ``site`` of the cohort.

    Parameters
    ----------
    inner : Features
        The features as they are.
    """

    def __init__(self, inner: Features) -> None:
        self.inner = inner
        self.combat = ComBat()

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Learn features and harmonisation from the training runs; return them harmonised."""
        features = self.inner.fit(cohort, indices)
        sites = _sites(cohort, indices)
        return self.combat.fit(features, sites).transform(features, sites)

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Harmonised features of other runs of the same sites."""
        return self.combat.transform(self.inner.transform(cohort, indices), _sites(cohort, indices))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the state of the features and the estimates."""
        arrays, facts = self.inner.state()
        estimates = {f"combat_{name}": getattr(self.combat, name) for name in _ARRAYS}
        return {**arrays, **estimates}, {**facts, "sites": self.combat.sites, "harmonise": "combat"}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take the estimates over."""
        self.inner.restore(arrays, facts)
        self.combat.sites = [str(name) for name in facts["sites"]]
        for name in _ARRAYS:
            setattr(self.combat, name, arrays[f"combat_{name}"])


def harmonised(features: Features, method: str | None) -> Features:
    """Wrap features by the harmonisation that was asked for.

    Raises
    ------
    UsageError
        If the method is not known.
    """
    if method is None:
        return features
    if method != "combat":
        raise UsageError(f"--harmonise {method} is not known; combat is.")
    return HarmonisedFeatures(features)


def _sites(cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.str_]:
    return cohort.runs["site"].iloc[indices].to_numpy(dtype=str)
