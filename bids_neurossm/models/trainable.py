"""What the training loop takes: models whose decision is a sum over pathways, and their configurations."""

from __future__ import annotations

from bids_neurossm.models.lmae import LMAEConfig
from bids_neurossm.models.lmae_rwmoe import LmaeRwmoe, LmaeRwmoeConfig
from bids_neurossm.models.neurossm import NeuroSSM, NeuroSSMConfig

#: Models of runs that `bids_neurossm.training.fit` fits.
TrainableModel = NeuroSSM | LmaeRwmoe
#: What says how runs have to be sampled.
InputConfig = NeuroSSMConfig | LMAEConfig
#: The shape of a `TrainableModel`.
ModelConfig = NeuroSSMConfig | LmaeRwmoeConfig
