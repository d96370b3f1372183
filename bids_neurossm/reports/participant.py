"""The report of one participant, ``OUT_DIR/sub-<label>.html``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.dataset.write import write_text
from bids_neurossm.reports import run_figures
from bids_neurossm.reports.brain import MapStyle, brain_map, on_display_grid
from bids_neurossm.reports.canvas import Picture
from bids_neurossm.reports.page import atlas_citation, checked_label, citations, error_table, render
from bids_neurossm.reports.tables import Table, as_table, number, pairs_table, read_json, read_matrix, read_table

_SERIES = re.compile(r"(?P<prefix>.+)_stat-mean_desc-(?P<strategy>[0-9A-Za-z+]+)_timeseries\.tsv")


@dataclass(frozen=True)
class RunFiles:
    """The files that one run left in OUT_DIR under one atlas and one denoising strategy.

    Parameters
    ----------
    series : Path
        ``*_stat-mean_desc-<strategy>_timeseries.tsv``.
    prefix, strategy : str
        Name up to ``_stat-mean``; name of the strategy.
    """

    series: Path
    prefix: str
    strategy: str

    @property
    def source(self) -> str:
        """Name of the BOLD run, without what this package added."""
        return self.prefix.split("_space-")[0].split("_atlas-")[0]

    @property
    def title(self) -> str:
        """What tells this run from the participant's others."""
        entities = [entity for entity in self.prefix.split("_") if not entity.startswith("sub-")]
        return " ".join([*entities, f"desc-{self.strategy}"])

    @property
    def name(self) -> str:
        """Short name: session, task, run and the like."""
        return " ".join(self.source.split("_")[1:]) or self.source

    def beside(self, ending: str) -> Path:
        """Return the path of a sibling with the same prefix."""
        return self.series.with_name(f"{self.prefix}_{ending}")

    def first(self, pattern: str) -> list[Path]:
        """Return the siblings whose ending fits a pattern, sorted."""
        ending = re.compile(re.escape(self.prefix + "_") + pattern)
        return sorted(path for path in self.series.parent.iterdir() if ending.fullmatch(path.name))

    def outliers(self) -> Path | None:
        """Return the table of framewise displacement; motion knows no atlas, so it may be named after the run."""
        ending = f"_desc-{self.strategy}_outliers.tsv"
        spaced = self.prefix.split("_atlas-")[0]
        candidates = (self.series.with_name(start + ending) for start in (self.prefix, spaced, self.source))
        return next((path for path in candidates if path.is_file()), None)


def find_runs(out_dir: Path, participant_label: str) -> list[RunFiles]:
    """List the runs of a participant that have time series, sorted by name."""
    folder = out_dir / f"sub-{participant_label}"
    found = []
    for path in sorted([*folder.glob("func/*_timeseries.tsv"), *folder.glob("ses-*/func/*_timeseries.tsv")]):
        match = _SERIES.fullmatch(path.name)
        if match:
            found.append(RunFiles(path, match["prefix"], match["strategy"]))
    return found


def write_participant_report(out_dir: Path, participant_label: str, errors: list[dict[str, Any]] | None = None) -> Path:
    """Write the report of a participant from what is on disk.

    Parameters
    ----------
    out_dir : Path
        Output dataset.
    participant_label : str
        With or without ``sub-``.
    errors : list of dict, optional
        What failed or was excluded: ``run``, ``kind``, ``message``, ``remedy``, all optional.

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
    sections = [_run_section(run) for run in runs]
    atlases = {section["atlas"] for section in sections}
    references = citations("NeuroSSM", "fMRIPrep", "nilearn")
    for atlas in sorted(atlases):
        references += [text for text in atlas_citation(atlas) if text not in references]
    context = {
        "title": f"sub-{label}",
        "label": label,
        "runs": sections,
        "summary": _summary(sections) if sections else None,
        "errors": error_table(errors),
        "versions": _versions(sections),
        "citations": references,
    }
    path = out_dir / f"sub-{label}.html"
    write_text(path, render("participant.html.j2", context))
    return path


def _run_section(run: RunFiles) -> dict[str, Any]:
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
        "has_displacement": run.outliers() is not None,
        **_coverage(coverage),
        "connectivity": _connectivity(run, networks),
        **_prediction(run),
        "methods": _methods(facts, run.strategy, series.shape[1]) if sidecar else None,
        "exclusion": _exclusion(facts),
        "warnings": [str(text) for text in facts.get("Warnings") or []],
        "provenance": _provenance(facts),
    }


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
            kept = _is_true(table["kept"])
    return run_figures.carpet(
        series,
        networks,
        _positive(facts.get("RepetitionTime")),
        facts.get("Segments") or [],
        displacement,
        kept,
        _positive(facts.get("FramewiseDisplacementThreshold")),
    )


def _is_true(column: pd.Series[Any]) -> np.ndarray:
    """Read a column of truth values, written as words or as numbers."""
    return np.asarray(column.astype(str).str.lower().isin(["true", "1", "1.0", "yes"]))


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _coverage(coverage: pd.DataFrame | None) -> dict[str, Any]:
    """Say which regions have signal."""
    nothing: dict[str, Any] = {"coverage": None, "uncovered": None, "covered_share": None}
    if coverage is None or "coverage" not in coverage.columns or coverage.empty:
        return nothing
    shares = coverage["coverage"].to_numpy(dtype=np.float64)
    used = _is_true(coverage["used"]) if "used" in coverage.columns else shares > 0
    unused = coverage.loc[~used].sort_values("coverage", kind="stable")
    columns = {"name": "Region", "network": "Network", "n_covered": "Voxels with signal"}
    columns |= {"n_voxels": "Voxels", "coverage": "Coverage"}
    return {
        "coverage": run_figures.coverage_histogram(shares, used),
        "covered_share": f"{int(used.sum())} of {len(used)}",
        "uncovered": as_table(unused, f"Regions that are not used (n = {len(unused)})", columns, {"coverage": 2})
        if len(unused)
        else None,
    }


def _connectivity(run: RunFiles, networks: list[str]) -> Picture | None:
    found = read_matrix(run.beside(f"stat-pearsoncorrelation_desc-{run.strategy}_relmat.tsv"))
    if found is None:
        return None
    names, matrix = found
    if len(networks) != len(names):
        networks = [""] * len(names)
    return run_figures.connectivity(matrix.to_numpy(dtype=np.float64), networks)


def _prediction(run: RunFiles) -> dict[str, Any]:
    """Show what each checkpoint said about the run, with its map."""
    shown = []
    for path in run.first(r"desc-[0-9A-Za-z+]+_prediction\.tsv"):
        table = read_table(path)
        assert table is not None
        label = path.name.removeprefix(run.prefix + "_desc-").removesuffix("_prediction.tsv")
        bars = None
        if {"class", "probability"} <= set(table.columns) and table["probability"].notna().any():
            bars = run_figures.class_probabilities(
                [str(name) for name in table["class"]], table["probability"].to_numpy(dtype=np.float64)
            )
        columns = {name: name.replace("_", " ").capitalize() for name in table.columns}
        shown.append({"label": label, "bars": bars, "table": as_table(table, f"Output of {label}", columns)})
    maps = []
    for path in run.first(r"stat-cpa_desc-[0-9A-Za-z+]+_boldmap\.nii(\.gz)?"):
        label = re.sub(r"_boldmap\.nii(\.gz)?$", "", path.name.removeprefix(run.prefix + "_stat-cpa_desc-"))
        style = MapStyle(f"CPA map of {label}", "CPA score (share of the attribution)")
        maps.append(
            brain_map(
                on_display_grid(path),
                style,
                f"Regions that carried the prediction of {label}, n = 1 run; a rank, not a test.",
            )
        )
    return {"predictions": shown, "maps": maps}


def _methods(facts: dict[str, Any], strategy: str, regions: int) -> str:
    """Return the sentence for a paper's methods section, from the sidecar alone."""
    atlas = facts.get("Atlas") or {}
    name = atlas.get("Name", "the atlas") if isinstance(atlas, dict) else str(atlas)
    columns = facts.get("ConfoundColumns") or []
    version = (facts.get("SoftwareVersions") or {}).get("bids_neurossm") or (facts.get("SoftwareVersions") or {}).get(
        "bids-neurossm"
    )
    text = (
        f"Preprocessed BOLD series were averaged within the {regions} regions of {name} "
        f"with bids-neurossm{f' {version}' if version else ''}. "
    )
    dropped = facts.get("NumberOfVolumesDropped")
    if dropped:
        text += f"The first {number(dropped)} volumes were dropped. "
    text += f"Series were cleaned with the strategy “{facts.get('DenoisingStrategy') or strategy}”"
    text += f" ({len(columns)} confound columns: {', '.join(map(str, columns))}). " if columns else ". "
    censored = facts.get("NumberOfVolumesCensored")
    if censored:
        text += f"{number(censored)} volumes were censored, and the pieces between them kept as separate segments. "
    return text.strip()


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
        "Run", "Atlas", "Strategy", "Volumes read", "Dropped", "Censored", "Kept", "TR (s)",
        "Mean FD (mm)", "Max FD (mm)", "Regions used", "State",
    )  # fmt: skip
    rows = []
    for section in sections:
        facts = section["facts"]
        rows.append(
            (
                section["name"],
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
                _state(section),
            )
        )
    numeric = (False, False, False, True, True, True, True, True, True, True, True, False)
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
