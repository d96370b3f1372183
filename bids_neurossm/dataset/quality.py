"""One table of all runs of the output dataset: what is wanted when runs are to be chosen, or compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bids_neurossm.config import Selection
from bids_neurossm.dataset.series import SeriesFile, find_series
from bids_neurossm.errors import RunError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_json, write_rows

#: Entities that are columns of their own.
_ENTITIES = {
    "ses": ("session_id", "Session, without ses-."),
    "task": ("task_id", "Task, without task-."),
    "run": ("run_id", "Number of the run."),
    "space": ("space", "Space of the image."),
}
#: Key of the sidecar -> column and what it means.
_FACTS = {
    "DenoisingStrategy": ("strategy", "Denoising strategy."),
    "RepetitionTime": ("repetition_time", "In seconds."),
    "NumberOfVolumes": ("n_volumes", "Volumes of the image."),
    "NumberOfVolumesDropped": ("n_dropped", "Volumes dropped at the start."),
    "NumberOfVolumesCensored": ("n_censored", "Volumes dropped for motion."),
    "NumberOfVolumesKept": ("n_kept", "Volumes that are left."),
    "DegreesOfFreedom": ("degrees_of_freedom", "Those that denoising leaves to each regional series."),
    "MeanFramewiseDisplacement": ("mean_displacement", "Framewise displacement in mm, mean over all volumes."),
    "MaxFramewiseDisplacement": ("max_displacement", "Framewise displacement in mm, largest of all volumes."),
    "MeanStandardizedDVARS": ("mean_std_dvars", "Standardised DVARS, mean over all volumes."),
    "NumberOfOutlierVolumes": ("n_outliers", "Volumes above 0.5 mm or a standardised DVARS of 1.5."),
    "NumberOfRegionsUsed": ("n_regions_used", "Regions with enough coverage that are not constant."),
    "MeanCoverage": ("mean_coverage", "Share of a region's voxels that carry signal, mean over all regions."),
    "MedianTemporalSNR": ("median_tsnr", "Mean over standard deviation before denoising, median over used regions."),
}
_OTHERS = {
    "run": "Name of the recording.",
    "participant_id": "With sub-.",
    "atlas": "Atlas.",
    "n_regions": "Regions of the atlas.",
    "excluded": "Why group analyses leave the run out; n/a where they do not.",
    "detail": "The figures behind that reason.",
    "brain_mask": "Whether the image has a brain mask: yes or no; n/a on grayordinates.",
    "n_warnings": "Warnings in the sidecar of the series.",
}
_COLUMNS = (
    *("run", "participant_id"),
    *(name for name, _ in _ENTITIES.values()),
    *("atlas", "n_regions"),
    *(name for name, _ in _FACTS.values()),
    *("brain_mask", "excluded", "detail", "n_warnings"),
)


def write_quality_table(out_dir: Path) -> Path:
    """Gather the sidecars of all series of this program into ``quality.tsv``, one row per run, atlas and strategy.

    Parameters
    ----------
    out_dir : Path
        The output dataset. Runs that are not finished are passed over, and so are series of other programs, which have
        other sidecars.

    Returns
    -------
    Path
        The table, sorted by the names of the series; ``quality.json`` beside it describes its columns.
    """
    rows = []
    for each in find_series(out_dir, Selection()):
        try:
            facts = read_json_object(each.path.with_suffix(".json"), RunError)
        except RunError:
            continue  # written last: a run without a whole one is not finished, and is done again when it is asked for
        if "InputHash" in facts:
            rows.append([_cell(_row(each, facts).get(name)) for name in _COLUMNS])
    path = out_dir / "quality.tsv"
    write_rows(path, _COLUMNS, rows)
    described = {**_OTHERS, **dict(_ENTITIES.values()), **dict(_FACTS.values())}
    write_json(path.with_suffix(".json"), {name: {"Description": described[name]} for name in _COLUMNS})
    return path


def _row(file: SeriesFile, facts: Mapping[str, Any]) -> dict[str, Any]:
    exclusion = facts.get("Exclusion") or {}
    atlas = facts.get("Atlas") or {}
    return {
        "run": file.run,
        "participant_id": f"sub-{file.entities['sub']}",
        **{column: file.entities.get(name) for name, (column, _) in _ENTITIES.items()},
        "atlas": atlas.get("Name"),
        "n_regions": atlas.get("NumberOfRegions"),
        **{column: facts.get(name) for name, (column, _) in _FACTS.items()},
        "brain_mask": {True: "yes", False: "no"}.get(facts.get("BrainMask", "n/a")),
        "excluded": exclusion.get("Reason"),
        "detail": exclusion.get("Detail"),
        "n_warnings": len(facts.get("Warnings") or []),
    }


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
