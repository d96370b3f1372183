"""Settings of the execution check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from bids_neurossm.config import Execution
from bids_neurossm.errors import UsageError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nprocs": 0}, "--nprocs"),
        ({"omp_nthreads": 0}, "--omp-nthreads"),
        ({"mem_mb": 99}, "--mem-mb"),
        ({"precision": "float64"}, "--precision float64 is not known"),
    ],
)
def test_impossible_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Execution(**values)
