"""``group --pretrain`` without a target, and ``--pretrain-from DIR``: an encoder from series that need no labels."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

from bids_neurossm.cli.analysis_lock import analysis_lock
from bids_neurossm.cli.exit_code import exit_code
from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.cli.terminal.logs import begin, write_crashes
from bids_neurossm.cli.terminal.watch import TrainingWatch
from bids_neurossm.cli.workflow_engine import run_workflow
from bids_neurossm.config import RunConfig
from bids_neurossm.dataset.description import write_description
from bids_neurossm.errors import CheckpointError, RunError
from bids_neurossm.files.tables import read_output
from bids_neurossm.interfaces.records import Record, private_folder
from bids_neurossm.planning.pretraining import PretrainingPlan, plan_pretraining
from bids_neurossm.workflows.pretraining import init_pretraining_wf


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
