"""Settings of the extraction check themselves."""

from __future__ import annotations

from typing import Any

import pytest

from bids_neurossm.config import Extraction
from bids_neurossm.errors import UsageError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"atlas": ("AAL3", "AAL3")}, "names one atlas twice"),
        ({"dummy_scans": -1}, "--dummy-scans"),
        ({"fd_threshold": 0}, "--fd-threshold"),
        ({"fd_threshold": float("nan")}, "--fd-threshold"),
        ({"min_coverage": 1.1}, "--min-coverage"),
        ({"connectivity": ("tangent",)}, "--connectivity tangent is not known; known are partial"),
        ({"max_uncovered": -0.1}, "--max-uncovered"),
        ({"min_volumes": 0}, "--min-volumes"),
        ({"high_pass": 0}, "--high-pass must be a positive frequency in Hz"),
        ({"low_pass": -1}, "--low-pass must be a positive frequency in Hz"),
        ({"high_pass": 0.1, "low_pass": 0.01}, "--high-pass must lie below --low-pass"),
    ],
)
def test_impossible_values_are_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Extraction(**values)
