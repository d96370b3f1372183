"""Figures of runs: orders of regions, carpets, segments."""

from __future__ import annotations

from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.reports.figures.runs import carpet, network_order, segment_starts, z_scored


def test_networks_are_sorted_by_first_appearance_and_regions_keep_their_order() -> None:
    order, blocks = network_order(["Vis", "Default", "Vis", ""])
    assert order.tolist() == [0, 2, 1, 3]
    assert blocks == [("Vis", 0, 2), ("Default", 2, 3), ("no network", 3, 4)]


def test_a_dead_region_is_blank_in_the_carpet_and_not_zero() -> None:
    series = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan]])
    scored = z_scored(series)
    assert scored[:, 0].tolist() == [-1.0, 1.0]
    assert np.isnan(scored[:, 1:]).all()


@pytest.mark.parametrize(
    ("segments", "rows", "starts"),
    [([[4, 100], [102, 240]], 234, [96]), ([[0, 10]], 10, []), ([[0, 10], [12, 20]], 99, []), ([], 10, [])],
)
def test_segments_are_marked_only_where_they_add_up_to_the_rows(
    segments: list[list[int]], rows: int, starts: list[int]
) -> None:
    assert segment_starts(segments, rows) == starts


def test_a_dollar_sign_in_a_name_is_no_mathematics() -> None:
    series = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    picture = carpet(series, ["$x_1$ <b>", "other"], 2.0, [], None)
    assert "$x_1$ &lt;b&gt;" in unquote(picture.source)
