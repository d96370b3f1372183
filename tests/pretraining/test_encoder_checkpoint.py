"""A pretrained encoder comes back from disk, and one that does not fit is refused with the reason."""

from dataclasses import replace

import pytest
from helpers.networks_of_regions import CPU, REGIONS, SMALL, TRAIN, TRAINING, cohort_of_networks, small_estimator

from bids_neurossm.errors import CheckpointError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.pretraining.encoder_checkpoint import is_made_from, load_encoder, pretrain_cohort
from bids_neurossm.pretraining.settings import Settings


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return cohort_of_networks(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="module")
def encoder(cohort, tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    pretrain_cohort(path, cohort, TRAIN, SMALL, 96, CPU, "a digest")
    return path


def test_an_encoder_that_does_not_fit_is_refused(cohort, encoder, tmp_path):
    config = Settings.of(SMALL).encoder_config(REGIONS)
    with pytest.raises(
        CheckpointError, match=r"a patch of the encoder lasts 4 time points, of the recipe 6 time points"
    ):
        load_encoder(encoder, replace(config, patch=6), cohort, TRAIN)
    with pytest.raises(CheckpointError, match="has width = 8, the recipe 12"):
        load_encoder(encoder, replace(config, width=12), cohort, TRAIN)
    other = replace(cohort, extra={**cohort.extra, "atlas": "another"})
    with pytest.raises(CheckpointError, match="atlas of the checkpoint is simulated, that of the data is another"):
        load_encoder(encoder, config, other, TRAIN)
    fewer = replace(cohort, regions=cohort.regions[:-1])
    with pytest.raises(CheckpointError, match="16 regions, the data 15"):
        load_encoder(encoder, config, fewer, TRAIN)
    slower = replace(cohort, runs=cohort.runs.assign(repetition_time=3.0))
    with pytest.raises(CheckpointError, match=r"repetition time of 2\.0 s"):
        load_encoder(encoder, config, slower, TRAIN)
    model = tmp_path / "model.safetensors"
    whole = small_estimator(replace(TRAINING, epochs=1))
    whole.fit(cohort, TRAIN, seed=1)
    whole.save(model)
    with pytest.raises(CheckpointError, match=r"a pretrained encoder .* is expected"):
        load_encoder(model, config, cohort, TRAIN)
    damaged = tmp_path / "encoder.safetensors"
    damaged.write_bytes(encoder.read_bytes()[:-4])
    damaged.with_suffix(".toml").write_bytes(encoder.with_suffix(".toml").read_bytes())
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_encoder(damaged, config, cohort, TRAIN)
    assert is_made_from(encoder, "a digest")
    assert not is_made_from(encoder, "another")
    assert not is_made_from(damaged, "a digest")


def test_an_encoder_alone_predicts_nothing(encoder):
    with pytest.raises(CheckpointError, match="family lmae"):
        load_trained(encoder)
