"""``group --pretrain`` without a target, and ``--pretrain-from DIR``: an encoder from series that need no labels."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.atlas.tables import network_of
from bids_neurossm.cli.analysis_lock import analysis_lock
from bids_neurossm.cli.console import Console
from bids_neurossm.cli.engine import run_workflow
from bids_neurossm.cli.logs import begin, write_crashes
from bids_neurossm.cli.outcome import exit_code
from bids_neurossm.cli.plan_group import parcellation_of, plan_model, series_identifier, shortest_run
from bids_neurossm.cli.plan_labels import run_facts
from bids_neurossm.cli.plan_pretraining import refuse_pretraining, wants_encoder_only
from bids_neurossm.cli.plan_series import series_of
from bids_neurossm.cli.same_series import atlas_drawing, same_series
from bids_neurossm.cli.watch import TrainingWatch
from bids_neurossm.config import RunConfig
from bids_neurossm.dataset.description import write_description
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.dataset.series import common_regions
from bids_neurossm.errors import CheckpointError, NoInputError, RunError
from bids_neurossm.files.tables import read_output
from bids_neurossm.interfaces.analysis import Analysis
from bids_neurossm.interfaces.pretraining import encoder_file
from bids_neurossm.interfaces.records import Record, private_folder
from bids_neurossm.registry import model_entry
from bids_neurossm.workflows.group import CohortPlan
from bids_neurossm.workflows.pretraining import init_pretraining_wf


@dataclass(frozen=True)
class PretrainingPlan:
    """An encoder that is ready to be pretrained."""

    analysis: Analysis
    cohort: CohortPlan
    source: Path

    @property
    def encoder(self) -> Path:
        """Where it will be."""
        return encoder_file(self.analysis.outputs.models)


def plan_pretraining(config: RunConfig) -> PretrainingPlan:
    """Find the series that an encoder is pretrained on.

    Raises
    ------
    UsageError
        If the model has no encoder, or the recipe does not fit it or the series.
    NoInputError
        If there are no series.
    """
    refuse_pretraining(config, config.model.name)
    spec, training = plan_model(
        replace(config, evaluation=replace(config.evaluation, pretrain=False, pretrain_from=None))
    )
    series = series_of(_looking_in(config))
    source, files = series.source, series.files
    wanted = config.evaluation.pretrain_from
    if wanted is not None and source != wanted:
        raise NoInputError(f"There is no *_timeseries.tsv of the wanted runs in {wanted}, which --pretrain-from names.")
    used = [file for file in files if not file.sidecar.get("Exclusion")]
    notes = same_series(used, config.evaluation.allow_mixed_settings)
    rows = [
        # A cohort has labels; nothing looks at these.
        {**run_facts(file), "label": 0.0}
        for file in used
    ]
    if not rows:
        raise NoInputError(f"All {len(files)} runs in {source} were excluded at the participant level.")
    regions = list(common_regions(files, same_parcels))
    parcellation, _ = parcellation_of(config, source, files[0], regions)
    entities = {name: value for name, value in files[0].kind if name not in ("stat", "desc")}
    strategy = str(files[0].sidecar.get("DenoisingStrategy") or files[0].entities.get("desc", ""))
    family = model_entry(spec.name).joins or spec.name
    identifier = series_identifier("encoder", family, entities, strategy)
    if wants_encoder_only(config) and config.analysis_id:
        identifier = config.analysis_id
    elif wanted is not None:
        identifier = f"{identifier}_{sanitised_label(wanted.name) or 'series'}"
    analysis = Analysis(
        GroupOutputs(config.out_dir, identifier, entities), "run", spec, (), training, config.evaluation,
        config.execution, config.attribution, config.reference,
    )  # fmt: skip
    named = "".join(entities.get(key, "") for key in ("atlas", "seg", "scale"))
    cohort = CohortPlan(
        runs=rows,
        excluded=series.excluded,
        regions=regions,
        networks=list(parcellation.networks) if parcellation else [network_of(name) for name in regions],
        target_type="continuous",
        classes=[],
        shortest=shortest_run(spec, pd.DataFrame(rows)),
        max_uncovered=config.extraction.max_uncovered,
        extra={
            "atlas": parcellation.name if parcellation else named,
            "atlas_sha256": parcellation.sha256 if parcellation else "",
            "atlas_drawing": atlas_drawing(files, parcellation),
            "denoise": strategy,
            "notes": notes,
        },
    )
    return PretrainingPlan(analysis, cohort, source)


def pretrain_only(config: RunConfig, work_dir: Path) -> int:
    """Carry out ``group --pretrain`` without a target.

    Returns
    -------
    int
        Exit code.
    """
    plan = plan_pretraining(config)
    if config.execution.dry_run:
        console = Console(config.execution.log_format)
        people = len({row["participant_id"] for row in plan.cohort.runs})
        console.event(
            "plan", f"An encoder from {len(plan.cohort.runs)} runs of {people} participants in {plan.source}."
        )
        console.event("plan", f"It would write {plan.encoder}, and what it reconstructs beside it.")
        console.event("plan", "Nothing was written.")
        return 0
    with analysis_lock(config.out_dir, plan.analysis.outputs.analysis):
        return _pretrain(config, plan, work_dir)


def _pretrain(config: RunConfig, plan: PretrainingPlan, work_dir: Path) -> int:
    """Pretrain the encoder of a plan, and say where it is."""
    console, log_folder = begin(config)
    write_description(config.out_dir, {"input": config.bids_dir})
    for note in plan.cohort.extra["notes"]:
        console.event("note", note)
    records = _work(config, plan, work_dir, console)
    write_crashes(log_folder, records)
    for record in records:
        console.event("error", f"failed: {record.unit}: {record.message}", unit=record.unit, step=record.step)
    done = plan.encoder.is_file()
    if done:
        _tell(plan, console)
    return exit_code(records, done)


def with_pretrained(config: RunConfig, work_dir: Path) -> RunConfig:
    """Carry out ``--pretrain-from``: return the configuration with the encoder as its checkpoint.

    Raises
    ------
    CheckpointError
        If no encoder came out; the message says why.
    """
    plan = plan_pretraining(config)
    console = Console(config.execution.log_format)
    if config.execution.dry_run:
        console.event(
            "plan", f"It would first pretrain {plan.encoder} on {len(plan.cohort.runs)} runs in {plan.source}."
        )
        return replace(config, evaluation=replace(config.evaluation, pretrain_from=None))
    # The cells of an array share one encoder, as they share one analysis.
    with analysis_lock(config.out_dir, plan.analysis.outputs.analysis, cell=config.evaluation.only_fold is not None):
        records = _work(config, plan, work_dir, console)
    if not plan.encoder.is_file():
        reasons = " ".join(dict.fromkeys(record.message for record in records))
        raise CheckpointError(f"No encoder could be pretrained on {plan.source}: {reasons}")
    _tell(plan, console)
    evaluation = replace(config.evaluation, pretrain_from=None, checkpoint=plan.encoder)
    return replace(config, evaluation=evaluation)


def _work(config: RunConfig, plan: PretrainingPlan, work_dir: Path, console: Console) -> list[Record]:
    """Run the workflow."""
    command = uuid.uuid4().hex[:8]
    scratch = private_folder(work_dir / f"pretraining-{command}")
    records = private_folder(work_dir / f"pretraining-records-{command}")
    workflow = init_pretraining_wf(plan.analysis, plan.cohort, scratch, records)
    watch = TrainingWatch(records, console)

    def on_end(node: str, unit: str, failed: bool) -> None:
        watch.ended(unit)
        if node == "encoder":
            console.advance(unit, failed)

    console.event("plan", f"pretraining: {len(plan.cohort.runs)} runs of {plan.source}")
    with console.start(1, "encoders"), watch:
        return run_workflow(workflow, config.execution, records, on_end)


def _tell(plan: PretrainingPlan, console: Console) -> None:
    """Say where the encoder is, and what it reconstructs."""
    path = plan.encoder.with_name(f"{plan.encoder.stem}_reconstruction.tsv")
    table = read_output(path, RunError)
    rows = [
        (
            f"{row.mask}, {row.length:g} {row.unit}",
            row.predictor,
            f"{row.r2:.3f}",
            f"{row.r2_low:.3f} to {row.r2_high:.3f}",
        )
        for row in table.itertuples()
    ]
    console.table("Hidden samples told, participants set aside", ("hidden", "by", "r2", "95 % interval"), rows)
    console.event("done", f"Encoder: {plan.encoder}. What it reconstructs: {path}.")


def _looking_in(config: RunConfig) -> RunConfig:
    """Return the configuration with the dataset of ``--pretrain-from`` as the first place to look for series."""
    wanted = config.evaluation.pretrain_from
    if wanted is None or wanted.resolve() == config.out_dir.resolve():
        return config
    return replace(config, out_dir=wanted, bids_dir=config.out_dir, selection=replace(config.selection, derivatives={}))
