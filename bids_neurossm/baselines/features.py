"""Features that linear and kernel baselines are fitted to: connectivity, tangent vectors, covariates."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bids_neurossm.baselines.connectivity import SCALES, TangentSpace, covariances_of, pearson_features
from bids_neurossm.cohort.store import Cohort

#: Columns of the cohort's table that the covariate baseline uses where they exist.
COVARIATES = ("age", "sex", "site", "mean_fd", "n_volumes", "repetition_time")


class Features(Protocol):
    """Turns runs into rows of numbers; what it needs to know is learned from the training runs."""

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Learn from the training runs and return their features, shape (n, p)."""
        ...

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of other runs, shape (n, p)."""
        ...

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Arrays and plain values that bring the features back."""
        ...

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        ...


class PearsonFeatures:
    """Fisher z of Pearson correlations; nothing is learned."""

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of the training runs, shape (n, R (R - 1) / 2)."""
        return pearson_features(cohort, indices)

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Features of other runs."""
        return pearson_features(cohort, indices)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Nothing."""
        return {}, {}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Nothing to take over."""


class TangentFeatures:
    """Tangent vectors of shrunk covariances; the reference is the geometric mean of the training runs."""

    def __init__(self) -> None:
        self.space = TangentSpace()

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Find the reference and return the tangent vectors of the training runs, shape (n, R (R + 1) / 2)."""
        return self.space.fit_transform(covariances_of(cohort, indices))

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Tangent vectors of other runs."""
        return self.space.transform(covariances_of(cohort, indices))

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the whitening matrix."""
        return {"whitening": self.space.whitening}, {}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take the whitening matrix over."""
        self.space.whitening = arrays["whitening"]


class CovariateFeatures:
    """Age, sex, site, motion, length and repetition time, as far as they are known, plus columns by name.

    A number is standardised over the training runs, a missing one takes their median and sets a flag; a word becomes
    one column per value seen in training, and an unseen value none. A column that says the label itself is left out.

    Parameters
    ----------
    columns : tuple of str
        Columns of the cohort's table besides :data:`COVARIATES`.
    standard : tuple of str
        Columns taken in place of :data:`COVARIATES`.
    """

    def __init__(self, columns: tuple[str, ...] = (), standard: tuple[str, ...] = COVARIATES) -> None:
        self.wanted = (*standard, *(name for name in columns if name not in standard))
        self.codes: dict[str, dict[str, Any]] = {}

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Learn medians, scales and values; return the coded training runs."""
        rows = cohort.runs.iloc[indices]
        named = [name for name in self.wanted if name in rows and not _same(rows[name], rows["label"])]
        coded = {name: _code(rows[name]) for name in named}
        self.codes = {name: code for name, code in coded.items() if code is not None}
        return self.transform(cohort, indices)

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Coded covariates, shape (n, p); a single column of zeros where the cohort has no covariate."""
        rows = cohort.runs.iloc[indices]
        blocks = [_encode(rows[name], code) for name, code in self.codes.items()]
        return np.hstack([np.zeros((len(rows), 1)), *blocks])

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the codes of the columns."""
        return {}, {"codes": self.codes, "wanted": list(self.wanted)}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take the codes over."""
        self.codes, self.wanted = facts["codes"], tuple(facts["wanted"])


def _same(column: pd.Series[Any], label: pd.Series[Any]) -> bool:
    """Whether a covariate is the target itself, as sex is where sex is predicted."""
    if pd.api.types.is_numeric_dtype(column) and pd.api.types.is_numeric_dtype(label):
        return bool(np.array_equal(column.to_numpy(dtype=float), label.to_numpy(dtype=float)))
    return bool((column.astype(str).to_numpy() == label.astype(str).to_numpy()).all())


def _code(column: pd.Series[Any]) -> dict[str, Any] | None:
    """How a column is coded; None where it does not vary."""
    if pd.api.types.is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64)
        known = values[np.isfinite(values)]
        if len(known) == 0:
            return None
        spread = float(known.std())
        missing = len(known) < len(values)
        if spread == 0 and not missing:
            return None
        return {"median": float(np.median(known)), "mean": float(known.mean()), "sd": spread or 1.0, "flag": missing}
    values_seen = sorted(set(_words(column)) - {""})
    return {"values": values_seen} if len(set(_words(column))) > 1 else None


def _encode(column: pd.Series[Any], code: dict[str, Any]) -> NDArray[np.float64]:
    if "values" in code:
        words = _words(column)
        return np.array([[float(word == value) for value in code["values"]] for word in words])
    values = column.to_numpy(dtype=np.float64)
    missing = ~np.isfinite(values)
    standard = (np.where(missing, code["median"], values) - code["mean"]) / code["sd"]
    return np.column_stack([standard, missing]) if code["flag"] else standard[:, None]


def _words(column: pd.Series[Any]) -> list[str]:
    return ["" if text in ("n/a", "nan") else text for text in column.astype("string").fillna("")]


class MultiscaleTangentFeatures:
    """Tangent vectors at several temporal scales side by side; on them a linear model sums the kernels of the scales.

    The covariance of means over s time points keeps what is slower than about two bins, so that the scales weigh slow
    fluctuations differently. Each scale has a reference of its own, and is scaled as a whole so that its centred
    training vectors have a mean squared length of 1: no scale outweighs the others.

    Parameters
    ----------
    scales : tuple of int
        Sizes of the bins, in time points.
    """

    def __init__(self, scales: tuple[int, ...] = SCALES) -> None:
        self.scales = scales
        self.spaces: list[TangentSpace] = []
        self.sizes: list[float] = []

    def fit(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Find the references; return the vectors of the training runs, shape (n, scales x R (R + 1) / 2)."""
        self.spaces, self.sizes = [TangentSpace() for _ in self.scales], []
        regions = len(cohort.regions)
        cells = regions * (regions + 1) // 2
        features = np.empty((len(indices), cells * len(self.scales)), dtype=np.float32)
        for number, (scale, space) in enumerate(zip(self.scales, self.spaces, strict=True)):
            block = space.fit_transform(covariances_of(cohort, indices, scale))
            spread = float(block.var(axis=0, dtype=np.float64).sum())
            self.sizes.append(float(np.sqrt(spread)) or 1.0)
            features[:, number * cells : (number + 1) * cells] = block / self.sizes[-1]
        return features

    def transform(self, cohort: Cohort, indices: NDArray[np.int64]) -> NDArray[np.floating]:
        """Tangent vectors of other runs."""
        blocks = [
            space.transform(covariances_of(cohort, indices, scale)) / np.float32(size)
            for scale, space, size in zip(self.scales, self.spaces, self.sizes, strict=True)
        ]
        return np.hstack(blocks)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the whitening matrices (scales, R, R), and scales and sizes."""
        whitening = np.stack([space.whitening for space in self.spaces])
        return {"whitening": whitening}, {"scales": list(self.scales), "sizes": self.sizes}

    def restore(self, arrays: dict[str, NDArray[Any]], facts: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self.scales, self.sizes = tuple(facts["scales"]), [float(size) for size in facts["sizes"]]
        self.spaces = [TangentSpace() for _ in self.scales]
        for space, whitening in zip(self.spaces, arrays["whitening"], strict=True):
            space.whitening = whitening
