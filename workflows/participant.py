"""The participant level: one chain of nodes per run."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
    unit = plan.run.key
    workflow = pe.Workflow(name=f"run_{re.sub(r'[^0-9A-Za-z]', '_', unit)}_wf")
    common = {"unit": unit, "records": str(places.records)}
    parcellations = list(plan.parcellations)
    inputnode = pe.Node(utility.IdentityInterface(fields=["run"]), name="inputnode", run_without_submitting=True)
    inputnode.inputs.run = plan.run
    outputnode = pe.Node(
        utility.IdentityInterface(fields=["timeseries"]), name="outputnode", run_without_submitting=True
    )
    # One volume and the label maps are all that is held: 512 cubed voxels would still fit.
    extract = pe.Node(ExtractParcels(parcellations=parcellations, **common), name="extract", mem_gb=0.4, n_procs=1)
    clean = pe.Node(
        DenoiseSeries(
            dataset=str(places.dataset),
            strategy=strategy,
            extraction=extraction,
            **common,
        ),
        name="denoise",
        mem_gb=0.3,
    )
    write = pe.Node(
        WriteDerivatives(
            parcellations=parcellations,
            strategy=strategy,
            extraction=extraction,
            dataset=str(places.dataset),
            out_dir=str(places.out_dir),
            hash_cache=str(places.hash_cache or ""),
            **common,
        ),
        name="write",
        mem_gb=0.3,
    )
    workflow.connect(
        [
            (inputnode, extract, [("run", "run")]),
            (inputnode, clean, [("run", "run")]),
            (inputnode, write, [("run", "run")]),
            (extract, clean, [("parcels", "parcels")]),
            (clean, write, [("clean", "clean")]),
            (write, outputnode, [("timeseries", "timeseries")]),
        ]
    )
    if evaluation.checkpoint is not None:
        from bids_neurossm.interfaces.prediction import ApplyModel

        apply = pe.Node(
            ApplyModel(
                checkpoint=str(evaluation.checkpoint),
                attribution=attribution,
                device=execution.device,
                parcellations=parcellations,
                out_dir=str(places.out_dir),
                strategy=strategy,
                **common,
            ),
            name="predict",
            mem_gb=1.0,
            n_procs=execution.omp_nthreads,
        )
        workflow.connect([(inputnode, apply, [("run", "run")]), (write, apply, [("timeseries", "timeseries")])])
    return workflow


def final_node(evaluation: Evaluation) -> str:
    """Name of the node whose end means that a run is done."""
    return "write" if evaluation.checkpoint is None else "predict"
