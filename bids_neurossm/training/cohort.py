"""Moved to `bids_neurossm.cohort.store`."""

from bids_neurossm.deprecated import forwarded

__getattr__ = forwarded(__name__, "bids_neurossm.cohort.store")
