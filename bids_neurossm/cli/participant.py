"""``bids-neurossm BIDS_DIR OUT_DIR participant``: plan, check, run, report."""

from __future__ import annotations

import concurrent.futures
import importlib
import uuid
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.cli.array_script import participant_script
from bids_neurossm.cli.exit_code import exit_code
from bids_neurossm.cli.process.child_processes import worker_pool
from bids_neurossm.cli.terminal.console import Console
from bids_neurossm.cli.terminal.logs import begin, write_crashes
from bids_neurossm.cli.written_outputs import dataset_record, run_is_there
from bids_neurossm.config import Extraction, RunConfig
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.description import write_desc_labels, write_description
from bids_neurossm.dataset.left_out import counted, sentences
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.dataset.quality import write_quality_table
from bids_neurossm.dataset.query import RunIndex, index_runs
from bids_neurossm.errors import NeuroSSMError, RunError, UsageError
from bids_neurossm.files.portable import absolute_paths, portable
from bids_neurossm.interfaces.inputs import input_hashes
from bids_neurossm.interfaces.plan import Places, RunPlan
from bids_neurossm.interfaces.records import Record, private_folder
from bids_neurossm.interfaces.resume import input_hash, is_finished, read_sidecar
from bids_neurossm.signal.strategy import Strategy, load_strategy

DEFAULT_ATLAS = "Schaefer400"
DEFAULT_STRATEGY = "simple"

#: What a process that draws reports is planned with.
_REPORT_MB = 300

#: pandas imports Arrow where it is installed, which takes 34 MB of each worker. Here it reads and writes text alone.
_NOT_IN_WORKERS = ("pyarrow",)


@dataclass(frozen=True)
class Plan:
    """What a participant command is about to do."""

    dataset: Path
    index: RunIndex
    strategy: Strategy
    parcellations: dict[str, tuple[Parcellation, ...]]  # by space
    to_do: tuple[RunPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[BoldRun, ...]:
        """Runs that are processed, or were."""
        return self.index.runs

    def outputs(self, out_dir: Path, run: BoldRun) -> list[RunOutputs]:
        """Files of a run, one set per parcellation."""
        return [
            RunOutputs(out_dir, run.entities, parcellation.entities, self.strategy.name)
            for parcellation in self.parcellations[run.space]
        ]


def run_participant(config: RunConfig, work_dir: Path) -> int:
    """Carry out a participant command.

    Returns
    -------
    int
        Exit code.
    """
    hash_cache = work_dir / "hashes"
    plan = make_plan(config, hash_cache)
    if config.execution.dry_run:
        _print_plan(config, plan, Console(config.execution.log_format))
        return 0
    console, log_folder = begin(config)
    _tell_left_out(plan, console)
    write_description(config.out_dir, {"fmriprep": plan.dataset}, config.execution.overwrite)
    write_desc_labels(config.out_dir, {plan.strategy.name: plan.strategy.description})
    everything = {(each.image_file, each.space): each for group in plan.parcellations.values() for each in group}
    write_atlas(config.out_dir, list(everything.values()))
    records: list[Record] = []
    if plan.to_do and not config.execution.reports_only:
        records = _work(config, plan, work_dir, hash_cache, console)
        write_crashes(log_folder, records)
    return _conclude(config, plan, records, console, log_folder)


def make_plan(config: RunConfig, hash_cache: Path | None) -> Plan:
    """Find the runs, the atlases and what is still to be done; nothing is written.

    Raises
    ------
    NeuroSSMError
        If no run matches, or an atlas, a strategy or the checkpoint can not be used.
    """
    dataset = config.selection.derivatives.get("fmriprep", config.bids_dir)
    if config.out_dir == dataset.absolute():
        raise UsageError(f"OUT_DIR and the fMRIPrep folder are both {dataset}: the input is never written to.")
    strategy = load_strategy(
        config.extraction.denoise or DEFAULT_STRATEGY, config.extraction.high_pass, config.extraction.low_pass
    )
    index = _find_runs(config, dataset, strategy)
    runs = index.runs
    _refuse_same_names(runs)
    parcellations = {space: _parcellations(config.extraction, space) for space in sorted({run.space for run in runs})}
    notes: list[str] = []
    if config.evaluation.checkpoint is not None:
        from bids_neurossm.interfaces.apply_checkpoint import check_checkpoint

        everything = [each for group in parcellations.values() for each in group]
        notes = check_checkpoint(config.evaluation.checkpoint, everything, strategy)
        if config.execution.device == "cuda":
            from bids_neurossm.training.device import torch_device

            torch_device(config.execution.device)  # refused now, not after hours of extraction
    to_do = []
    for run in runs:
        missing = [
            each
            for each in parcellations[run.space]
            if config.execution.overwrite or not _finished(config, run, each, strategy, hash_cache)
        ]
        if missing or config.evaluation.checkpoint is not None:
            to_do.append(RunPlan(run, tuple(missing or parcellations[run.space])))
    return Plan(dataset, index, strategy, parcellations, tuple(to_do), tuple(notes))


def _find_runs(config: RunConfig, dataset: Path, strategy: Strategy) -> RunIndex:
    """Query the dataset, where workers follow in a process of its own: PyBIDS and its index then go with it."""
    raw = config.selection.derivatives.get("raw")
    others = [path for path in (raw, config.bids_dir) if path is not None and path != dataset]
    arguments = (dataset, config.selection, strategy.image, tuple(others), bool(strategy.non_aggressive))
    if config.execution.dry_run or config.execution.use_plugin is not None:
        return index_runs(*arguments)
    with worker_pool(1) as pool:
        future = pool.submit(index_runs, *arguments)
        importlib.import_module("bids_neurossm.workflows.participant")  # needed next: the time of waiting is used
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise RunError(
                f"The process that looked for runs in {dataset} was killed from outside, most likely by the "
                "out-of-memory killer; give --participant-label."
            ) from error


def _parcellations(extraction: Extraction, space: str) -> tuple[Parcellation, ...]:
    found = tuple(
        load_parcellation(
            name,
            space,
            atlas_dir=extraction.atlas_dir,
            atlas_space=extraction.atlas_space,
            allow_missing_orientation=extraction.allow_missing_orientation,
        )
        for name in extraction.atlas or (DEFAULT_ATLAS,)
    )
    names = [each.name for each in found]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"--atlas {' '.join(extraction.atlas)}: two of them would be called {twice[0]} in file names.")
    return found


def _refuse_same_names(runs: Sequence[BoldRun]) -> None:
    seen: dict[str, Path] = {}
    for run in runs:
        if run.key in seen:
            raise UsageError(f"{seen[run.key]} and {run.bold} would be written under one name, {run.key}.")
        seen[run.key] = run.bold


def _finished(
    config: RunConfig,
    run: BoldRun,
    parcellation: Parcellation,
    strategy: Strategy,
    hash_cache: Path | None,
) -> bool:
    outputs = RunOutputs(config.out_dir, run.entities, parcellation.entities, strategy.name)
    if run.problems or not outputs.timeseries.with_suffix(".json").is_file():
        return False  # nothing to compare, or to compare with: the image need not be read for its hash
    cache = None if config.execution.dry_run else hash_cache
    expected = input_hash(run, parcellation, strategy, config.extraction, input_hashes(run, cache))
    return is_finished(outputs, expected, config.extraction.connectivity)


def _work(config: RunConfig, plan: Plan, work_dir: Path, hash_cache: Path, console: Console) -> list[Record]:
    """Run the workflow; Nipype is imported here, since a plan alone does not need it."""
    from bids_neurossm.cli.workflow_engine import run_workflow
    from bids_neurossm.workflows.participant import final_node, init_participant_wf

    command = uuid.uuid4().hex[:8]
    places = Places(
        out_dir=config.out_dir,
        work_dir=private_folder(work_dir / f"participant-{command}"),
        records=private_folder(work_dir / f"records-{command}"),
        hash_cache=private_folder(hash_cache),
    )
    workflow = init_participant_wf(
        plan.to_do,
        places,
        config.extraction,
        plan.strategy,
        config.evaluation,
        config.attribution,
        config.execution,
    )
    last = final_node(config.evaluation)

    def on_end(node: str, unit: str, failed: bool) -> None:
        if failed or node == last:
            console.advance(unit, failed)

    with console.start(len(plan.to_do), "runs"):
        return run_workflow(workflow, config.execution, places.records, on_end, _NOT_IN_WORKERS)


def _conclude(config: RunConfig, plan: Plan, records: list[Record], console: Console, log_folder: Path) -> int:
    """Tell what was done, what was excluded, what failed, and where it all is."""
    failures = {record.unit: record for record in reversed(records)}
    attempted = {each.run.key for each in plan.to_do} if not config.execution.reports_only else set()
    done, excluded = [], []
    for run in plan.runs:
        sidecars = [read_sidecar(outputs.timeseries) for outputs in plan.outputs(config.out_dir, run)]
        if run.key in failures:
            continue
        if not run_is_there(plan.outputs(config.out_dir, run), config.extraction.connectivity):
            if not config.execution.reports_only:
                failures[run.key] = Record(run.key, "run", "its files are missing; run the same command again", 1)
            continue
        reasons = [sidecar["Exclusion"] for sidecar in sidecars if sidecar.get("Exclusion")]
        done.append(run.key)
        if reasons:
            excluded.append((run.key, reasons[0]["Reason"], reasons[0]["Detail"]))
    skipped = len(plan.runs) - len(attempted)
    _write_reports(config, plan, list(failures.values()), console)
    if not config.selection.participant_label or config.execution.reports_only:
        # Tasks of a job array would all read the sidecars of all others: whoever has the whole dataset does it.
        write_quality_table(config.out_dir)
    atlases = [each for group in plan.parcellations.values() for each in group]
    reports = [f"sub-{label}.html" for label in sorted({run.participant for run in plan.runs})]
    missing = dataset_record(config.out_dir, atlases, reports)
    if excluded:
        console.table(
            "Excluded by rule (written, but left out of group analyses)", ("run", "reason", "detail"), excluded
        )
    for record in (*sorted(failures.values(), key=lambda each: each.unit), *missing):
        details = f" (details in {log_folder})" if record.details else ""
        console.event("error", f"failed: {record.unit}: {record.message}{details}", unit=record.unit, step=record.step)
    where = config.out_dir
    rows: list[tuple[str, int, object]] = [("done", len(done), where / "sub-*")]
    rows += [("excluded by rule", len(excluded), "the table above, the reports")] if excluded else []
    rows += [(f"left out ({reason})", number, names) for reason, number, names in counted(plan.index.left_out)]
    unmasked = sum(run.mask is None and not run.dense for run in plan.runs)
    rows += [("without a brain mask", unmasked, "voxels that are not zero count as covered")] if unmasked else []
    rows += [("failed", len(failures), f"{log_folder} and the reports")] if failures else []
    labels = {run.participant for run in plan.runs}
    rows.append(("reports", len(labels), where / (f"sub-{labels.pop()}.html" if len(labels) == 1 else "sub-*.html")))
    console.table("Runs", ("what", "n", "where"), rows)
    left_out = sum(each.n_runs for each in plan.index.left_out)
    already = f", {skipped} of them already finished" if skipped and not config.execution.reports_only else ""
    console.event(
        "done" if not failures and not missing else "warning",
        f"{len(done)} of {len(plan.runs)} runs done{already}, {len(excluded)} excluded by rule, {len(failures)} "
        f"failed{f', {left_out} left out' if left_out else ''}. Series and reports: {config.out_dir}",
    )
    return exit_code([*failures.values(), *missing], bool(done))


def _write_reports(config: RunConfig, plan: Plan, failures: Sequence[Record], console: Console) -> None:
    """Write one report per participant, also where some runs failed."""
    labels = sorted({run.participant for run in plan.runs})
    by_label: dict[str, list[dict[str, str]]] = {label: [] for label in labels}
    for run in plan.runs:
        for record in failures:
            if record.unit == run.key:
                message = portable(record.message, [path for _, path in absolute_paths(config)])
                entry = {"run": record.unit, "step": record.step, "message": message}
                by_label[run.participant].append(entry)
    if len(labels) == 1:
        # The usual task of a job array: a process of its own would only cost memory.
        _tell_failure(_report_failure(config.out_dir, labels[0], by_label[labels[0]]), labels[0], console)
        return
    fit = max(1, config.execution.mem_mb // _REPORT_MB) if config.execution.mem_mb else len(labels)
    workers = min(config.execution.nprocs, len(labels), fit)
    with worker_pool(workers) as pool:
        futures = {
            pool.submit(_report_failure, config.out_dir, label, errors): label for label, errors in by_label.items()
        }
        with console.start(len(labels), "reports", lines=False):
            for future in concurrent.futures.as_completed(futures):
                _tell_failure(future.exception() or future.result(), futures[future], console)
                console.advance(f"sub-{futures[future]}.html")


def _tell_failure(error: BaseException | None, label: str, console: Console) -> None:
    """Stop for what the user can put right; a report that fails otherwise costs no results."""
    if isinstance(error, NeuroSSMError):
        raise error
    if error is not None:
        console.event("warning", f"sub-{label}.html could not be written: {type(error).__name__}: {error}")


def _report_failure(out_dir: Path, label: str, errors: list[dict[str, str]]) -> Exception | None:
    """Write the report of a participant, and give back what went wrong."""
    from bids_neurossm.reports.participant import write_participant_report

    try:
        write_participant_report(out_dir, label, errors)
    except Exception as error:
        return error
    return None


def _tell_left_out(plan: Plan, console: Console) -> None:
    """Say before the work begins what is not part of it."""
    for each in (*plan.index.notes, *plan.notes):
        console.event("warning", each)
    for each in sentences(plan.index.left_out):
        console.event("plan", each)


def _print_plan(config: RunConfig, plan: Plan, console: Console) -> None:
    """Show what would be done."""
    _tell_left_out(plan, console)
    to_do = {each.run.key: each for each in plan.to_do}
    rows = []
    for run in plan.runs:
        missing = [name for name, path in (("mask", run.mask), ("confounds", run.confounds)) if path is None]
        state = "cannot be done" if run.problems else "to do" if run.key in to_do else "finished"
        rows.append((run.key, state, f"{run.size / 1e6:.0f} MB", ", ".join(missing) or "nothing"))
    console.table("Runs", ("run", "state", "image", "missing"), rows)
    for run in plan.runs:
        for problem in run.problems:
            console.event("warning", f"{run.key}: {problem}", unit=run.key)
    atlases = sorted({each.name for group in plan.parcellations.values() for each in group})
    example = plan.outputs(config.out_dir, plan.runs[0])[0]
    names = [example.timeseries, example.coverage, example.connectivity, example.motion]
    names += map(example.relations, config.extraction.connectivity)
    console.event("plan", "Each run would write, for example:")
    for path in names:
        console.event("plan", f"  {path.relative_to(config.out_dir)} (+ .json)")
    megabytes = sum(each.run.size for each in plan.to_do) / 1e6
    # Inflating and averaging take about a second for 30 MB of compressed image, start-up five seconds.
    minutes = (5 + megabytes / 30 / config.execution.nprocs) / 60
    memory = 120 + 165 * min(config.execution.nprocs, max(len(plan.to_do), 1))
    console.event(
        "plan",
        f"{len(plan.to_do)} of {len(plan.runs)} runs to do with {', '.join(atlases)}, denoising {plan.strategy.name}: "
        f"{megabytes:.0f} MB of images, about {minutes:.1f} minutes and {memory} MB of memory with "
        f"{config.execution.nprocs} at a time. Nothing was written.",
    )
    labels = sorted({each.run.participant for each in plan.to_do})
    if len(labels) > 1:
        # Three times what is expected: a busy disk is slow, and a task that is stopped has to start again.
        limit = max(10.0, 3 * (10 + megabytes / 30 / len(labels)) / 60)
        console.event("plan", "As a job array (SLURM; docs/hpc.md has Grid Engine and PBS):")
        console.verbatim("script", participant_script(config.command_line, labels, 2000, limit))
