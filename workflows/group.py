"""The group level: cohort, splits, a grid of training jobs, and what follows from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nipype.interfaces import utility
from nipype.pipeline import engine as pe

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.interfaces.analysis import FINAL, Analysis
from bids_neurossm.interfaces.cohort import BuildCohort, MakeSplits, Shortest
from bids_neurossm.interfaces.evaluation import Evaluate
from bids_neurossm.interfaces.maps import WriteMaps
from bids_neurossm.interfaces.reference import ComputeReference
from bids_neurossm.interfaces.summary import WriteSummary
from bids_neurossm.interfaces.training import TrainCell


@dataclass(frozen=True)
class CohortPlan:
    """Which series make the cohort, and what is known of them.

    Parameters
    ----------
    runs, excluded : sequence of mapping
        Rows of facts; runs that were left out, with reasons.
    regions, networks : sequence of str
        Of the columns of the series.
    target_type : str
        ``class`` or ``continuous``.
    classes : sequence of str
        Sorted names.
    shortest : Shortest
        What the model's largest scale needs.
    max_uncovered : float
        Largest share of regions without signal.
    extra : mapping
        Atlas, strategy, target.
    parcellation : Parcellation or None
        The atlas in the space of the runs.
    """

    runs: Sequence[Mapping[str, Any]]
    excluded: Sequence[Mapping[str, Any]]
    regions: Sequence[str]
    networks: Sequence[str]
    target_type: str
    classes: Sequence[str]
    shortest: Shortest
    max_uncovered: float
    extra: Mapping[str, Any]
    parcellation: Parcellation | None = None


@dataclass(frozen=True)
class ReferencePlan:
    """Where the reference comes from; `source` None leaves it out.

    Parameters
    ----------
    source, terms : str or None
        Studies and class-to-term table.
    parcellation : Parcellation or None
        The atlas in MNI152NLin6Asym.
    notes : sequence of str
        Why it is left out.
    """

    source: str | None = None
    terms: str | None = None
    parcellation: Parcellation | None = None
    notes: Sequence[str] = field(default_factory=tuple)


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
    build = pe.Node(
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
    split = pe.Node(MakeSplits(unit="splits", **common), name="splits", mem_gb=0.3)
    workflow.connect(build, "cohort", split, "cohort")
    cells = _training_nodes(workflow, analysis, build, split, common)
    if analysis.evaluation.only_fold is None:
        _conclusions(workflow, analysis, cohort, reference, build, split, cells, cache_dir, common)
    return workflow


def cells_of(analysis: Analysis) -> list[tuple[str, int, int]]:
    """List model, fold and seed of every cell; fold 0 is the final model."""
    evaluation = analysis.evaluation
    folds = range(1, evaluation.folds + 1)
    if evaluation.only_fold is not None and evaluation.only_seed is not None:
        cells = [(analysis.model.name, evaluation.only_fold, evaluation.only_seed)]
        if evaluation.only_seed == 1:
            cells += [(baseline, evaluation.only_fold, 1) for baseline in analysis.baselines]
        return cells
    cells = [(analysis.model.name, fold, seed) for fold in folds for seed in range(1, evaluation.seeds + 1)]
    cells += [(baseline, fold, 1) for baseline in analysis.baselines for fold in folds]
    return cells + [(model, FINAL, 1) for model in (analysis.model.name, *analysis.baselines)]


def _training_nodes(
    workflow: pe.Workflow, analysis: Analysis, build: pe.Node, split: pe.Node, common: Mapping[str, Any]
) -> list[tuple[str, pe.Node]]:
    nodes = []
    for model, fold, seed in cells_of(analysis):
        place = "final" if fold == FINAL else f"fold-{fold}"
        neural = model == analysis.model.name
        node = pe.Node(
            TrainCell(unit=f"{model} {place} seed-{seed}", model=model, fold=fold, seed=seed, **common),
            name=re.sub(r"[^0-9A-Za-z]", "_", f"train_{model}_{place}_{seed}"),
            mem_gb=2.0 if neural else 1.0,
            n_procs=analysis.execution.omp_nthreads,
        )
        workflow.connect([(build, node, [("cohort", "cohort")]), (split, node, [("splits", "splits")])])
        nodes.append((model, node))
    return nodes


def _conclusions(
    workflow: pe.Workflow,
    analysis: Analysis,
    cohort: CohortPlan,
    reference: ReferencePlan,
    build: pe.Node,
    split: pe.Node,
    cells: Sequence[tuple[str, pe.Node]],
    cache_dir: Path,
    common: Mapping[str, Any],
) -> None:
    """Wire evaluation, maps, reference and summary."""
    every = pe.Node(utility.Merge(len(cells)), name="every_cell", run_without_submitting=True)
    own = [node for model, node in cells if model == analysis.model.name]
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
        ]
    )
    if not analysis.attribution.cpa:
        return
    maps = pe.Node(WriteMaps(unit="maps", **common), name="maps", mem_gb=1.5)
    if cohort.parcellation is not None:
        maps.inputs.parcellation = cohort.parcellation
    workflow.connect([(mine, maps, [("out", "cells")]), (build, maps, [("cohort", "cohort")])])
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
