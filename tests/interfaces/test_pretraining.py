"""An encoder that was made from the same is left as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.coupling_model import analysis_of, cohort_of
from helpers.networks_of_regions import SMALL

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.config import Execution, ModelSpec, Training
from bids_neurossm.interfaces.pretraining import PretrainEncoder, encoder_file
from bids_neurossm.interfaces.training_progress import read_progress

ONE_EPOCH = {**SMALL, "pretraining": {**SMALL["pretraining"], "epochs": 1}}


@pytest.mark.slow
def test_an_encoder_is_made_once_for_a_cohort_its_settings_and_a_seed(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path / "cohort", 8)
    first = replace(
        analysis_of(tmp_path),
        model=ModelSpec("lmae-rwmoe", "", ONE_EPOCH),
        training=Training(window=32),
        execution=Execution(device="cpu"),
    )

    def made(analysis: Analysis) -> int:
        node = PretrainEncoder(
            unit="encoder", analysis=analysis, cohort=str(cohort.folder), records=str(tmp_path / "records")
        )
        node._work(tmp_path)
        path = Path(node._results["encoder"])
        assert path == encoder_file(analysis.outputs.models) == tmp_path / "models" / "test" / "encoder.safetensors"
        assert read_progress(tmp_path / "records") == []
        return path.stat().st_mtime_ns

    once = made(first)
    assert made(first) == once
    # What is fine-tuned later does not concern the encoder.
    stages = replace(first, model=ModelSpec("lmae-rwmoe", "", {**ONE_EPOCH, "stages": {"frozen_epochs": 9}}))
    assert made(stages) == once
    assert made(replace(first, execution=Execution(device="cpu", random_seed=7))) > once
