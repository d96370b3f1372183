"""Planning a pretraining on its own: which runs, which encoder, and where it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.atlas.tables import network_of
from bids_neurossm.config import RunConfig
from bids_neurossm.dataset.names import sanitised_label
from bids_neurossm.dataset.outputs import GroupOutputs
from bids_neurossm.dataset.series import common_regions
from bids_neurossm.errors import NoInputError
from bids_neurossm.interfaces.pretraining import encoder_file
from bids_neurossm.planning.cohort_plan import CohortPlan
from bids_neurossm.planning.encoder import refuse_pretraining, wants_encoder_only
from bids_neurossm.planning.group import parcellation_of, plan_model, series_identifier, shortest_run
from bids_neurossm.planning.labels import run_facts
from bids_neurossm.planning.same_series import atlas_drawing, same_series
from bids_neurossm.planning.series import series_of
from bids_neurossm.registry import model_entry


@dataclass(frozen=True)
class PretrainingPlan:
    """An encoder that is ready to be pretrained."""

    analysis: Analysis
    cohort: CohortPlan
    source: Path

    @property
    def encoder(self) -> Path:
        """Where it will be."""
        return encoder_file(self.analysis.outputs.models)


def plan_pretraining(config: RunConfig) -> PretrainingPlan:
    """Find the series that an encoder is pretrained on.

    Raises
    ------
    UsageError
        If the model has no encoder, or the recipe does not fit it or the series.
    NoInputError
        If there are no series.
    """
    refuse_pretraining(config, config.model.name)
    spec, training = plan_model(
        replace(config, evaluation=replace(config.evaluation, pretrain=False, pretrain_from=None))
    )
    series = series_of(_looking_in(config))
    source, files = series.source, series.files
    wanted = config.evaluation.pretrain_from
    if wanted is not None and source != wanted:
        raise NoInputError(f"There is no *_timeseries.tsv of the wanted runs in {wanted}, which --pretrain-from names.")
    used = [file for file in files if not file.sidecar.get("Exclusion")]
    notes = same_series(used, config.evaluation.allow_mixed_settings)
    rows = [
        # A cohort has labels; nothing looks at these.
        {**run_facts(file), "label": 0.0}
        for file in used
    ]
    if not rows:
        raise NoInputError(f"All {len(files)} runs in {source} were excluded at the participant level.")
    regions = list(common_regions(files, same_parcels))
    parcellation, _ = parcellation_of(config, source, files[0], regions)
    entities = {name: value for name, value in files[0].kind if name not in ("stat", "desc")}
    strategy = str(files[0].sidecar.get("DenoisingStrategy") or files[0].entities.get("desc", ""))
    family = model_entry(spec.name).joins or spec.name
    identifier = series_identifier("encoder", family, entities, strategy)
    if wants_encoder_only(config) and config.analysis_id:
        identifier = config.analysis_id
    elif wanted is not None:
        identifier = f"{identifier}_{sanitised_label(wanted.name) or 'series'}"
    analysis = Analysis(
        GroupOutputs(config.out_dir, identifier, entities), "run", spec, (), training, config.evaluation,
        config.execution, config.attribution, config.reference,
    )  # fmt: skip
    named = "".join(entities.get(key, "") for key in ("atlas", "seg", "scale"))
    cohort = CohortPlan(
        runs=rows,
        excluded=series.excluded,
        regions=regions,
        networks=list(parcellation.networks) if parcellation else [network_of(name) for name in regions],
        target_type="continuous",
        classes=[],
        shortest=shortest_run(spec, pd.DataFrame(rows)),
        max_uncovered=config.extraction.max_uncovered,
        extra={
            "atlas": parcellation.name if parcellation else named,
            "atlas_sha256": parcellation.sha256 if parcellation else "",
            "atlas_drawing": atlas_drawing(files, parcellation),
            "denoise": strategy,
            "notes": notes,
        },
    )
    return PretrainingPlan(analysis, cohort, source)


def _looking_in(config: RunConfig) -> RunConfig:
    """Return the configuration with the dataset of ``--pretrain-from`` as the first place to look for series."""
    wanted = config.evaluation.pretrain_from
    if wanted is None or wanted.resolve() == config.out_dir.resolve():
        return config
    return replace(config, out_dir=wanted, bids_dir=config.out_dir, selection=replace(config.selection, derivatives={}))
