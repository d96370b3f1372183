"""Pretraining an encoder on the series of a dataset, which need no labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.record_format import format_stamp
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.training_progress import ProgressFile

#: What the node and its progress are called.
PRETRAINING = "pretraining of the encoder"


def encoder_file(models: Path) -> Path:
    """Return where a pretrained encoder is kept in the folder of models of its analysis."""
    return models / "encoder.safetensors"


class PretrainEncoderInputSpec(RecordingInputSpec):
    """What an encoder is made from."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort; its labels are not looked at")


class PretrainEncoderOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The encoder."""

    encoder = traits.Str(desc="its checkpoint")


class PretrainEncoder(RecordingInterface):
    """Pretrain an encoder on all runs of a cohort; one that is there and was made from the same is left as it is."""

    input_spec = PretrainEncoderInputSpec
    output_spec = PretrainEncoderOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        # Imported here: it brings torch, which planning does without.
        from bids_neurossm.pretraining.encoder_checkpoint import is_made_from, pretrain_cohort

        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        path = encoder_file(analysis.outputs.models)
        execution = analysis.execution
        digest = hash_content(
            {
                "version": [format_stamp(), "one loop"],
                "cohort": cohort.hash,
                "settings": {name: value for name, value in analysis.model.settings.items() if name != "stages"},
                "window": analysis.training.window,
                "seed": execution.random_seed,
            }
        )
        if execution.overwrite or not is_made_from(path, digest):
            progress = ProgressFile(Path(self.inputs.records), self.inputs.unit)
            try:
                pretrain_cohort(
                    path, cohort, np.arange(len(cohort.runs)), analysis.model.settings, analysis.training.window,
                    execution, digest, progress.follow(),
                )  # fmt: skip
            finally:
                progress.end()
        self._results["encoder"] = str(path)
