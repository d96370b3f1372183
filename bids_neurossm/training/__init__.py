"""Cohort store, splits, estimators, fitting and evaluation: arrays and torch, no BIDS.

Nothing heavy is imported here; the modules are imported by name.
"""
