"""What the models are made of: selective scan and causal convolution, and the choice between the scan's engines."""

from __future__ import annotations

from bids_neurossm.ops.convolution import causal_convolution
from bids_neurossm.ops.dispatch import selective_scan
from bids_neurossm.ops.dropout import dropout

__all__ = ["causal_convolution", "dropout", "selective_scan"]
