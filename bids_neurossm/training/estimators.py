"""Moved to `bids_neurossm.estimators.sklearn_api`."""

from bids_neurossm.moved import forwarded

__getattr__ = forwarded(__name__, "bids_neurossm.estimators.sklearn_api")
