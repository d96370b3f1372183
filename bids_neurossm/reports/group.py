"""The report of one analysis, ``OUT_DIR/group_<analysis>.html``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.dataset.write import write_text
from bids_neurossm.reports import group_figures
from bids_neurossm.reports.canvas import Picture
from bids_neurossm.reports.group_maps import draw_maps, find_maps, pathway_colours
from bids_neurossm.reports.group_text import headline, limits, metric_table, primary_metric, summary_table
from bids_neurossm.reports.page import atlas_citation, checked_label, citations, error_table, render
from bids_neurossm.reports.tables import Table, as_table, pairs_table, read_json, read_table

_COMPARISON = {"baseline": "Baseline", "metric": "Metric", "difference": "Difference", "ci_low": "95 % low"}
_COMPARISON |= {"ci_high": "95 % high", "p": "p", "method": "Method", "n": "n"}
_CONTROLS = {"control": "Control", "metric": "Metric", "observed": "Observed", "null_mean": "Mean of the null"}
_CONTROLS |= {"null_q95": "95th percentile of the null", "p": "p", "n": "n", "verdict": "Verdict"}
_REFERENCE = {"row_class": "CPA map", "column_class": "Reference", "rho": "Partial r", "p": "p", "p_holm": "p (Holm)"}
_REFERENCE |= {"n_regions": "Regions", "n_surrogates": "Surrogates", "n_studies": "Studies"}
_REGIONS = {"name": "Region", "network": "Network", "importance": "CPA score", "dominant_pathway": "Dominant pathway"}
_REGIONS |= {"dominant_stability": "Stability", "reference": "Reference (z)", "reference_top25": "In reference quarter"}
_REGIONS |= {"product": "Product"}
_CHECKS = {"check": "Check", "value": "Value", "expected": "Expected", "verdict": "Verdict"}


def write_group_report(out_dir: Path, analysis: str, errors: list[dict[str, Any]] | None = None) -> Path:
    """Write the report of an analysis from what is on disk.

    Parameters
    ----------
    out_dir : Path
        Output dataset; tables and maps are read from ``group/<analysis>``.
    analysis : str
        Name of the analysis.
    errors : list of dict, optional
        What failed: ``run`` or ``node``, ``kind``, ``message``, ``remedy``, all optional.

    Returns
    -------
    Path
        ``OUT_DIR/group_<analysis>.html``, written in one step.

    Raises
    ------
    UsageError
        If the name can not be part of a file name.
    RunError
        If a file that belongs to the report is damaged.
    OutputNotWritableError
        If the report can not be written.
    """
    name = checked_label(analysis, r"[0-9A-Za-z_-]+", "analysis")
    folder = out_dir / "group" / name
    summary = read_json(folder / "summary.json") or {}
    tables = {
        stem: read_table(folder / f"{stem}.tsv")
        for stem in ("splits", "predictions", "metrics", "comparison", "exclusions", "controls", "cpa_checks")
    }
    tables["reference"] = read_table(folder / "reference.tsv")
    tables["regions"] = _gathered(folder, "stat-cpa_regions.tsv")
    tables["pathways"] = _gathered(folder, "stat-cpa_pathways.tsv")
    context = {
        "title": f"group {name}",
        "analysis": name,
        "summary": summary,
        "facts": summary_table(summary),
        "errors": error_table(errors),
        **_performance(summary, tables),
        **_cohort(tables),
        **_explanation(folder, tables),
        "limits": limits(summary, tables["controls"]),
        "notes": [str(note) for note in summary.get("notes") or []],
        "versions": _versions(summary),
        "citations": _citations(summary, tables),
    }
    path = out_dir / f"group_{name}.html"
    write_text(path, render("group.html.j2", context))
    return path


def _gathered(folder: Path, ending: str) -> pd.DataFrame | None:
    """Read every table of one kind (one per map without and with a label) as one."""
    paths = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    frames = [frame for frame in map(read_table, paths) if frame is not None]
    return pd.concat(frames, ignore_index=True) if frames else None


def _shown_set(frame: pd.DataFrame | None) -> str | None:
    """Choose the rows that speak about new people: the holdout, else what the folds left out."""
    if frame is None or "set" not in frame.columns:
        return None
    names = [
        str(name) for name in dict.fromkeys(frame["set"].dropna()) if str(name).lower() not in ("train", "training")
    ]
    return "holdout" if "holdout" in names else (names[0] if names else None)


def _performance(summary: dict[str, Any], tables: dict[str, pd.DataFrame | None]) -> dict[str, Any]:
    """Gather the result: sentence, curves, metrics, comparison, controls."""
    metrics, comparison, controls = tables["metrics"], tables["comparison"], tables["controls"]
    chosen = _shown_set(metrics) or _shown_set(tables["predictions"])
    model = str(summary.get("model") or _first(metrics, "model") or _first(tables["predictions"], "model") or "")
    overall = _summary_rows(metrics, chosen)
    metric = primary_metric(summary, overall)
    classes = [str(name) for name in summary.get("classes") or []]
    chance = 0.5 if "auc" in (metric or "") else 1 / len(classes) if metric == "balanced_accuracy" and classes else None
    curve, table = _prediction_figures(summary, tables["predictions"], model, chosen, classes)
    plot = None
    if overall is not None and metric is not None:
        plot = group_figures.metric_intervals(overall, metric, model, chance)
    return {
        "headline": headline(summary, overall, comparison, model, metric),
        "sentences": _sentences(comparison),
        "shown_set": chosen,
        "curve": curve,
        "confusion": table,
        "metric_plot": plot,
        "metrics": metric_table(overall, model, chosen),
        "all_metrics": _all_metrics(metrics),
        "comparison": as_table(comparison, f"{model} minus each baseline, paired", _COMPARISON)
        if comparison is not None
        else None,
        "controls": as_table(controls, "Controls", _CONTROLS) if controls is not None else None,
    }


def _first(frame: pd.DataFrame | None, column: str) -> str | None:
    if frame is None or column not in frame.columns or frame[column].dropna().empty:
        return None
    return str(frame[column].dropna().iloc[0])


def _summary_rows(metrics: pd.DataFrame | None, chosen: str | None) -> pd.DataFrame | None:
    """Return the rows over all folds of the shown set."""
    if metrics is None or not {"model", "metric", "value"} <= set(metrics.columns):
        return None
    rows = metrics[metrics["fold"] == "all"] if "fold" in metrics.columns else metrics
    if chosen is not None:
        rows = rows[rows["set"] == chosen]
    return rows if len(rows) else None


def _all_metrics(metrics: pd.DataFrame | None) -> Table | None:
    if metrics is None:
        return None
    columns = {"model": "Model", "set": "Set", "fold": "Fold", "metric": "Metric", "value": "Value"}
    columns |= {"ci_low": "95 % low", "ci_high": "95 % high", "interval": "Interval", "n": "n"}
    return as_table(metrics, "Every metric, fold by fold", columns, limit=400)


def _sentences(comparison: pd.DataFrame | None) -> list[str]:
    if comparison is None or "sentence" not in comparison.columns:
        return []
    return [str(text) for text in dict.fromkeys(comparison["sentence"].dropna())]


def _prediction_figures(
    summary: dict[str, Any], predictions: pd.DataFrame | None, model: str, chosen: str | None, classes: list[str]
) -> tuple[Picture | None, Picture | None]:
    """Draw ROC and confusion matrix, or the scatter of a continuous target."""
    if predictions is None or predictions.empty:
        return None, None
    rows = predictions
    if "model" in rows.columns and model in set(rows["model"]):
        rows = rows[rows["model"] == model]
    if chosen is not None and "set" in rows.columns and chosen in set(rows["set"]):
        rows = rows[rows["set"] == chosen]
    if "fold" in rows.columns and "all" in set(rows["fold"]):
        rows = rows[rows["fold"] == "all"]
    unit = str(summary.get("scored") or "participant")
    where = f"{'held-out' if chosen == 'holdout' else 'out-of-fold'} {unit}s"
    if summary.get("target_type") == "continuous":
        return group_figures.scatter(rows, str(summary.get("target") or "value"), where), None
    classes = classes or sorted(set(rows["label"].dropna()))
    rows = rows.assign(fold=rows["fold"].fillna("all")) if "fold" in rows.columns else rows.assign(fold="all")
    return group_figures.roc_curves(rows, classes, where), group_figures.confusion_matrix(rows, classes, where)


def _cohort(tables: dict[str, pd.DataFrame | None]) -> dict[str, Any]:
    """Count who is in which set, and who was left out and why."""
    splits, exclusions = tables["splits"], tables["exclusions"]
    sets = reasons = listed = None
    if splits is not None and {"label", "set"} <= set(splits.columns):
        people = splits.drop_duplicates(["participant_id", "set"]) if "participant_id" in splits.columns else splits
        if people["label"].nunique() <= 20:
            counts = pd.crosstab(people["label"], people["set"], margins=True, margins_name="all").reset_index()
        else:
            counts = people.groupby("set").size().rename("n").reset_index()
        columns = {str(name): str(name).capitalize() for name in counts.columns}
        sets = as_table(counts, "Participants per label and set", columns)
    if exclusions is not None and len(exclusions):
        if "reason" in exclusions.columns:
            counts = exclusions.groupby("reason", dropna=False).size().rename("n").reset_index()
            reasons = as_table(
                counts, f"Why runs were excluded (n = {len(exclusions)})", {"reason": "Reason", "n": "Runs"}
            )
        columns = {"run": "Run", "participant_id": "Participant", "reason": "Reason", "detail": "Detail"}
        listed = as_table(exclusions, "Excluded runs", columns)
    return {"sets": sets, "reasons": reasons, "excluded": listed, "has_exclusions": exclusions is not None}


def _explanation(folder: Path, tables: dict[str, pd.DataFrame | None]) -> dict[str, Any]:
    """Gather maps, regions, pathways, reference and checks."""
    regions, pathways, reference = tables["regions"], tables["pathways"], tables["reference"]
    names = list(pathways["pathway"]) if pathways is not None and "pathway" in pathways.columns else []
    tones = pathway_colours(names)
    maps = [
        {"title": item.title, "pictures": draw_maps(item, _map_size(pathways, item.label), tones)}
        for item in find_maps(folder)
    ]
    checks = tables["cpa_checks"]
    return {
        "maps": maps,
        "region_tables": _region_tables(regions),
        "pathway_plot": group_figures.pathway_importance(pathways, tones) if pathways is not None else None,
        "reference_plot": group_figures.reference_matrix(reference) if reference is not None else None,
        "reference": as_table(reference, "CPA maps against the meta-analytic reference", _REFERENCE)
        if reference is not None
        else None,
        "checks": as_table(checks, "Checks of the attribution", _CHECKS, {"value": -3}) if checks is not None else None,
    }


def _map_size(pathways: pd.DataFrame | None, label: str) -> float | None:
    """Return how many participants stand behind a map; file names hold labels without their punctuation."""
    if pathways is None or not {"label", "n"} <= set(pathways.columns):
        return None
    plain = pathways["label"].fillna("").map(lambda text: "".join(filter(str.isalnum, str(text))))
    rows = pathways.loc[plain == "".join(filter(str.isalnum, label)), "n"].dropna()
    if rows.empty and not label:
        rows = pathways["n"].dropna()
    return float(rows.max()) if len(rows) else None


def _region_tables(regions: pd.DataFrame | None) -> list[Table]:
    """Return the twenty most important regions of each class."""
    if regions is None or not {"name", "importance"} <= set(regions.columns):
        return []
    keys = (
        regions["label"].fillna("discriminative map") if "label" in regions.columns else pd.Series("all", regions.index)
    )
    tables = []
    for label in dict.fromkeys(keys):
        rows = regions[keys == label]
        top = rows.sort_values("importance", ascending=False, kind="stable").head(20)
        caption = f"{label}: the {len(top)} highest of n = {len(rows)} regions"
        tables.append(as_table(top, caption, _REGIONS, {"importance": 4, "dominant_stability": 2}))
    return tables


def _versions(summary: dict[str, Any]) -> Table | None:
    versions = summary.get("versions")
    if not isinstance(versions, dict) or not versions:
        return None
    return pairs_table("Software", sorted((str(k), v) for k, v in versions.items()), ("Software", "Version"))


def _citations(summary: dict[str, Any], tables: dict[str, pd.DataFrame | None]) -> list[str]:
    texts = citations("NeuroSSM", "fMRIPrep", "nilearn") + atlas_citation(str(summary.get("atlas") or ""))
    return texts + (citations("Neurosynth", "NiMARE") if tables["reference"] is not None else [])
