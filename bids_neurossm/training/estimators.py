"""Moved to `bids_neurossm.estimators.sklearn_api`."""

from bids_neurossm.deprecated import forwarded

__getattr__ = forwarded(__name__, "bids_neurossm.estimators.sklearn_api")
