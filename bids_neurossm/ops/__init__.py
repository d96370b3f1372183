"""Selective scan: a readable reference, a compiled CPU kernel, and the choice between the engines."""

from __future__ import annotations

from bids_neurossm.ops.dispatch import selective_scan

__all__ = ["selective_scan"]
