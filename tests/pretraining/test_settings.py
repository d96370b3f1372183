"""Settings of pretraining and fine-tuning are sorted, and contradictions are refused."""

import pytest
from helpers.networks_of_regions import REGIONS, SMALL

from bids_neurossm.errors import UsageError
from bids_neurossm.pretraining.settings import Settings
from bids_neurossm.training.recipes import load_recipe


@pytest.mark.parametrize("recipe", ["camcan-age", "camcan-fluid"])
def test_the_shipped_recipes_are_read(recipe):
    settings, training = load_recipe(recipe)
    found = Settings.of(settings)
    config = found.config(400, 1)
    assert config.in_seconds
    assert config.patch_length == 8.0
    assert tuple(blocks * config.patch_length for blocks in found.pretraining.blocks) == (16.0, 24.0)
    assert found.stages.frozen_epochs < training.epochs


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="give one"):
        Settings.of({**SMALL, "pretrain": True, "encoder": "encoder.safetensors"})
    with pytest.raises(UsageError, match=r"\[model.pretraining\]: unknown setting 'epoch'"):
        Settings.of({"pretraining": {"epoch": 3}})
    with pytest.raises(UsageError, match="frozen_epochs"):
        Settings.of({"stages": {"frozen_epochs": -1}})
    with pytest.raises(UsageError, match="unknown setting 'scales'"):
        Settings.of({"scales": (1, 2)}).config(REGIONS, 1)


def test_settings_are_sorted_into_model_pretraining_and_stages():
    found = Settings.of({**SMALL, "encoder": "encoder.safetensors", "encoder_sha256": "00ff"})
    assert set(found.model) == {*SMALL} - {"pretraining", "stages"}
    assert (found.pretraining.epochs, found.pretraining.held_out) == (3, 0.2)
    assert (found.stages.frozen_epochs, found.stages.rate) == (4, 0.5)
    assert (found.pretrain, found.encoder) == (False, "encoder.safetensors")
    config = found.encoder_config(REGIONS)
    assert (config.n_regions, config.width, config.nodes, config.depth) == (REGIONS, 8, 6, 1)
