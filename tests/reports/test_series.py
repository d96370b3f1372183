"""What the explorer of series is fed with."""

from __future__ import annotations

import numpy as np
from helpers.reported import unpacked

from bids_neurossm.reports.series import explorer_data


def test_the_explorer_keeps_what_has_no_signal_apart_from_zero() -> None:
    series = np.array([[1.0, 5.0], [3.0, 5.0], [1.0, 5.0], [3.0, 5.0]])
    data = explorer_data(series, ["a", "b"], ["N", "N"], 2.0, [])
    assert data is not None
    codes = unpacked(data["series"], "i1").reshape(4, 2, order="F")
    np.testing.assert_allclose(codes[:, 0] * data["scale"], [-1, 1, -1, 1], atol=data["scale"])
    assert codes[:, 1].tolist() == [-128] * 4
    assert data["used"] == [True, False]
    assert explorer_data(series[:, 1:], ["b"], ["N"], 2.0, []) is None
