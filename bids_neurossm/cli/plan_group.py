"""Planning a group analysis: series, labels, exclusions, atlas, reference; nothing is trained and nothing written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.atlas import Parcellation
from bids_neurossm.atlas.catalogue import atlas_entities
from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.atlas.tables import network_of, read_label_table
from bids_neurossm.cli.plan_baselines import choose_baselines
from bids_neurossm.cli.plan_pretraining import shortest_for_patches, with_encoder
from bids_neurossm.cli.plan_reference import atlas_by_name, plan_reference
from bids_neurossm.config import Evaluation, ModelSpec, RunConfig, Training
from bids_neurossm.dataset.labels import (
    TargetType,
    find_table,
    join,
    parse_target,
    read_participants,
    read_target,
    source_datasets,
)
from bids_neurossm.dataset.names import parse_name, sanitised_label, sanitised_labels
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.dataset.query import DENSE_SPACE
from bids_neurossm.dataset.series import (
    SeriesFile,
    choose_kind,
    common_regions,
    find_series,
    label_entities,
    with_sidecars,
)
from bids_neurossm.errors import LabelError, NoInputError, ResourceMissingError, UsageError
from bids_neurossm.interfaces.analysis import Analysis
from bids_neurossm.interfaces.cohort import Shortest, series_facts, wanted_splits
from bids_neurossm.signal.strategy import load_strategy
from bids_neurossm.training.estimator import SECOND_FAMILY, STATIC, is_second_family, registered_models
from bids_neurossm.training.recipes import load_recipe
from bids_neurossm.workflows.group import CohortPlan, ReferencePlan

#: Columns that the covariate baseline takes where a table has them.
_COVARIATES = ("age", "sex", "gender", "site")
_SITE_COLUMNS = ("site", "site_id", "SITE_ID", "Site", "scanner")


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
    source, files = series_of(config)
    strategy = str(files[0].sidecar.get("DenoisingStrategy") or files[0].entities.get("desc", ""))
    labelled, target_type, labels_from = _labelled(config, files)
    kept, excluded = _excluded(labelled)
    if kept.empty:
        reasons = "; ".join(sorted({str(row["reason"]) for row in excluded}))
        raise LabelError(f"None of the {len(labelled)} runs can be used for --target {target.text}: {reasons}.")
    classes = _classes(kept["label"], f"--target {target.text} ({labels_from})") if target_type == "class" else []
    regions = common_regions(files, same_parcels)
    parcellation, notes = parcellation_of(config, source, files[0], regions)
    entities = {name: value for name, value in files[0].kind if name not in ("stat", "desc")}
    identifier = config.analysis_id or series_identifier(target.column, spec.name, entities, strategy)
    covariates = tuple(name for name in _covariates(config, kept) if name not in ("label", target.column))
    analysis = Analysis(
        outputs=GroupOutputs(config.out_dir, identifier, entities),
        level=target.level,
        model=spec,
        baselines=choose_baselines(config, kept, spec.name, target_type),
        training=training,
        evaluation=_checked_evaluation(config, kept, classes, target_type),
        execution=config.execution,
        attribution=config.attribution,
        reference=config.reference,
        covariates=covariates,
    )
    atlas_name = "".join(entities.get(key, "") for key in ("atlas", "seg", "scale"))
    cohort = CohortPlan(
        runs=_plain(kept),
        excluded=excluded,
        regions=regions,
        networks=parcellation.networks if parcellation else [network_of(name) for name in regions],
        target_type=target_type,
        classes=classes,
        shortest=_shortest(spec, kept),
        max_uncovered=config.extraction.max_uncovered,
        extra={
            "target": target.text,
            "atlas": parcellation.name if parcellation else atlas_name,
            "atlas_sha256": parcellation.sha256 if parcellation else "",
            "denoise": strategy,
            "space": entities.get("space", ""),
            "notes": notes,
        },
        parcellation=parcellation,
    )
    reference = plan_reference(config, classes, parcellation, entities)
    return GroupPlan(analysis, cohort, reference, source, labels_from)


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
    alike = pd.Series(classes, index=[name.casefold() for name in classes], dtype=str)
    if alike.index.has_duplicates:
        pair = " and ".join(repr(name) for name in alike[alike.index.duplicated(keep=False)].iloc[:2])
        raise LabelError(f"{told} has the classes {pair}: spell one class in one way.")
    sanitised_labels(classes, "class")
    return classes


def plan_model(config: RunConfig) -> tuple[ModelSpec, Training]:
    """Read the recipe; what was said explicitly wins over it."""
    if config.model.name not in registered_models():
        raise UsageError(f"--model {config.model.name} is not known; known are {', '.join(registered_models())}.")
    settings, training = load_recipe(config.model.recipe)
    spec = ModelSpec(config.model.name, config.model.recipe, {**settings, **config.model.settings})
    return with_encoder(config, spec), replace(training, **config.training)


def _checked_evaluation(config: RunConfig, runs: pd.DataFrame, classes: Sequence[str], kind: TargetType) -> Evaluation:
    """Make sure that the runs can be split as asked, and count the folds and re-splits that come out.

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
    return replace(config.evaluation, folds=splits.folds, repeats=splits.repeats)


def _shortest(spec: ModelSpec, runs: pd.DataFrame) -> Shortest:
    """Tell how long a run has to be for the model: eight times its largest scale.

    Raises
    ------
    UsageError
        If scales are in seconds and a run states no repetition time, or a longer one than the smallest scale.
    """
    if is_second_family(spec.name):
        return shortest_for_patches(spec, runs)
    if not spec.name.startswith("neurossm"):
        return Shortest(8, "volumes")
    scales = tuple(spec.settings.get("scales", (1, 2, 4)))
    if spec.settings.get("scale_unit", "time points") != "seconds":
        return Shortest(8 * max(scales), "volumes")
    unknown = runs[runs["repetition_time"].isna()]["run"]
    if len(unknown):
        raise UsageError(
            f"The recipe's scales are in seconds, and {len(unknown)} of {len(runs)} runs state no repetition time (the "
            f"first is {unknown.iloc[0]}): write RepetitionTime into their sidecars, or use scales in time points."
        )
    longest = float(runs["repetition_time"].max())
    if min(scales) < longest:
        raise UsageError(
            f"The recipe's smallest scale is {min(scales)} s, the cohort's longest repetition time {longest} s: "
            "no scale may be finer than the data."
        )
    return Shortest(8 * max(scales), "seconds")


def series_of(config: RunConfig) -> tuple[Path, list[SeriesFile]]:
    """Find the series: in the output dataset, else in BIDS_DIR or another dataset that was named.

    Raises
    ------
    NoInputError
        If there are none.
    UsageError
        If several kinds are there and no option chooses.
    """
    places = [config.out_dir, config.bids_dir, *config.selection.derivatives.values()]
    source, found = next(
        ((place, files) for place in places if (files := find_series(place, config.selection))), (config.bids_dir, [])
    )
    if not found:
        listed = " or ".join(str(place) for place in dict.fromkeys(places))
        raise NoInputError(
            f"There is no *_timeseries.tsv of the wanted runs in {listed}; run the participant level first, or give a "
            "dataset that has series."
        )
    if len(config.extraction.atlas) > 1:
        raise UsageError("The group level takes one --atlas; run it once for each.")
    extraction = config.extraction
    atlas = strategy = None
    if extraction.atlas:
        # Other programs have names of their own for atlases and strategies: those of the files come first.
        name = extraction.atlas[0]
        atlas = label_entities(found, name) or atlas_entities(name, extraction.atlas_space)
    if extraction.denoise:
        known = any(each.entities.get("desc") == extraction.denoise for each in found)
        strategy = extraction.denoise if known else load_strategy(extraction.denoise).name
    chosen = choose_kind(found, atlas, strategy, source)
    recordings = [config.bids_dir, *config.selection.derivatives.values(), *source_datasets(source)]
    return source, with_sidecars(chosen, list(dict.fromkeys(recordings)))


def run_facts(file: SeriesFile) -> dict[str, Any]:
    """Return what a cohort keeps of a run besides its label, with the path of its series."""
    return {
        "run": file.run,
        "participant_id": file.entities["sub"],
        "session_id": file.entities.get("ses", ""),
        "task_id": file.entities.get("task", ""),
        "run_id": file.entities.get("run", ""),
        "path": str(file.path),
        **series_facts(file),
    }


def _labelled(config: RunConfig, files: Sequence[SeriesFile]) -> tuple[pd.DataFrame, Any, str]:
    """Put runs, labels and covariates into one table."""
    evaluation = config.evaluation
    target = parse_target(evaluation.target or "")
    rows = [
        {
            **run_facts(file),
            "exclusion": file.sidecar.get("Exclusion"),
            **({"label": file.entities.get(target.column)} if target.kind == "entity" else {}),
        }
        for file in files
    ]
    runs = pd.DataFrame(rows)
    labels_from = "file names"
    wanted = [*evaluation.covariates, *filter(None, (evaluation.group_by, evaluation.leave_out))]
    if target.kind != "entity" or wanted:
        told = target if target.kind != "entity" else parse_target(wanted[0])
        path = find_table(told, evaluation.participants_file, config.bids_dir, config.selection.derivatives)
        table = read_participants(path)
        offered = (*_COVARIATES, *_SITE_COLUMNS) if target.kind != "entity" else _SITE_COLUMNS
        known = [name for name in offered if name in table.columns and name != target.column]
        # --leave-out site is meant whatever the lab calls the column.
        absent = [] if "site" in table.columns or not any(name in _SITE_COLUMNS for name in known) else ["site"]
        extra = [name for name in wanted if name not in absent]
        label = [target.column] if target.kind != "entity" else []
        runs = join(runs, table, [*label, *extra, *known], path)
        if label:
            labels_from = str(path)
            runs = runs.rename(columns={target.column: "label"})
    site = next((name for name in _SITE_COLUMNS if name in runs.columns), None)
    runs["site"] = runs[site].fillna("") if site else ""
    group = runs[evaluation.group_by].fillna("") if evaluation.group_by else pd.Series("", index=runs.index)
    runs["group"] = group.where(group != "", runs["participant_id"])
    runs["label"], target_type = read_target(runs["label"], evaluation.target_type, target.text)
    return runs, target_type, labels_from


def _excluded(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Leave out runs that the participant level excluded, and those without a label."""
    excluded = []
    keep = []
    for row in runs.to_dict(orient="records"):
        reason = None
        if isinstance(row["exclusion"], Mapping):
            reason = (row["exclusion"].get("Reason", "excluded"), row["exclusion"].get("Detail", ""))
        elif pd.isna(row["label"]):
            reason = ("no label", "the table has no value for this participant")
        keep.append(reason is None)
        if reason:
            run, participant = str(row["run"]), str(row["participant_id"])
            excluded.append({"run": run, "participant_id": participant, "reason": reason[0], "detail": reason[1]})
    return runs[keep].drop(columns="exclusion").reset_index(drop=True), excluded


def _covariates(config: RunConfig, runs: pd.DataFrame) -> list[str]:
    wanted = [name for name in _COVARIATES if name in runs.columns and (runs[name].astype(str) != "").any()]
    return list(dict.fromkeys([*wanted, *config.evaluation.covariates]))


def _plain(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into rows of plain values, which Nipype can hash; numbers stay numbers."""
    table = runs.copy()
    fixed = ("run", "participant_id", "session_id", "task_id", "run_id", "path", "segments", "site", "group", "label")
    for name in table.columns:
        if name not in fixed:
            numbers = pd.to_numeric(table[name], errors="coerce")
            table[name] = numbers if numbers.notna().sum() == table[name].notna().sum() else table[name].fillna("")
    return [{str(key): value for key, value in row.items()} for row in table.to_dict(orient="records")]


def series_identifier(target: str, model: str, entities: Mapping[str, str], strategy: str) -> str:
    """Name an analysis by its target, model, atlas and denoising strategy."""
    atlas = "-".join(sanitised_label(entities[name]) for name in ("atlas", "seg", "scale") if entities.get(name))
    named = [sanitised_label(part) or "x" for part in (target, model, strategy or "asis")]
    return "_".join([named[0], named[1], atlas or "series", named[2]])


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
            return found, []
        if found is not None:
            reason = f"the regions of {found.image_file.name} are not the columns of the series"
    return None, [f"No NIfTI maps and no reference: {reason}."]


def _atlas_in(dataset: Path, space: str, wanted: Mapping[str, str]) -> Parcellation | None:
    """Take the atlas that the participant level left in its dataset."""
    kinds = ("*_dseg.dlabel.nii", "*_dseg.dscalar.nii") if space == DENSE_SPACE else ("*_dseg.nii.gz",)
    images = [path for kind in kinds for path in sorted((dataset / f"tpl-{space}").glob(kind))]
    for image in images or [path for kind in kinds for path in sorted(dataset.glob(f"tpl-*/{kind}"))]:
        entities, _, _ = parse_name(image)
        if wanted.items() <= entities.items():
            stem = {name: value for name, value in entities.items() if name not in ("res", "den")}
            table = image.with_name("_".join(f"{name}-{value}" for name, value in stem.items()) + "_dseg.tsv")
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
    if config.evaluation.checkpoint is not None and not is_second_family(config.model.name):
        raise UsageError(
            "--checkpoint belongs to the participant level; the group level trains its own models (only --model "
            f"{SECOND_FAMILY} and {SECOND_FAMILY}{STATIC} take a pretrained encoder)."
        )
