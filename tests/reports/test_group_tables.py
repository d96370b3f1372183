"""Tables of an analysis as its page shows them."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.reports.group_tables import checks_table, region_tables


def test_checks_that_others_added_are_shown_with_their_columns() -> None:
    table = checks_table(
        pd.DataFrame({"check": ["deletion curve"], "value": [0.31], "verdict": ["passed"], "by": ["me"]})
    )
    assert table is not None
    assert table.header == ("Check", "Value", "Verdict", "By")
    assert table.rows == (("deletion curve", "0.31", "passed", "me"),)


def test_the_region_table_holds_every_region_and_sorts_by_unrounded_values() -> None:
    regions = pd.DataFrame({"label": "x", "name": ["a", "b"], "network": ["N", "M"], "importance": [0.12341, 0.12342]})
    (table,) = region_tables(regions)
    assert [row[0] for row in table.rows] == ["b", "a"]
    assert [row[2] for row in table.rows] == ["0.123", "0.123"]
    assert [row[2] for row in table.raw] == ["0.12342", "0.12341"]
    assert table.filters == (1,)
