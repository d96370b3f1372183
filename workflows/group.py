"""The group level: cohort, splits, a grid of training jobs, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces import utility
from nipype.pipeline import engine as pe

from bids_neurossm.analysis.cells import Analysis, CellKey
from bids_neurossm.analysis.grid import cells_of
from bids_neurossm.interfaces.cohort import BuildCohort, MakeSplits
from bids_neurossm.interfaces.evaluation import Evaluate
from bids_neurossm.interfaces.maps import WriteMaps
from bids_neurossm.interfaces.quality import MeasureQCFC
from bids_neurossm.interfaces.reference import ComputeReference
from bids_neurossm.interfaces.summary import WriteSummary
from bids_neurossm.interfaces.training import TrainCell
from bids_neurossm.planning.cohort_plan import CohortPlan, ReferencePlan


def init_group_wf(
    analysis: Analysis,
    cohort: CohortPlan,
    reference: ReferencePlan,
    work_dir: Path,
    records: Path,
    cache_dir: Path,
    name: str = "group_wf",
) -> pe.Workflow:
    """Build the workflow of an analysis.

    Parameters
    ----------
    analysis : Analysis
        Model, baselines, settings, file names.
    cohort : CohortPlan
        The series.
    reference : ReferencePlan
        The literature.
    work_dir, records, cache_dir : Path
        Scratch, records of failure, cache of reference maps.
    name : str
        Of the workflow.

    Returns
    -------
    Workflow
        Every fold x seed is a node of its own. With ``--only-fold`` the workflow ends after that cell.
    """
    workflow = pe.Workflow(name=name, base_dir=str(work_dir))
    common: dict[str, Any] = {"analysis": analysis, "records": str(records)}
    build = cohort_node(cohort, common)
    split = pe.Node(MakeSplits(unit="splits", **common), name="splits", mem_gb=0.3)
    workflow.connect(build, "cohort", split, "cohort")
    cells = _training_nodes(workflow, analysis, build, split, common)
    if analysis.evaluation.only_fold is None:
        _conclusions(workflow, analysis, cohort, reference, build, split, cells, cache_dir, common)
    return workflow


def cohort_node(cohort: CohortPlan, common: dict[str, Any]) -> pe.Node:
    """Make the node that reads the series into one store; `common` are the inputs that all nodes share."""
    return pe.Node(
        BuildCohort(
            unit="cohort",
            runs=[dict(row) for row in cohort.runs],
            excluded=[dict(row) for row in cohort.excluded],
            regions=list(cohort.regions),
            networks=list(cohort.networks),
            target_type=cohort.target_type,
            shortest=cohort.shortest,
            max_uncovered=cohort.max_uncovered,
            extra=dict(cohort.extra),
            **common,
        ),
        name="cohort",
        mem_gb=0.5,
    )


def _training_nodes(
    workflow: pe.Workflow, analysis: Analysis, build: pe.Node, split: pe.Node, common: Mapping[str, Any]
) -> list[tuple[CellKey, pe.Node]]:
    nodes = []
    for key in cells_of(analysis):
        neural = key.model == analysis.model.name
        node = pe.Node(
            TrainCell(unit=f"{key.model} {key.place.replace('_', ' ')}", key=key, **common),
            name=re.sub(r"[^0-9A-Za-z]", "_", f"train_{key.model}_{key.place}"),
            mem_gb=2.0 if neural else 1.0,
            n_procs=analysis.execution.omp_nthreads * (analysis.execution.devices if neural else 1),
        )
        workflow.connect([(build, node, [("cohort", "cohort")]), (split, node, [("splits", "splits")])])
        nodes.append((key, node))
    return nodes


def _judge_denoising(workflow: pe.Workflow, cohort: CohortPlan, build: pe.Node, common: Mapping[str, Any]) -> None:
    """Wire the question whether motion still shows in connectivity."""
    # Running sums over all pairs of 1,000 regions.
    quality = pe.Node(MeasureQCFC(unit="quality", **common), name="quality", mem_gb=0.5)
    if cohort.parcellation is not None:
        quality.inputs.parcellation = cohort.parcellation
    workflow.connect(build, "cohort", quality, "cohort")


def _conclusions(
    workflow: pe.Workflow,
    analysis: Analysis,
    cohort: CohortPlan,
    reference: ReferencePlan,
    build: pe.Node,
    split: pe.Node,
    cells: Sequence[tuple[CellKey, pe.Node]],
    cache_dir: Path,
    common: Mapping[str, Any],
) -> None:
    """Wire evaluation, maps, reference and summary."""
    every = pe.Node(utility.Merge(len(cells)), name="every_cell", run_without_submitting=True)
    own = [node for key, node in cells if analysis.keeps_model(key)]
    mine = pe.Node(utility.Merge(len(own)), name="own_cells", run_without_submitting=True)
    for number, (_, node) in enumerate(cells, start=1):
        workflow.connect(node, "cell", every, f"in{number}")
    for number, node in enumerate(own, start=1):
        workflow.connect(node, "cell", mine, f"in{number}")
    evaluate = pe.Node(Evaluate(unit="evaluation", **common), name="evaluate", mem_gb=1.0)
    notes = [*cohort.extra.get("notes", []), *reference.notes]
    summary = pe.Node(WriteSummary(unit="summary", notes=notes, **common), name="summary", mem_gb=0.3)
    workflow.connect(
        [
            (every, evaluate, [("out", "cells")]),
            (build, evaluate, [("cohort", "cohort")]),
            (split, evaluate, [("splits", "splits")]),
            (build, summary, [("cohort", "cohort")]),
            (split, summary, [("notes", "split_notes")]),
            (evaluate, summary, [(name, name) for name in ("metrics", "comparison", "controls")]),
            (evaluate, summary, [("notes", "evaluation_notes")]),
        ]
    )
    _judge_denoising(workflow, cohort, build, common)
    if not analysis.attribution.cpa:
        return
    maps = pe.Node(WriteMaps(unit="maps", **common), name="maps", mem_gb=1.5)
    if cohort.parcellation is not None:
        maps.inputs.parcellation = cohort.parcellation
    workflow.connect([(mine, maps, [("out", "cells")]), (build, maps, [("cohort", "cohort")])])
    # A failed permutation test makes the verdict on a map.
    workflow.connect(evaluate, "controls", maps, "controls")
    workflow.connect(maps, "notes", summary, "map_notes")
    if reference.source is not None and reference.parcellation is not None:
        compute = pe.Node(
            ComputeReference(
                unit="reference",
                classes=list(cohort.classes),
                source=reference.source,
                terms=reference.terms,
                parcellation=reference.parcellation,
                cache=str(cache_dir),
                **common,
            ),
            name="reference",
            mem_gb=1.5,
        )
        maps.inputs.reference_parcellation = reference.parcellation
        workflow.connect(
            [
                (compute, maps, [("reference", "reference")]),
                (compute, summary, [("notes", "reference_notes")]),
            ]
        )
