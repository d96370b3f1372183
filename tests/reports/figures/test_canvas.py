"""What all figures are drawn with."""

from __future__ import annotations

import numpy as np

from bids_neurossm.reports.figures.canvas import CATEGORIES


def test_the_shades_are_told_apart_by_those_who_do_not_see_red_and_green() -> None:
    # Viénot, Brettel and Mollon (1999): what is left of a colour without the red cones.
    simulate = np.array([[0.1121, 0.8853, -0.0005], [0.1127, 0.8897, -0.0001], [0.0045, 0.0000, 1.0019]])
    colours = np.array([[int(tone[i : i + 2], 16) / 255 for i in (1, 3, 5)] for tone in CATEGORIES[:6]])
    seen = (np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92) @ simulate.T) ** (1 / 2.4)
    gaps = [np.abs(seen[i] - seen[j]).sum() for i in range(6) for j in range(i)]
    assert min(gaps) > 0.12
