"""Pretraining of an encoder: cohort, encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.interfaces.pretraining import PRETRAINING, PretrainEncoder
from bids_neurossm.planning.cohort_plan import CohortPlan
from bids_neurossm.workflows.group import cohort_node


def init_pretraining_wf(
    analysis: Analysis, cohort: CohortPlan, work_dir: Path, records: Path, name: str = "pretraining_wf"
) -> pe.Workflow:
    """Build the workflow that pretrains an encoder.

    Parameters
    ----------
    analysis : Analysis
        Model, settings, file names.
    cohort : CohortPlan
        The series.
    work_dir, records : Path
        Scratch, records of failure.
    name : str
        Of the workflow.

    Returns
    -------
    Workflow
        The encoder and the table of its reconstruction go to the folder of models, the runs that could not be used to
        ``exclusions.tsv``.
    """
    workflow = pe.Workflow(name=name, base_dir=str(work_dir))
    common: dict[str, Any] = {"analysis": analysis, "records": str(records)}
    build = cohort_node(cohort, common)
    encoder = pe.Node(
        PretrainEncoder(unit=PRETRAINING, **common),
        name="encoder",
        mem_gb=3.0,
        n_procs=analysis.execution.omp_nthreads,
    )
    workflow.connect(build, "cohort", encoder, "cohort")
    return workflow
