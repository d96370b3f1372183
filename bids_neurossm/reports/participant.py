"""The report of one participant, ``OUT_DIR/sub-<label>.html``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.files.write import write_text
from bids_neurossm.reports.figures import runs
from bids_neurossm.reports.figures.canvas import Picture
from bids_neurossm.reports.html_tables import (
    Table,
    as_table,
    is_true,
    number,
    pairs_table,
    read_json,
    read_matrix,
    read_table,
)
from bids_neurossm.reports.methods import make_methods, series_text, write_citations
from bids_neurossm.reports.page import checked_label, error_table, render
from bids_neurossm.reports.run_files import RunFiles, find_runs, past_failures
from bids_neurossm.reports.series import explorer_data

#: Bytes of packed series in one page; the runs beyond it have their carpet alone.
_SERIES_BUDGET = 4_000_000


def write_participant_report(out_dir: Path, participant_label: str, errors: list[dict[str, Any]] | None = None) -> Path:
    """Write the report of a participant from what is on disk.

    Parameters
    ----------
    out_dir : Path
        Output dataset.
    participant_label : str
        With or without ``sub-``.
    errors : list of dict, optional
        What failed or was excluded: ``run``, ``kind``, ``message``, ``remedy``, all optional. Runs that failed in an
        earlier command and have no series since are added from the logs.

    Returns
    -------
    Path
        ``OUT_DIR/sub-<label>.html``, written in one step.

    Raises
    ------
    UsageError
        If the label is no BIDS label.
    RunError
        If a file that belongs to the report is damaged.
    OutputNotWritableError
        If the report can not be written.
    """
    label = checked_label(participant_label.removeprefix("sub-"), r"[0-9A-Za-z+]+", "participant label")
    runs = find_runs(out_dir, label)
    sections = [_run_section(out_dir, run) for run in runs]
    _keep_small(sections)
    told = {str(error.get("run")) for error in errors or []}
    failures = [*(errors or []), *(each for each in past_failures(out_dir, label, runs) if each["run"] not in told)]
    context = {
        "title": f"sub-{label}",
        "label": label,
        "runs": sections,
        "summary": _summary(sections) if sections else None,
        "errors": error_table(failures),
        "methods": make_methods([(section["name"], section["methods"]) for section in sections]),
        "versions": _versions(sections),
    }
    write_citations(out_dir)
    path = out_dir / f"sub-{label}.html"
    write_text(path, render("participant.html.j2", context, ("report.js", "series.js")))
    return path


def _run_section(out_dir: Path, run: RunFiles) -> dict[str, Any]:
    """Gather everything the template says about one run."""
    series = read_table(run.series)
    assert series is not None
    series = series.apply(pd.to_numeric, errors="coerce")
    sidecar = read_json(run.series.with_suffix(".json"))
    facts = sidecar or {}
    coverage = read_table(run.beside("stat-coverage_bold.tsv"))
    networks = _networks(list(series.columns), coverage)
    atlas = facts.get("Atlas") or {}
    return {
        "anchor": re.sub(r"[^0-9A-Za-z-]+", "-", f"{run.prefix}-{run.strategy}"),
        "title": run.title,
        "name": run.name,
        "facts": facts,
        "has_sidecar": sidecar is not None,
        "volumes": len(series),
        "regions": series.shape[1],
        "atlas": str(atlas.get("Name", "") if isinstance(atlas, dict) else atlas),
        "strategy": run.strategy,
        "carpet": _carpet(run, series, facts, networks) if len(series) else None,
        "explorer": _explorer(series, networks, facts) if len(series) else None,
        "has_displacement": run.outliers() is not None,
        **_coverage(out_dir, run, coverage),
        "connectivity": _connectivity(run, networks),
        **_prediction(run),
        "methods": series_text(facts, run.strategy, series.shape[1]) if sidecar else "",
        "exclusion": _exclusion(facts),
        "warnings": [str(text) for text in facts.get("Warnings") or []],
        "provenance": _provenance(facts),
    }


def _keep_small(sections: list[dict[str, Any]]) -> None:
    """Leave the explorer out of the runs that would make the page too large to open on a phone."""
    spent = 0
    for section in sections:
        spent += len(section["explorer"]["series"]) if section["explorer"] else 0
        section["too_large"] = bool(section["explorer"]) and spent > _SERIES_BUDGET
        if section["too_large"]:
            section["explorer"] = None


def _exclusion(facts: dict[str, Any]) -> str | None:
    """Return why the run should not be analysed, as the sidecar has it."""
    exclusion = facts.get("Exclusion")
    if not isinstance(exclusion, dict):
        return None
    return ": ".join(str(exclusion[key]) for key in ("Reason", "Detail") if exclusion.get(key))


def _networks(regions: list[str], coverage: pd.DataFrame | None) -> list[str]:
    """Return the network of each region, from the coverage table, else empty."""
    if coverage is None or not {"name", "network"} <= set(coverage.columns):
        return [""] * len(regions)
    known = dict(zip(coverage["name"].astype(str), coverage["network"].fillna("").astype(str), strict=True))
    return [known.get(region, "") for region in regions]


def _carpet(run: RunFiles, series: pd.DataFrame, facts: dict[str, Any], networks: list[str]) -> Picture:
    outliers = run.outliers()
    table = read_table(outliers) if outliers is not None else None
    displacement = kept = None
    if table is not None and "framewise_displacement" in table.columns:
        displacement = pd.to_numeric(table["framewise_displacement"], errors="coerce").to_numpy(dtype=np.float64)
        if "kept" in table.columns:
            kept = is_true(table["kept"]).to_numpy()
    return runs.carpet(
        series,
        networks,
        _positive(facts.get("RepetitionTime")),
        facts.get("Segments") or [],
        displacement,
        kept,
        _positive(facts.get("FramewiseDisplacementThreshold")),
    )


def _explorer(series: pd.DataFrame, networks: list[str], facts: dict[str, Any]) -> dict[str, Any] | None:
    values = series.to_numpy(dtype=np.float64)
    names = [str(name) for name in series.columns]
    time = _positive(facts.get("RepetitionTime"))
    return explorer_data(values, names, networks, time, facts.get("Segments") or [])


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _coverage(out_dir: Path, run: RunFiles, coverage: pd.DataFrame | None) -> dict[str, Any]:
    """Say which regions have signal, and where in the brain."""
    nothing: dict[str, Any] = {"coverage": None, "covered_share": None, "region_table": None, "coverage_maps": []}
    if coverage is None or "coverage" not in coverage.columns or coverage.empty:
        return nothing
    shares = coverage["coverage"].to_numpy(dtype=np.float64)
    used = is_true(coverage["used"]).to_numpy() if "used" in coverage.columns else shares > 0
    ordered = coverage.assign(used=np.where(used, "yes", "no")).sort_values("coverage", kind="stable")
    columns = {"name": "Region", "network": "Network", "used": "Used", "n_covered": "Voxels with signal"}
    columns |= {"n_voxels": "Voxels", "coverage": "Coverage", "mean": "Mean signal", "tsnr": "tSNR"}
    missing = len(used) - int(used.sum())
    return {
        "coverage": runs.coverage_histogram(shares, used),
        "covered_share": f"{int(used.sum())} of {len(used)}",
        "coverage_maps": _coverage_maps(out_dir, run, coverage),
        "region_table": as_table(
            ordered, f"n = {len(used)} regions, {missing} of them not used, the least covered first", columns,
            {"coverage": 2, "mean": 0, "tsnr": 1}, 1000, sortable=True, filters=("network", "used"),
        ),
    }  # fmt: skip


def _coverage_maps(out_dir: Path, run: RunFiles, coverage: pd.DataFrame) -> list[Picture]:
    """Draw coverage and temporal signal-to-noise on the cortex, where the label image of the atlas is at hand."""
    if "index" not in coverage.columns:
        return []
    # Drawing brains costs memory that a run of imported series need not have.
    from bids_neurossm.reports.viewer import find_labels, label_grid

    path = find_labels(out_dir, run.prefix)
    if path is None:
        return []
    from bids_neurossm.reports.figures.brain import MapStyle, brain_map, surface_map

    labels = label_grid(path)
    index = coverage["index"].to_numpy(dtype=np.int64)
    share = _painted(labels, index, coverage["coverage"].to_numpy(dtype=np.float64) * 100)
    style = MapStyle("Coverage", "Voxels of the region with signal (%)", top=100.0)
    note = f"n = {len(coverage)} regions of the atlas; grey has no region, or a region without any signal."
    pictures = [surface_map(share, style, f"Share of each region that has signal, {note}")]
    if "tsnr" in coverage.columns and coverage["tsnr"].notna().any():
        ratio = _painted(labels, index, pd.to_numeric(coverage["tsnr"], errors="coerce").to_numpy(dtype=np.float64))
        snr = MapStyle("Temporal signal-to-noise", "tSNR of the regional series (no unit)")
        pictures.append(surface_map(ratio, snr, f"Mean over standard deviation in time, before denoising, {note}"))
    return [*pictures, brain_map(share, style, f"Coverage in slices, subcortical regions included, {note}")]


def _painted(labels: np.ndarray, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Give every voxel the value of its region; NaN outside the regions of the table."""
    lookup = np.full(max(int(labels.max()), int(index.max(initial=0))) + 1, np.nan, dtype=np.float32)
    lookup[index] = values
    lookup[0] = np.nan
    return np.asarray(lookup[labels])


def _connectivity(run: RunFiles, networks: list[str]) -> list[Picture]:
    """Draw every matrix between regions that is on disk, the correlations first."""
    paths = run.first(rf"stat-[0-9A-Za-z+]+_desc-{re.escape(run.strategy)}_relmat\.tsv")
    pictures = []
    for path in sorted(paths, key=lambda each: "stat-pearsoncorrelation" not in each.name):
        found = read_matrix(path)
        assert found is not None
        names, matrix = found
        measure = str((read_json(path.with_suffix(".json")) or {}).get("RelationshipMeasure") or "Pearson correlation")
        groups = networks if len(networks) == len(names) else [""] * len(names)
        pictures.append(runs.connectivity(matrix.to_numpy(dtype=np.float64), groups, measure))
    return pictures


def _prediction(run: RunFiles) -> dict[str, Any]:
    """Show what each checkpoint said about the run, with its map."""
    shown = []
    for path in run.first(r"desc-[0-9A-Za-z+]+_prediction\.tsv"):
        table = read_table(path)
        assert table is not None
        label = path.name.removeprefix(run.prefix + "_desc-").removesuffix("_prediction.tsv")
        bars = None
        if {"class", "probability"} <= set(table.columns) and table["probability"].notna().any():
            bars = runs.class_probabilities(
                [str(name) for name in table["class"]], table["probability"].to_numpy(dtype=np.float64)
            )
        columns = {name: name.replace("_", " ").capitalize() for name in table.columns}
        shown.append({"label": label, "bars": bars, "table": as_table(table, f"Output of {label}", columns)})
    return {"predictions": shown, "maps": _prediction_maps(run)}


def _prediction_maps(run: RunFiles) -> list[Picture]:
    """Draw the CPA map of each checkpoint; most runs have none, and drawing brains takes time to import."""
    paths = run.first(r"stat-cpa_desc-[0-9A-Za-z+]+_boldmap\.nii(\.gz)?")
    if not paths:
        return []
    from bids_neurossm.reports.figures.brain import MapStyle, brain_map, surface_map
    from bids_neurossm.reports.figures.display_grid import on_display_grid

    maps = []
    for path in paths:
        label = re.sub(r"_boldmap\.nii(\.gz)?$", "", path.name.removeprefix(run.prefix + "_stat-cpa_desc-"))
        style = MapStyle(f"CPA map of {label}", "CPA score (share of the attribution)")
        values = on_display_grid(path)
        caption = f"Regions that carried the prediction of {label}, n = 1 run; a rank, not a test."
        maps += [surface_map(values, style, caption), brain_map(values, style, caption)]
    return maps


def _provenance(facts: dict[str, Any]) -> Table | None:
    """List where the series came from."""
    atlas = facts.get("Atlas")
    pairs: list[tuple[str, object]] = []
    if isinstance(atlas, dict):
        pairs += [(f"Atlas {key}", value) for key, value in atlas.items()]
    pairs += [("Source", source) for source in facts.get("Sources") or []]
    pairs += [("Hash of the inputs and settings", facts["InputHash"])] if facts.get("InputHash") else []
    return pairs_table("Where the series came from", pairs) if pairs else None


def _summary(sections: list[dict[str, Any]]) -> Table:
    """Return the table that compares the runs."""
    header = (
        "Run", "State", "Atlas", "Strategy", "Volumes read", "Dropped", "Censored", "Kept", "TR (s)",
        "Mean FD (mm)", "Max FD (mm)", "Regions used",
    )  # fmt: skip
    rows = []
    for section in sections:
        facts = section["facts"]
        rows.append(
            (
                section["name"],
                _state(section),
                section["atlas"] or "–",
                section["strategy"],
                number(facts.get("NumberOfVolumes")),
                number(facts.get("NumberOfVolumesDropped")),
                number(facts.get("NumberOfVolumesCensored")),
                number(section["volumes"]),
                number(facts.get("RepetitionTime"), 3),
                number(facts.get("MeanFramewiseDisplacement"), 3),
                number(facts.get("MaxFramewiseDisplacement"), 3),
                section["covered_share"] or "–",
            )
        )
    numeric = (False, False, False, False, True, True, True, True, True, True, True, True)
    return Table(f"Runs of this participant (n = {len(rows)})", header, tuple(rows), numeric)


def _state(section: dict[str, Any]) -> str:
    if section["exclusion"]:
        return f"excluded, {section['exclusion'].split(':')[0]}"
    return f"{len(section['warnings'])} warning(s)" if section["warnings"] else "done"


def _versions(sections: list[dict[str, Any]]) -> Table | None:
    """List the software, every version that any run names."""
    found: dict[str, set[str]] = {}
    for section in sections:
        for name, version in (section["facts"].get("SoftwareVersions") or {}).items():
            found.setdefault(str(name), set()).add(str(version))
    if not found:
        return None
    pairs = [(name, ", ".join(sorted(versions))) for name, versions in sorted(found.items())]
    return pairs_table("Software", pairs, ("Software", "Version"))
