"""Moved to `bids_neurossm.cohort.store`."""

from bids_neurossm.moved import forwarded

__getattr__ = forwarded(__name__, "bids_neurossm.cohort.store")
