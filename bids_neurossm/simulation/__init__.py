"""fMRIPrep-like derivatives whose truth is known: for the demo, for tests, and for teaching."""

from bids_neurossm.simulation.confounds import simulate_confounds
from bids_neurossm.simulation.painting import Grid, paint_run
from bids_neurossm.simulation.planted import (
    FLANKER_REGIONS,
    N_BACK_REGIONS,
    PlantedTruth,
    read_truth,
    simulate_derivatives,
)

__all__ = [
    "FLANKER_REGIONS",
    "N_BACK_REGIONS",
    "Grid",
    "PlantedTruth",
    "paint_run",
    "read_truth",
    "simulate_confounds",
    "simulate_derivatives",
]
