"""A checkpoint of a small NeuroSSM with random weights."""

import torch

from bids_neurossm.checkpoint_format import CheckpointMetadata
from bids_neurossm.models import NeuroSSM, NeuroSSMConfig

FACTS = CheckpointMetadata(
    model={"n_regions": 3, "n_outputs": 2, "width": 8, "scales": [1, 2]}, target="dx", target_type="class",
    classes=("a", "b"), regions=("A", "B", "C"), atlas="Schaefer400", atlas_sha256="00ff", repetition_time=0.72,
    window=150, denoise="simple", training_hash="12", n_runs=9, seed=1, metrics={"training_loss": 0.25},
    versions={"torch": "2"},
)  # fmt: skip


def state_of_model():
    torch.manual_seed(0)
    return NeuroSSM(NeuroSSMConfig(n_regions=3, n_outputs=2, width=8, scales=(1, 2))).state_dict()
