"""Planning a group analysis: series, labels, exclusions, atlas, reference; nothing is trained and nothing written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas import Parcellation
from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.atlas.tables import network_of, read_label_table
from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.splitting import wanted_splits
from bids_neurossm.config import ModelSpec, RunConfig, TargetType, Training
from bids_neurossm.dataset.companions import LABEL_TABLE, Folders, find_companion
from bids_neurossm.dataset.names import class_labels, parse_name, sanitised_label
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.dataset.query import DENSE_SPACE
from bids_neurossm.dataset.series import (
    SeriesFile,
    common_regions,
)
from bids_neurossm.errors import LabelError, ResourceMissingError, UsageError
from bids_neurossm.interfaces.cohort import Shortest
from bids_neurossm.phenotype.labels import parse_target
from bids_neurossm.planning.baselines import choose_baselines
from bids_neurossm.planning.cohort_plan import CohortPlan, ReferencePlan
from bids_neurossm.planning.encoder import with_encoder
from bids_neurossm.planning.labels import label_runs, plain_rows
from bids_neurossm.planning.reference import atlas_by_name, plan_reference
from bids_neurossm.planning.same_series import atlas_drawing, other_drawing, same_series
from bids_neurossm.planning.series import series_of
from bids_neurossm.registry import LEAST_BINS, blaming, model_entry, model_names
from bids_neurossm.training.recipes import load_recipe

#: Entities of the series that the name of an analysis leaves out, or has in its atlas and its strategy.
_NOT_NAMED = ("cohort", "space", "atlas", "seg", "scale", "res", "den", "stat", "desc")


@dataclass(frozen=True)
class GroupPlan:
    """A group analysis that is ready to run."""

    analysis: Analysis
    cohort: CohortPlan
    reference: ReferencePlan
    source: Path
    labels_from: str


def plan_group(config: RunConfig) -> GroupPlan:
    """Find everything that an analysis needs.

    Raises
    ------
    NeuroSSMError
        If something is missing or can not be used; the message says what mends it.
    """
    if config.evaluation.target is None:
        raise UsageError(
            "The group level needs --target: a column of participants.tsv, phenotype/FILE:COLUMN, or entity:task."
        )
    target = parse_target(config.evaluation.target)
    _require_device(config)
    spec, training = plan_model(config)
    series = series_of(config, target)
    source, files = series.source, series.files
    strategy = str(files[0].sidecar.get("DenoisingStrategy") or files[0].entities.get("desc", ""))
    labelled = label_runs(config, target, files, source)
    kept, target_type = labelled.runs, labelled.target_type
    with _hinted(labelled.notes):
        told = f"--target {target.text} ({labelled.source})"
        classes = _classes(kept["label"], told) if target_type == "class" else []
        baselines = choose_baselines(config, kept, spec.name, target_type)
        splits = _checked_splits(config, kept, classes, target_type)
        evaluation = replace(config.evaluation, folds=splits.folds, repeats=splits.repeats)
    used = set(kept["run"])
    notes = same_series([file for file in files if file.run in used], config.evaluation.allow_mixed_settings)
    regions = common_regions(files, same_parcels)
    parcellation, image_notes = parcellation_of(config, source, files[0], regions)
    entities = {name: value for name, value in files[0].kind if name not in ("stat", "desc")}
    identifier = config.analysis_id or series_identifier(target.column, spec.name, entities, strategy)
    analysis = Analysis(
        outputs=GroupOutputs(config.out_dir, identifier, entities),
        level=target.level,
        model=spec,
        baselines=baselines,
        training=training,
        evaluation=evaluation,
        execution=config.execution,
        attribution=config.attribution,
        reference=config.reference,
        covariates=labelled.covariates,
        recipe_path=config.model.recipe,
    )
    atlas_name = "".join(entities.get(key, "") for key in ("atlas", "seg", "scale"))
    cohort = CohortPlan(
        runs=plain_rows(kept),
        excluded=[*series.excluded, *labelled.listed],
        regions=regions,
        networks=parcellation.networks if parcellation else [network_of(name) for name in regions],
        target_type=target_type,
        classes=classes,
        shortest=shortest_run(spec, kept),
        max_uncovered=config.extraction.max_uncovered,
        extra={
            "target": target.text,
            "atlas": parcellation.name if parcellation else atlas_name,
            "atlas_sha256": parcellation.sha256 if parcellation else "",
            "atlas_drawing": atlas_drawing(files, parcellation),
            "denoise": strategy,
            "space": entities.get("space", ""),
            "notes": [*series.notes, *labelled.notes, *notes, *image_notes],
        },
        parcellation=parcellation,
    )
    reference = plan_reference(config, classes, parcellation, entities)
    return GroupPlan(analysis, cohort, reference, source, labelled.source)


@contextmanager
def _hinted(notes: Sequence[str]) -> Iterator[None]:
    """Add to an error about labels what was noticed about missing values."""
    try:
        yield
    except LabelError as error:
        hints = [note for note in notes if "--missing-values" in note]
        if hints:
            raise LabelError(f"{error} {' '.join(hints)}") from error
        raise


def _classes(labels: pd.Series[Any], told: str) -> list[str]:
    """Sort the classes out.

    Raises
    ------
    LabelError
        If there is one only, or two can not be told apart in the name of a file.
    """
    classes = sorted(labels.astype(str).unique())
    if len(classes) < 2:
        raise LabelError(f"{told} has one class among the {len(labels)} usable runs, {classes[0]!r}; two are needed.")
    try:
        class_labels(classes)
    except UsageError as error:
        raise LabelError(f"{told}: {error}") from error
    return classes


def plan_model(config: RunConfig) -> tuple[ModelSpec, Training]:
    """Read the recipe; what was said explicitly wins over it."""
    if config.model.name not in model_names():
        raise UsageError(f"--model {config.model.name} is not known; known are {', '.join(model_names())}.")
    settings, training = load_recipe(config.model.recipe)
    # Outputs name the recipe; its place belongs to this machine.
    spec = ModelSpec(config.model.name, Path(config.model.recipe).name, {**settings, **config.model.settings})
    return with_encoder(config, spec), replace(training, **config.training)


def _checked_splits(config: RunConfig, runs: pd.DataFrame, classes: Sequence[str], kind: TargetType) -> Splits:
    """Split the runs as asked, before anything is read.

    Raises
    ------
    LabelError
        If they can not.
    """
    splits = wanted_splits(config.evaluation, runs, classes, kind, config.execution.random_seed)
    asked = config.evaluation.only_fold
    if asked is not None and asked > splits.folds:
        raise UsageError(f"--only-fold {asked} does not exist: there are {splits.folds} folds.")
    if config.evaluation.harmonise is not None and (runs["site"].astype(str) == "").all():
        raise LabelError("--harmonise combat needs a column site in the table of participants; it has none.")
    return splits


def shortest_run(spec: ModelSpec, runs: pd.DataFrame) -> Shortest:
    """Tell how long a run has to be for a model: eight of its largest bins.

    Parameters
    ----------
    spec : ModelSpec
        With the settings of the recipe.
    runs : DataFrame
        With ``run`` and ``repetition_time`` in s.

    Raises
    ------
    UsageError
        If bins are in seconds and a run states no repetition time, or a longer one than the smallest bin.
    """
    entry = model_entry(spec.name)
    with blaming(spec.name, entry.package):
        bins = entry.bins(spec.settings)
    if not bins.in_seconds:
        return Shortest(LEAST_BINS * bins.largest, "volumes")
    unknown = runs[runs["repetition_time"].isna()]["run"]
    if len(unknown):
        raise UsageError(
            f"The recipe's times are in seconds, and {len(unknown)} of {len(runs)} runs state no repetition time (the "
            f"first is {unknown.iloc[0]}): write RepetitionTime into their sidecars, or set model.scale_unit to "
            "'time points'."
        )
    longest = float(runs["repetition_time"].max())
    # Repetition times are rounded.
    if bins.smallest < longest * (1 - 1e-4):
        raise UsageError(
            f"The recipe's shortest time is {bins.smallest:g} s, the cohort's longest repetition time {longest:g} s: "
            "no model can be finer than the data."
        )
    return Shortest(LEAST_BINS * bins.largest, "seconds")


def series_identifier(target: str, model: str, entities: Mapping[str, str], strategy: str) -> str:
    """Name an analysis by its target, model, atlas, denoising strategy, and what else tells its series from others."""
    atlas = "-".join(sanitised_label(entities[name]) for name in ("atlas", "seg", "scale") if entities.get(name))
    named = [sanitised_label(part) or "x" for part in (target, model, strategy or "asis")]
    others = [sanitised_label(label) for name, label in entities.items() if name not in _NOT_NAMED]
    return "_".join([named[0], named[1], atlas or "series", "-".join([named[2], *others])])


def parcellation_of(
    config: RunConfig, source: Path, file: SeriesFile, regions: Sequence[str]
) -> tuple[Parcellation | None, list[str]]:
    """Find the atlas of the series: in their dataset, else by its name; without one there are no images."""
    space = file.entities.get("space")
    wanted = {name: file.entities[name] for name in ("atlas", "seg", "scale") if name in file.entities}
    reason = "the names of the series state no space" if space is None else "no atlas image was found for them"
    if space is not None and wanted:
        try:
            found = _atlas_in(source, space, wanted) or atlas_by_name(config, wanted, space)
        except ResourceMissingError as error:
            found, reason = None, str(error)
        if found is not None and same_parcels(found.names, regions):
            other = other_drawing(found, file)
            if other is None:
                return found, []
            reason = other
        elif found is not None:
            reason = f"the regions of {found.image_file.name} are not the columns of the series"
    return None, [f"No NIfTI maps and no reference: {reason}."]


def _atlas_in(dataset: Path, space: str, wanted: Mapping[str, str]) -> Parcellation | None:
    """Take the atlas that the participant level left in its dataset."""
    kinds = ("*_dseg.dlabel.nii", "*_dseg.dscalar.nii") if space == DENSE_SPACE else ("*_dseg.nii.gz",)
    images = [path for kind in kinds for path in sorted((dataset / f"tpl-{space}").glob(kind))]
    for image in images or [path for kind in kinds for path in sorted(dataset.glob(f"tpl-*/{kind}"))]:
        entities, _, _ = parse_name(image)
        if wanted.items() <= entities.items():
            table = find_companion(image, LABEL_TABLE, Folders(), ResourceMissingError)
            if table is None:
                raise ResourceMissingError(f"There is no label table for {image}; run the participant level again.")
            labels = read_label_table(table)
            return Parcellation(
                dict(wanted), entities["tpl"], image, table, labels.labels, labels.names, labels.networks
            )
    return None


def _require_device(config: RunConfig) -> None:
    """Find out about a missing GPU before anything is read; torch is imported only where one was asked for."""
    if config.execution.device == "cuda":
        from bids_neurossm.training.device import torch_device

        torch_device(config.execution.device)


def refuse_checkpoint(config: RunConfig) -> None:
    """Say that a checkpoint is applied at the participant level; an encoder is fine-tuned at the group level."""
    if config.evaluation.checkpoint is not None and not model_entry(config.model.name).is_patch_based:
        raise UsageError(
            "--checkpoint belongs to the participant level; the group level trains its own models (only those with an "
            "encoder, such as --model lmae-rwmoe, take a pretrained one)."
        )
