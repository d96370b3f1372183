"""Checks of maps: agreement over folds and seeds, and the control that they rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_neurossm.analysis.map_checks import permutation_p


def test_without_controls_it_is_not_known_whether_anything_was_learned() -> None:
    assert np.isnan(permutation_p(pd.DataFrame({"control": ["probe: site"], "p": [0.01]})))
