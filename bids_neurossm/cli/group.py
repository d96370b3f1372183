"""``bids-neurossm BIDS_DIR OUT_DIR group``: plan, check, train, report."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.cli.analysis_lock import analysis_lock
from bids_neurossm.cli.analysis_settings import analysis_settings, keep_settings
from bids_neurossm.cli.array_script import cells_script
from bids_neurossm.cli.exit_code import exit_code
from bids_neurossm.cli.pretraining import pretrain_only, with_pretrained
from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.cli.terminal.logs import begin, write_crashes
from bids_neurossm.cli.terminal.watch import TrainingWatch
from bids_neurossm.cli.workflow_engine import run_workflow
from bids_neurossm.cli.written_outputs import analysis_record
from bids_neurossm.config import Evaluation, RunConfig
from bids_neurossm.dataset.description import write_description
from bids_neurossm.dataset.left_out import LeftOut, sentences
from bids_neurossm.errors import NoInputError, RunError
from bids_neurossm.files.portable import absolute_paths, portable
from bids_neurossm.files.tables import read_output, read_table
from bids_neurossm.interfaces.records import Record, private_folder
from bids_neurossm.planning.cohort_plan import CohortPlan, ReferencePlan
from bids_neurossm.planning.encoder import wants_encoder_only
from bids_neurossm.planning.group import GroupPlan, plan_group, refuse_checkpoint
from bids_neurossm.reports.wording import interval_text
from bids_neurossm.workflows.group import init_group_wf


def run_group(config: RunConfig, work_dir: Path) -> int:
    """Carry out a group command.

    Returns
    -------
    int
        Exit code.
    """
    refuse_checkpoint(config)
    if config.execution.reports_only:
        return _reports_only(config, Console(config.execution.log_format))
    if wants_encoder_only(config):
        return pretrain_only(config, work_dir)
    if config.evaluation.pretrain_from is not None:
        config = with_pretrained(config, work_dir)
    plan = plan_group(config)
    if config.execution.dry_run:
        _print_plan(config, plan, Console(config.execution.log_format))
        return 0
    outputs = plan.analysis.outputs
    with analysis_lock(config.out_dir, outputs.analysis, cell=config.evaluation.only_fold is not None):
        settings = analysis_settings(config, plan)
        keep_settings(config.out_dir, outputs.analysis, settings, config.execution.overwrite)
        return _run(config, plan, work_dir)


def _run(config: RunConfig, plan: GroupPlan, work_dir: Path) -> int:
    """Train, judge, explain and report."""
    console, log_folder = begin(config)
    sources = {} if plan.source == config.out_dir else {"series": plan.source}
    write_description(config.out_dir, {"input": config.bids_dir, **sources}, config.execution.overwrite)
    if plan.cohort.parcellation is not None:
        write_atlas(config.out_dir, [plan.cohort.parcellation])
    if config.evaluation.only_fold is None:
        # Written last: from here on, tables can be those of this command.
        (plan.analysis.outputs.folder / "summary.json").unlink(missing_ok=True)
    records = _work(config, plan, work_dir, console)
    write_crashes(log_folder, records)
    return _conclude(config, plan, records, console, log_folder)


def _left_out(plan: GroupPlan) -> list[str]:
    """Say what is left out before the work begins."""
    rows = [row for row in plan.cohort.excluded if row.get("excluded") != "no"]
    return sentences(LeftOut(row["run"], row["participant_id"], row["reason"], row["detail"]) for row in rows)


def _work(config: RunConfig, plan: GroupPlan, work_dir: Path, console: Console) -> list[Record]:
    """Run the workflow."""
    command = uuid.uuid4().hex[:8]
    scratch = private_folder(work_dir / f"group-{command}")
    records = private_folder(work_dir / f"records-{command}")
    cache = private_folder(work_dir / "reference")
    workflow = init_group_wf(*_portable_plan(config, plan), scratch, records, cache)
    total = len(cells_of(plan.analysis))

    watch = TrainingWatch(records, console)

    def on_end(node: str, unit: str, failed: bool) -> None:
        watch.ended(unit)
        if failed or node.startswith("train_"):
            console.advance(unit, failed)

    counted = len(plan.cohort.runs)
    console.event(
        "plan",
        f"{plan.analysis.outputs.analysis}: {counted} runs, {total} models to train (those that are there and fit are "
        "kept)",
    )
    for each in _left_out(plan):
        console.event("plan", each)
    for note in (*plan.cohort.extra["notes"], *plan.reference.notes):
        console.event("note", note)
    with console.start(total, "models"), watch:
        return run_workflow(workflow, config.execution, records, on_end)


def _portable_plan(config: RunConfig, plan: GroupPlan) -> tuple[Analysis, CohortPlan, ReferencePlan]:
    """Take the places of this machine out of notes and reasons that go into outputs; the console shows them."""
    folders = [path for _, path in absolute_paths(config)]
    extra = {**plan.cohort.extra, "notes": [portable(note, folders) for note in plan.cohort.extra["notes"]]}
    reference = replace(plan.reference, notes=[portable(note, folders) for note in plan.reference.notes])
    excluded = [{**row, "detail": portable(str(row["detail"]), folders)} for row in plan.cohort.excluded]
    return plan.analysis, replace(plan.cohort, extra=extra, excluded=excluded), reference


def _conclude(config: RunConfig, plan: GroupPlan, records: list[Record], console: Console, log_folder: Path) -> int:
    """Tell what came out, and where it is."""
    outputs = plan.analysis.outputs
    records = records or analysis_record(plan.analysis)
    unique = {record.unit: record for record in reversed(records)}
    for record in sorted(unique.values(), key=lambda each: each.unit):
        details = f" (details in {log_folder})" if record.details else ""
        console.event("error", f"failed: {record.unit}: {record.message}{details}", unit=record.unit, step=record.step)
    only_cell = config.evaluation.only_fold is not None
    done = (outputs.folder / "summary.json").is_file() and not only_cell and outputs.analysis not in unique
    if done:
        _write_report(config, outputs.analysis, list(unique.values()), console)
        _print_result(plan, console)
        report = config.out_dir / f"group_{outputs.analysis}.html"
        rows = [("report", report), ("tables, maps, methods section", outputs.folder), ("models", outputs.models)]
        rows += [("settings and events", log_folder)]
        console.table(f"{outputs.analysis}: done, {len(unique)} failed", ("what", "where"), rows)
        console.event("done", f"Report: {report}. Tables and maps: {outputs.folder}. Models: {outputs.models}.")
    elif only_cell and not unique:
        console.event("done", f"The cell is in {outputs.models}; `group` without --only-fold gathers all of them.")
    return exit_code(list(unique.values()), done or (only_cell and not unique))


def _print_result(plan: GroupPlan, console: Console) -> None:
    outputs = plan.analysis.outputs
    excluded = read_table(outputs.table("exclusions"), RunError)
    excluded = excluded[excluded["excluded"] == "yes"]
    if len(excluded):
        counts = excluded["reason"].value_counts()
        console.table(
            "Runs left out (exclusions.tsv)", ("reason", "runs"), [(str(k), int(v)) for k, v in counts.items()]
        )
    metrics = read_output(outputs.table("metrics"), RunError)
    judged = "holdout" if (metrics["set"] == "holdout").any() else "development"
    shown = ("auc", "balanced_accuracy") if plan.cohort.target_type == "class" else ("r", "mae")
    rows = [
        (row.model, row.metric, f"{row.value:.3f}", interval_text(str(row.metric), row.ci_low, row.ci_high), row.n)
        for row in metrics[(metrics["set"] == judged) & (metrics["fold"] == "all")].itertuples()
        if row.metric in shown
    ]
    title = "Scores on the holdout" if judged == "holdout" else "Out-of-fold scores"
    whose = "given these models" if judged == "holdout" else "of the procedure"
    console.table(f"{title}, 95 % intervals {whose}", ("model", "metric", "value", "interval", "n"), rows)
    comparison = read_output(outputs.table("comparison"), RunError)
    for sentence in comparison[comparison["set"] == judged]["sentence"].dropna():
        console.event("result", str(sentence))
    controls = read_output(outputs.table("controls"), RunError)
    for row in controls.itertuples():
        console.event("result", f"{row.control}: {row.verdict}")
    if outputs.table("qc_fc").is_file():
        for sentence in read_output(outputs.table("qc_fc"), RunError)["sentence"]:
            console.event("result", str(sentence))


def _write_report(config: RunConfig, analysis: str, failures: list[Record], console: Console) -> None:
    from bids_neurossm.reports.group import write_group_report

    folders = [path for _, path in absolute_paths(config)]
    errors = [{"run": each.unit, "step": each.step, "message": portable(each.message, folders)} for each in failures]
    write_group_report(config.out_dir, analysis, errors)


def _reports_only(config: RunConfig, console: Console) -> int:
    """Rebuild the reports of the analyses that are on disk."""
    folder = config.out_dir / "group"
    found = sorted(path.name for path in folder.glob("*") if path.is_dir()) if folder.is_dir() else []
    wanted = [config.analysis_id] if config.analysis_id else found
    if not wanted or any(name not in found for name in wanted):
        raise NoInputError(f"{folder} holds the analyses {', '.join(found) or 'none'}; run `group` first.")
    for name in wanted:
        _write_report(config, str(name), [], console)
        console.event("done", f"Report: {config.out_dir / f'group_{name}.html'}")
    return 0


def _grid(evaluation: Evaluation) -> str:
    """Say what the models to train are made of."""
    parts = [f"{evaluation.folds} folds"]
    parts += [f"{evaluation.repeats} splits"] if evaluation.repeats > 1 else []
    parts += [f"{evaluation.seeds} seeds", "the final ones"]
    parts += [*evaluation.controls]
    parts += [f"{evaluation.retrained_nulls} sets of permuted labels"] if evaluation.retrained_nulls else []
    parts += ["a learning curve"] if evaluation.learning_curve else []
    return ", ".join(parts)


def _print_plan(config: RunConfig, plan: GroupPlan, console: Console) -> None:
    """Show what would be done."""
    cohort, analysis = plan.cohort, plan.analysis
    people = len({row["participant_id"] for row in cohort.runs})
    console.event("plan", f"Analysis {analysis.outputs.analysis}: {len(cohort.runs)} runs of {people} participants.")
    console.event("plan", f"Series from {plan.source}; labels from {plan.labels_from}.")
    if cohort.classes:
        labels = pd.Series([str(row["label"]) for row in cohort.runs]).value_counts()
        console.table("Classes", ("class", "runs"), [(name, int(labels[name])) for name in cohort.classes])
    rows = [(row["run"], row["reason"], row["detail"]) for row in cohort.excluded if row.get("excluded") != "no"]
    if rows:
        console.table("Left out", ("run", "reason", "detail"), rows)
    cells = cells_of(analysis)
    models = ", ".join((analysis.model.name, *analysis.baselines))
    console.event("plan", f"{len(cells)} models to train ({models}; {_grid(analysis.evaluation)}).")
    for note in (*cohort.extra["notes"], *plan.reference.notes):
        console.event("plan", str(note))
    console.event("plan", f"It would write {analysis.outputs.folder}, {analysis.outputs.models} and a report.")
    console.event("plan", "Nothing was written.")
    evaluation = analysis.evaluation
    if evaluation.only_fold is None:
        console.event("plan", "The folds and seeds as a job array (SLURM):")
        console.verbatim("script", cells_script(config.command_line, evaluation.folds, evaluation.seeds, 4000, 240))
