"""Parcellations: found by name or file, laid over a run's own grid."""

from bids_neurossm.atlas.catalogue import load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation

__all__ = ["Parcellation", "load_parcellation"]
