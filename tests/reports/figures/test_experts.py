"""The figure of experts."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.reports.figures.experts import weights_by_network


def test_the_report_shows_which_networks_the_experts_are_given():
    regions = pd.DataFrame({"network": ["Vis", "Vis", "Default"], "expert-1": [1, 0.5, 0], "expert-2": [0, 0.5, 1]})
    drawn = weights_by_network(regions)
    assert drawn is not None
    assert "2 experts in 2 networks" in drawn.alt
    assert weights_by_network(regions[["network"]]) is None
    nameless = weights_by_network(regions.assign(network=""))
    assert nameless is not None
    assert "1 networks" in nameless.alt
