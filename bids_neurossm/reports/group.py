"""The report of one analysis, ``OUT_DIR/group_<analysis>.html``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tomli_w

from bids_neurossm.errors import UsageError
from bids_neurossm.files.portable import portable_settings
from bids_neurossm.files.toml_files import read_toml
from bids_neurossm.files.write import write_text
from bids_neurossm.registry import blaming, installed_entry, resolved
from bids_neurossm.reports.figures.canvas import Picture
from bids_neurossm.reports.figures.explanations import deletion_curve, pathway_importance, reference_matrix
from bids_neurossm.reports.figures.predictions import calibration_curve, confusion_matrix, roc_curves, scatter
from bids_neurossm.reports.figures.results import controls_figure, differences, learning_curve, metric_intervals
from bids_neurossm.reports.group_cohort import cohort_tables, fold_table, site_table
from bids_neurossm.reports.group_maps import expert_maps, find_maps, group_viewer, map_sections, pathway_colours
from bids_neurossm.reports.group_tables import (
    check_verdicts,
    checks_table,
    comparison_table,
    controls_table,
    every_metric,
    files_beside,
    further_tables,
    ledger_table,
    pathway_table,
    qc_fc_table,
    reference_table,
    region_tables,
    terms_table,
    worded,
)
from bids_neurossm.reports.group_text import glance, headline, limits, metric_table, primary_metric, summary_table
from bids_neurossm.reports.html_tables import Table, gathered_tables, pairs_table, read_json, read_table
from bids_neurossm.reports.methods import group_methods, series_text, write_citations
from bids_neurossm.reports.page import checked_label, error_table, markdown_card, render
from bids_neurossm.reports.wording import metric_range, model_name, set_name, target_name

Tables = dict[str, pd.DataFrame | None]

_TABLES = (
    "splits", "predictions", "metrics", "comparison", "exclusions", "controls", "cpa_checks", "reference",
    "reference_terms", "learning_curve", "qc_fc", "holdout_ledger", "cpa_deletion",
)  # fmt: skip

#: What belongs to one run and says nothing about a cohort.
_OF_ONE_RUN = ("NumberOfVolumesDropped", "NumberOfVolumesCensored", "ConfoundColumns")


def write_group_report(out_dir: Path, analysis: str, errors: list[dict[str, Any]] | None = None) -> Path:
    """Write the report of an analysis from what is on disk, and its methods section beside the tables.

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
        ``OUT_DIR/group_<analysis>.html``, written in one step. ``methods.md``, ``methods.tex`` and ``methods.bib`` are
        written into ``group/<analysis>`` where there is something to say.

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
    tables: Tables = {stem: read_table(folder / f"{stem}.tsv") for stem in _TABLES}
    tables["regions"] = gathered_tables(folder, "stat-cpa_regions.tsv")
    tables["pathways"] = gathered_tables(folder, "stat-cpa_pathways.tsv")
    methods = group_methods(summary, tables["reference"], tables["reference_terms"], _series(out_dir, summary))
    if methods.paragraphs:
        methods.write(folder)
    context = {
        "title": f"group {name}",
        "analysis": name,
        "subtitle": _subtitle(summary),
        "facts": summary_table(summary),
        "errors": error_table(errors),
        **_performance(summary, tables),
        **_explanation(out_dir, folder, tables, str(summary.get("model") or "")),
        "limits": limits(summary, tables["controls"]),
        "notes": [str(note) for note in summary.get("notes") or []],
        "further": further_tables(folder, {f"{stem}.tsv" for stem in _TABLES}),
        "methods": methods,
        "versions": _versions(summary),
        "card": markdown_card(out_dir / "models" / name / "card.md"),
        "settings": _settings(out_dir, name),
        "files": files_beside(out_dir, name),
    }
    write_citations(out_dir)
    path = out_dir / f"group_{name}.html"
    write_text(path, render("group.html.j2", context, ("report.js", "viewer.js")))
    return path


def _subtitle(summary: dict[str, Any]) -> str:
    if not summary:
        return ""
    parts = [f"{model_name(str(summary['model']))}" if summary.get("model") else ""]
    classes = [str(name) for name in summary.get("classes") or []]
    target = target_name(summary.get("target"))
    parts.append(f"predicting {target}" + (f" ({', '.join(classes)})" if 0 < len(classes) < 9 else ""))
    parts += [str(summary[key]) for key in ("atlas", "space") if summary.get(key)]
    parts.append(f"denoising {summary['strategy']}" if summary.get("strategy") else "")
    return " · ".join(part for part in parts if part)


def shown_set(frame: pd.DataFrame | None) -> str | None:
    """Choose the rows that speak about new people: the holdout, else what the folds left out."""
    if frame is None or "set" not in frame.columns:
        return None
    names = [
        str(name) for name in dict.fromkeys(frame["set"].dropna()) if str(name).lower() not in ("train", "training")
    ]
    return "holdout" if "holdout" in names else (names[0] if names else None)


def _performance(summary: dict[str, Any], tables: Tables) -> dict[str, Any]:
    """Gather the result: sentence, figures at a glance, cohort, curves, metrics, comparison, controls."""
    metrics, comparison, controls = tables["metrics"], tables["comparison"], tables["controls"]
    chosen = shown_set(metrics) or shown_set(tables["predictions"])
    model = str(summary.get("model") or _first(metrics, "model") or _first(tables["predictions"], "model") or "")
    overall = _rows(metrics, chosen, overall=True)
    metric = primary_metric(summary, overall)
    classes = [str(name) for name in summary.get("classes") or []]
    chance = 0.5 if "auc" in (metric or "") else 1 / len(classes) if metric == "balanced_accuracy" and classes else None
    units = _units(tables["predictions"], model, chosen)
    plot = gaps = None
    if overall is not None and metric is not None:
        plot = metric_intervals(overall, metric, model, chance, _rows(metrics, chosen, overall=False))
    if comparison is not None and metric is not None:
        of_set = comparison[comparison["set"] == chosen] if "set" in comparison.columns else comparison
        gaps = differences(of_set, metric, model)
    pair = [metric] if metric else []
    curve = tables["learning_curve"]
    return {
        "headline": headline(summary, overall, comparison, controls, model, metric),
        "glance": glance(summary, overall, controls, tables["reference"], model, metric),
        "sentences": _sentences(comparison),
        "metric_plot": plot,
        "difference_plot": gaps,
        **cohort_tables(summary, tables["splits"], units, tables["exclusions"]),
        **_prediction_figures(summary, units, chosen, classes),
        "metrics": metric_table(overall, model, chosen),
        "all_metrics": every_metric(metrics),
        "comparison": comparison_table(comparison, model),
        "fold_scores": fold_table(metrics, model, chosen, pair),
        "site_scores": site_table(units, classes),
        "controls": controls_table(controls),
        "controls_plot": controls_figure(controls) if controls is not None else None,
        "learning_plot": learning_curve(curve, model) if curve is not None else None,
        "learning_table": worded(curve, "Learning curve") if curve is not None else None,
        "qc_fc": qc_fc_table(tables["qc_fc"]),
        "qc_fc_says": _sentences(tables["qc_fc"]),
        "ledger": ledger_table(tables["holdout_ledger"]),
    }


def _first(frame: pd.DataFrame | None, column: str) -> str | None:
    if frame is None or column not in frame.columns or frame[column].dropna().empty:
        return None
    return str(frame[column].dropna().iloc[0])


def _rows(metrics: pd.DataFrame | None, chosen: str | None, overall: bool) -> pd.DataFrame | None:
    """Return the rows over all folds of the shown set, or those of single folds."""
    if metrics is None or not {"model", "metric", "value"} <= set(metrics.columns):
        return None
    rows = metrics[metrics["set"] == chosen] if chosen is not None and "set" in metrics.columns else metrics
    if "fold" in rows.columns:
        # The holdout has no folds: its rows are missing there or say "all".
        whole = rows["fold"].isna() | (rows["fold"] == "all")
        rows = rows[whole if overall else ~whole]
    elif not overall:
        return None
    return _within_range(rows) if len(rows) else None


def _within_range(rows: pd.DataFrame) -> pd.DataFrame:
    """Cut intervals where the metric ends: those of few folds reach beyond what it can be."""
    limits = [metric_range(str(name)) for name in rows["metric"]]
    cut: dict[str, Any] = {}
    for column in {"ci_low", "ci_high"} & set(rows.columns):
        values = pd.to_numeric(rows[column], errors="coerce").to_numpy(dtype=np.float64)
        cut[column] = np.clip(values, [low for low, _ in limits], [high for _, high in limits])
    return rows.assign(**cut)


def _sentences(table: pd.DataFrame | None) -> list[str]:
    if table is None or "sentence" not in table.columns:
        return []
    return [str(text) for text in dict.fromkeys(table["sentence"].dropna())]


def _units(predictions: pd.DataFrame | None, model: str, chosen: str | None) -> pd.DataFrame | None:
    """Return the predictions of one model on one set; with repeated splits those of the first."""
    if predictions is None or predictions.empty:
        return None
    rows = predictions
    if "model" in rows.columns and model in set(rows["model"]):
        rows = rows[rows["model"] == model]
    if chosen is not None and "set" in rows.columns and chosen in set(rows["set"]):
        rows = rows[rows["set"] == chosen]
    if "fold" in rows.columns and "all" in set(rows["fold"]):
        rows = rows[rows["fold"] == "all"]
    for repeat in ("split", "repeat"):
        if repeat in rows.columns and rows[repeat].nunique() > 1:
            rows = rows[rows[repeat] == sorted(rows[repeat].dropna())[0]]
    return rows


def _prediction_figures(
    summary: dict[str, Any], units: pd.DataFrame | None, chosen: str | None, classes: list[str]
) -> dict[str, Picture | None]:
    """Draw ROC, confusion matrix and calibration, or the scatter of a continuous target."""
    pictures: dict[str, Picture | None] = dict.fromkeys(("curve", "confusion", "calibration"))
    if units is None or "label" not in units.columns:
        return pictures
    unit = str(summary.get("scored") or "participant")
    where = f"{'held-out' if chosen == 'holdout' else set_name(chosen or 'development')} {unit}s"
    if summary.get("target_type") == "continuous":
        return pictures | {"curve": scatter(units, target_name(summary.get("target")), where)}
    classes = classes or sorted(set(units["label"].dropna()))
    rows = units.assign(fold=units["fold"].fillna("all") if "fold" in units.columns else "all")
    return {
        "curve": roc_curves(rows, classes, where),
        "confusion": confusion_matrix(rows, classes, where),
        "calibration": calibration_curve(rows, classes, where),
    }


def _explanation(out_dir: Path, folder: Path, tables: Tables, model: str) -> dict[str, Any]:
    """Gather maps, viewer, regions, pathways, reference and checks."""
    regions, pathways, reference = tables["regions"], tables["pathways"], tables["reference"]
    names = list(pathways["pathway"]) if pathways is not None and "pathway" in pathways.columns else []
    tones = pathway_colours(names)
    maps = find_maps(folder)
    entry = installed_entry(model)
    note = entry.importance_note if entry else ""
    return {
        "viewer": group_viewer(out_dir, maps, regions, tones),
        "maps": map_sections(maps, pathways, tones),
        "region_tables": region_tables(regions),
        "pathway_plot": pathway_importance(pathways, tones, note) if pathways is not None else None,
        "pathway_table": pathway_table(pathways),
        "model_plots": _own_figures(folder, model),
        "expert_maps": expert_maps(folder),
        "reference_plot": reference_matrix(reference) if reference is not None else None,
        "reference": reference_table(reference),
        "terms": terms_table(tables["reference_terms"]),
        "checks": checks_table(tables["cpa_checks"]),
        "deletion_plot": deletion_curve(tables["cpa_deletion"]) if tables["cpa_deletion"] is not None else None,
        "check_verdicts": check_verdicts(tables["cpa_checks"]),
    }


def _own_figures(folder: Path, model: str) -> list[Picture]:
    """Draw the figures that a model brings itself."""
    entry = installed_entry(model)
    if entry is None:
        return []
    pictures = []
    for reference in entry.figures:
        draw = resolved(reference, model, entry)
        with blaming(model, entry.package):
            pictures.append(draw(folder))
    return [picture for picture in pictures if picture is not None]


def _versions(summary: dict[str, Any]) -> Table | None:
    versions = summary.get("versions")
    if not isinstance(versions, dict) or not versions:
        return None
    return pairs_table("Software", sorted((str(k), v) for k, v in versions.items()), ("Software", "Version"))


def _series(out_dir: Path, summary: dict[str, Any]) -> str:
    """Say how the series came about, from the sidecar of the first run that fits the analysis."""
    strategy = str(summary.get("strategy") or "")
    pattern = f"*_desc-{re.sub(r'[^0-9A-Za-z+]', '', strategy)}_timeseries.json"
    for path in (*out_dir.glob(f"sub-*/func/{pattern}"), *out_dir.glob(f"sub-*/ses-*/func/{pattern}")):
        facts = read_json(path) or {}
        atlas = facts.get("Atlas")
        if isinstance(atlas, dict) and atlas.get("Name") == summary.get("atlas"):
            shared = {key: value for key, value in facts.items() if key not in _OF_ONE_RUN}
            return series_text(shared, strategy, int(summary.get("n_regions") or atlas.get("NumberOfRegions") or 0))
    return ""


def _settings(out_dir: Path, analysis: str) -> str | None:
    """Return the settings of the last command that made this analysis, without the places of its machine."""
    for path in sorted((out_dir / "logs").glob("*_group_*/config.toml"), reverse=True):
        try:
            settings = read_toml(path)
        except UsageError:
            continue  # a command that was killed while it wrote; its analysis is not lost by that
        if settings.get("analysis_id") == analysis:
            for name in ("bids_dir", "out_dir", "command_line"):
                settings.pop(name, None)
            settings.get("execution", {}).pop("work_dir", None)
            return tomli_w.dumps(portable_settings(settings))
    return None
