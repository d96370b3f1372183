"""Settings of the evaluation and of the reference check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from bids_neurossm.config import Evaluation, Reference
from bids_neurossm.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Evaluation, {"folds": 1}, "--folds"),
        (Evaluation, {"seeds": 0}, "--seeds"),
        (Evaluation, {"holdout": 0.9}, "--holdout"),
        (Evaluation, {"only_fold": 6, "only_seed": 1}, "--only-fold must lie between 1 and 5"),
        (Evaluation, {"only_fold": 1, "only_seed": 2}, "--only-seed must lie between 1 and 1"),
        (Evaluation, {"only_fold": 1}, "give both or neither"),
        (Reference, {"surrogates": 99}, "surrogates must be at least 100"),
    ],
)
def test_impossible_values_are_refused_by_name(kind: type[Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**values)
