"""Calibrated Pathway Attribution, the maps made of it, and the checks that go beside them.

Imports torch. The function `cpa` hides its module's name here; ``from bids_neurossm.attribution.cpa import ...`` works.
"""

from __future__ import annotations

from bids_neurossm.attribution.cpa import PathwayAttribution, cpa
from bids_neurossm.attribution.maps import ClassMap, class_maps

__all__ = ["ClassMap", "PathwayAttribution", "class_maps", "cpa"]
