"""The participant level: one chain of nodes per run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces import utility
from nipype.pipeline import engine as pe

from bids_neurossm.config import Attribution, Evaluation, Execution, Extraction
from bids_neurossm.interfaces.participant import DenoiseSeries, ExtractParcels, WriteDerivatives
from bids_neurossm.interfaces.plan import Places, RunPlan
from bids_neurossm.signal.strategy import Strategy


def init_participant_wf(
    plans: Sequence[RunPlan],
    places: Places,
    extraction: Extraction,
    strategy: Strategy,
    evaluation: Evaluation,
    attribution: Attribution,
    execution: Execution,
    name: str = "participant_wf",
) -> pe.Workflow:
    """Build the workflow of the participant level.

    Parameters
    ----------
    plans : sequence of RunPlan
        Runs to be processed.
    places : Places
        Folders.
    extraction, strategy
        How series are taken and cleaned.
    evaluation, attribution, execution
        A checkpoint to apply, how it is explained, and on which device.
    name : str
        Of the workflow.

    Returns
    -------
    Workflow
        One chain per run; the chains do not depend on each other.
    """
    workflow = pe.Workflow(name=name, base_dir=str(places.work_dir))
    for plan in plans:
        workflow.add_nodes([init_run_wf(plan, places, extraction, strategy, evaluation, attribution, execution)])
    return workflow


def init_run_wf(
    plan: RunPlan,
    places: Places,
    extraction: Extraction,
    strategy: Strategy,
    evaluation: Evaluation,
    attribution: Attribution,
    execution: Execution,
) -> pe.Workflow:
    """Build the chain of one run: extract, denoise, write, and with a checkpoint predict."""
    workflow = pe.Workflow(name=f"run_{re.sub(r'[^0-9A-Za-z]', '_', plan.run.key)}_wf")
    inputnode = pe.Node(utility.IdentityInterface(fields=["run"]), name="inputnode", run_without_submitting=True)
    inputnode.inputs.run = plan.run
    outputnode = pe.Node(
        utility.IdentityInterface(fields=["timeseries"]), name="outputnode", run_without_submitting=True
    )
    extract = _extract_node(plan, places, extraction)
    clean = _denoise_node(plan, places, extraction, strategy)
    write = _write_node(plan, places, extraction, strategy)
    workflow.connect(
        [
            (inputnode, extract, [("run", "run")]),
            (inputnode, clean, [("run", "run")]),
            (inputnode, write, [("run", "run")]),
            (extract, clean, [("parcels", "parcels")]),
            (extract, write, [("bold_hash", "bold_hash"), ("before", "before")]),
            (clean, write, [("clean", "clean")]),
            (write, outputnode, [("timeseries", "timeseries")]),
        ]
    )
    if evaluation.checkpoint is not None:
        apply = _predict_node(plan, places, strategy, evaluation.checkpoint, attribution, execution)
        workflow.connect([(inputnode, apply, [("run", "run")]), (write, apply, [("timeseries", "timeseries")])])
    return workflow


def _common(plan: RunPlan, places: Places) -> dict[str, str]:
    """Give what every interface is told: the run's name, and where failures are recorded."""
    return {"unit": plan.run.key, "records": str(places.records)}


def _extract_node(plan: RunPlan, places: Places, extraction: Extraction) -> pe.Node:
    interface = ExtractParcels(
        parcellations=list(plan.parcellations),
        hash_cache=str(places.hash_cache or ""),
        allow_missing_orientation=extraction.allow_missing_orientation,
        **_common(plan, places),
    )
    # One volume and the label maps are all that is held: 512 cubed voxels would still fit.
    return pe.Node(interface, name="extract", mem_gb=0.4, n_procs=1)


def _denoise_node(plan: RunPlan, places: Places, extraction: Extraction, strategy: Strategy) -> pe.Node:
    interface = DenoiseSeries(strategy=strategy, extraction=extraction, **_common(plan, places))
    return pe.Node(interface, name="denoise", mem_gb=0.3)


def _write_node(plan: RunPlan, places: Places, extraction: Extraction, strategy: Strategy) -> pe.Node:
    interface = WriteDerivatives(
        parcellations=list(plan.parcellations),
        strategy=strategy,
        extraction=extraction,
        out_dir=str(places.out_dir),
        hash_cache=str(places.hash_cache or ""),
        **_common(plan, places),
    )
    return pe.Node(interface, name="write", mem_gb=0.3)


def _predict_node(
    plan: RunPlan, places: Places, strategy: Strategy, checkpoint: Path, attribution: Attribution, execution: Execution
) -> pe.Node:
    from bids_neurossm.interfaces.apply_checkpoint import ApplyModel

    interface = ApplyModel(
        checkpoint=str(checkpoint),
        attribution=attribution,
        device=execution.device,
        parcellations=list(plan.parcellations),
        out_dir=str(places.out_dir),
        strategy=strategy,
        **_common(plan, places),
    )
    return pe.Node(interface, name="predict", mem_gb=1.0, n_procs=execution.omp_nthreads)


def final_node(evaluation: Evaluation) -> str:
    """Name of the node whose end means that a run is done."""
    return "write" if evaluation.checkpoint is None else "predict"
