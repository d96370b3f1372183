"""Nipype graphs: wiring and resources, nothing else. Imported as ``bids_neurossm.workflows``."""
