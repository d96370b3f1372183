"""Applying a trained model to the runs of a participant: prediction and the run's CPA map."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits
from scipy.special import softmax

from bids_neurossm.analysis.map_checks import check_run
from bids_neurossm.analysis.map_images import Painter
from bids_neurossm.atlas.drawing import Drawing
from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.attribution.checks import Check
from bids_neurossm.attribution.cpa import PathwayAttribution
from bids_neurossm.attribution.maps import pathway_weights
from bids_neurossm.checkpoint_format import CheckpointMetadata, read_checkpoint
from bids_neurossm.cohort.checkpoint_facts import refuse_other_drawing
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.config import Attribution, Execution
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.dataset.series import SeriesFile, read_series, with_sidecars
from bids_neurossm.errors import CheckpointError, UsageError
from bids_neurossm.estimators.load import load_trained
from bids_neurossm.files.hashing import hash_file
from bids_neurossm.files.write import write_json, write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.cohort import series_facts
from bids_neurossm.interfaces.provenance import software_versions
from bids_neurossm.registry import ModelEntry, blaming, model_entry
from bids_neurossm.signal.strategy import Strategy


def check_checkpoint(path: Path, parcellations: Sequence[Parcellation], strategy: Strategy) -> list[str]:
    """Make sure that a checkpoint can be read and that one of the atlases is its own.

    Returns
    -------
    list of str
        A note where the checkpoint was trained in another space.

    Raises
    ------
    CheckpointError
        If it is damaged, or made for another atlas, another drawing of it in the same space, or another denoising.
    """
    _, facts = read_checkpoint(path)
    try:
        entry = model_entry(facts.family)
    except UsageError as error:
        raise CheckpointError(f"{path} holds a model of the family {facts.family}: {error}") from error
    if not entry.attribution:
        raise CheckpointError(
            f"{path} holds the baseline {facts.family}; the participant level applies models with maps."
        )
    if facts.denoise and facts.denoise != strategy.name:
        raise CheckpointError(
            f"{path} was trained on series denoised with {facts.denoise!r}, these would be {strategy.name!r}; add "
            f"--denoise {facts.denoise}."
        )
    trained = Drawing.of_record(facts.atlas_drawing)
    for parcellation in parcellations:
        if fits(facts, parcellation):
            if trained is not None:
                refuse_other_drawing(trained, parcellation.drawing, path)
            return _space_notes(path, facts, parcellation)
    names = ", ".join(dict.fromkeys(each.name for each in parcellations))
    raise CheckpointError(
        f"{path} was trained on {len(facts.regions)} regions of {facts.atlas or 'an unnamed atlas'}, the run would be "
        f"cut into {names}; choose its own atlas with --atlas."
    )


def _space_notes(path: Path, facts: CheckpointMetadata, parcellation: Parcellation) -> list[str]:
    """Say that a checkpoint was trained on regions drawn in another space."""
    space = facts.atlas_drawing.get("Space", parcellation.space)
    if space == parcellation.space:
        return []
    return [
        f"{path.name} was trained on {facts.atlas} in {space} and is applied to {parcellation.space}: the regions are "
        "the same, their borders can differ by some millimetres."
    ]


def fits(facts: CheckpointMetadata, parcellation: Parcellation) -> bool:
    """Tell whether a checkpoint was trained on the regions of a parcellation, in its order."""
    same_file = not facts.atlas_sha256 or facts.atlas_sha256 == parcellation.sha256 or facts.atlas == parcellation.name
    return same_file and same_parcels(facts.regions, parcellation.names)


class ApplyModelInputSpec(RecordingInputSpec):
    """A checkpoint and the series of a run."""

    run = traits.Instance(BoldRun, mandatory=True)
    timeseries = traits.List(traits.Str, mandatory=True, desc="series, one table per parcellation")
    parcellations = traits.List(traits.Instance(Parcellation), mandatory=True)
    checkpoint = traits.Str(mandatory=True, desc="safetensors with its TOML beside it")
    strategy = traits.Instance(Strategy, mandatory=True)
    attribution = traits.Instance(Attribution, mandatory=True)
    device = traits.Str("auto", usedefault=True)
    out_dir = traits.Str(mandatory=True)


class ApplyModelOutputSpec(TraitedSpec):  # type: ignore[misc]
    """What was written."""

    prediction = traits.Str(desc="table of classes, logits and probabilities")


class ApplyModel(RecordingInterface):
    """Predict, and explain the predicted class."""

    input_spec = ApplyModelInputSpec
    output_spec = ApplyModelOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        checkpoint = Path(self.inputs.checkpoint)
        estimator = load_trained(checkpoint, Execution(device=self.inputs.device))
        facts = estimator.facts
        assert facts is not None
        place = next((i for i, each in enumerate(self.inputs.parcellations) if fits(facts, each)), None)
        if place is None:
            raise CheckpointError(f"{checkpoint} fits none of the atlases of this run.")
        parcellation: Parcellation = self.inputs.parcellations[place]
        table = Path(self.inputs.timeseries[place])
        sha256 = hash_file(checkpoint)
        outputs = RunOutputs(
            Path(self.inputs.out_dir), self.inputs.run.entities, parcellation.entities, self.inputs.strategy.name
        )
        entry = model_entry(estimator.name)
        with tempfile.TemporaryDirectory(dir=cwd) as scratch, blaming(estimator.name, entry.package):
            cohort = _cohort_of_one(table, parcellation, facts, Path(scratch))
            rows = np.array([0])
            scores = estimator.predict(cohort, rows)
            label = prediction_label(facts)
            path = outputs.prediction(label)
            write_tsv(path, _prediction_table(scores[0], facts))
            source = table.relative_to(outputs.out_dir)
            notes = [*_space_notes(checkpoint, facts, parcellation), *_version_notes(checkpoint, facts, entry)]
            write_json(path.with_suffix(".json"), _sidecar(checkpoint.name, sha256, facts, source, notes))
            if self.inputs.attribution.cpa:
                target = scores.argmax(axis=1) if facts.classes else np.where(scores[:, 0] < facts.target_mean, -1, 1)
                found = estimator.attribute(cohort, rows, target, self.inputs.attribution.localisation)
                score = np.tensordot(pathway_weights(found.importance[0]), found.share[0], axes=1)
                checks = check_run(estimator, cohort, found, score)
                _write_attribution(outputs, label, found, score, checks, parcellation, facts, sha256)
        self._results["prediction"] = str(path)


def _version_notes(checkpoint: Path, facts: CheckpointMetadata, entry: ModelEntry) -> list[str]:
    """Say where the package of a model is another version than the one that trained it."""
    return [
        f"{checkpoint.name} was trained with {package} {facts.versions.get(package, 'of unknown version')}; "
        f"{package} {version} is installed, and may decide otherwise."
        for package, version in entry.versions.items()
        if facts.versions.get(package) != version
    ]


def prediction_label(facts: CheckpointMetadata) -> str:
    """Label of a checkpoint's outputs in file names: what it predicts."""
    return sanitised_label(facts.target) or "model"


def _cohort_of_one(table: Path, parcellation: Parcellation, facts: CheckpointMetadata, folder: Path) -> Cohort:
    """Bring one run into the form that models take."""
    file = with_sidecars([SeriesFile(table, {})])[0]
    row = {**series_facts(file), "run": table.name, "participant_id": "one", "label": 0.0}
    extra = {
        "atlas": parcellation.name,
        "atlas_drawing": parcellation.drawing.facts(),
        "denoise": file.sidecar.get("DenoisingStrategy", ""),
    }
    series = read_series(table, parcellation.names, sha256=file.sha256)
    return Cohort.create(
        folder, pd.DataFrame([row]), [series], parcellation.names, parcellation.networks, "continuous", extra
    )


def _prediction_table(scores: np.ndarray[Any, Any], facts: CheckpointMetadata) -> pd.DataFrame:
    if not facts.classes:
        return pd.DataFrame({"value": [float(scores[0])]})
    return pd.DataFrame({"class": facts.classes, "logit": scores, "probability": softmax(scores)})


def _sidecar(
    checkpoint: str, sha256: str, facts: CheckpointMetadata, table: Path, notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "Description": f"Prediction of {facts.target} by a trained model.",
        "Sources": [f"bids::{table.as_posix()}"],
        "Checkpoint": checkpoint,
        "CheckpointSHA256": sha256,
        "TrainingHash": facts.training_hash,
        "Seed": facts.seed,
        "Warnings": list(notes),
        "Precision": facts.precision,
        "SoftwareVersions": software_versions(),
    }


def _write_attribution(
    outputs: RunOutputs,
    label: str,
    found: PathwayAttribution,
    score: npt.NDArray[np.float64],
    checks: Sequence[Check],
    parcellation: Parcellation,
    facts: CheckpointMetadata,
    sha256: str,
) -> None:
    """Write pathway x region shares with the importances, and the run's map."""
    importance, share = found.importance[0], found.share[0]
    weight = pathway_weights(importance)
    rows = pd.DataFrame(share, columns=list(parcellation.names))
    rows.insert(0, "pathway", list(found.pathways))
    rows.insert(1, "importance", importance)
    rows.insert(2, "importance_zero", found.importance_zero[0])
    rows.insert(3, "weight", weight)
    for name, moved in found.further_terms.items():
        # It has an importance, but no place in the brain that this method could tell.
        rows.loc[len(rows)] = [name, moved[0], *[float("nan")] * (rows.shape[1] - 2)]
    write_tsv(outputs.attributions(label), rows)
    direction = "below" if found.target[0] < 0 else "above"
    explained = facts.classes[int(found.target[0])] if facts.classes else f"{facts.target} {direction} the mean"
    facts_of_map = {
        "Description": f"Calibrated Pathway Attribution of one run for {explained}, the predicted outcome; it ranks "
        "regions within this run.",
        "ExplainedClass": explained,
        "Defined": bool(np.isfinite(weight).all()),
        "Localisation": found.localisation,
        "Checks": [
            {"Check": each.check, "Value": each.value, "P": each.p, "Expected": each.expected, "Verdict": each.verdict}
            for each in checks
        ],
        "CheckpointSHA256": sha256,
        "SoftwareVersions": software_versions(),
    }
    write_json(outputs.attributions(label).with_suffix(".json"), facts_of_map)
    path = outputs.attribution_map(label)

    def named(entities: Mapping[str, str | None], extension: str) -> Path:
        return path.with_name(path.name.replace(".nii.gz", extension))

    Painter(parcellation).paint(named, score, "score", facts_of_map)
