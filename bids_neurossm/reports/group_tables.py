"""The tables of a group report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from bids_neurossm.reports.html_tables import Table, as_table, read_table
from bids_neurossm.reports.wording import comparison_verdict, metric_name, model_name, set_name

_COMPARISON = {"baseline": "Baseline", "metric": "Metric", "shows": "The model", "difference": "Difference"}
_COMPARISON |= {"ci_low": "95 % low", "ci_high": "95 % high", "p": "p", "method": "Method", "n": "n"}
_CONTROLS = {"control": "Control", "metric": "Metric", "observed": "Observed", "null_mean": "Mean of the null"}
_CONTROLS |= {"null_q95": "95th percentile of the null", "p": "p", "n": "n", "verdict": "Verdict"}
_REFERENCE = {"row_class": "CPA map", "column_class": "Reference", "rho": "Partial r", "p": "p", "p_holm": "p (Holm)"}
_REFERENCE |= {"n_regions": "Regions", "n_surrogates": "Surrogates", "n_studies": "Studies"}
_REGIONS = {"name": "Region", "network": "Network", "importance": "CPA score", "dominant_pathway": "Dominant pathway"}
_REGIONS |= {"dominant_stability": "Stability", "reference": "Reference (z)", "top25": "In CPA quarter"}
_REGIONS |= {"reference_top25": "In reference quarter", "product": "Product"}
_CHECKS = {"label": "Map", "check": "Check", "value": "Value", "p": "p", "expected": "Expected", "n": "n"}
_CHECKS |= {"verdict": "Verdict"}
_PATHWAYS = {"label": "Map", "pathway": "Pathway", "importance": "Importance", "ci_low": "95 % low"}
_PATHWAYS |= {"ci_high": "95 % high", "weight": "Weight", "n": "Participants", "n_runs": "Runs"}
_TERMS = {"class": "Class", "term": "Term", "evidence": "Found in", "n_studies": "Studies", "used": "Used"}
_METRICS = {"model": "Model", "set": "Set", "fold": "Fold", "metric": "Metric", "value": "Value"}
_METRICS |= {"ci_low": "95 % low", "ci_high": "95 % high", "procedure_low": "Procedure, low"}
_METRICS |= {"procedure_high": "Procedure, high", "interval": "Interval", "n": "n"}

_FILES = {
    "summary.json": "facts of the analysis",
    "splits.tsv": "who was trained on and who was tested",
    "predictions.tsv": "every held-out prediction",
    "metrics.tsv": "every metric of every model and fold",
    "comparison.tsv": "the model against each baseline",
    "controls.tsv": "permutations, probes and other controls",
    "exclusions.tsv": "runs that were left out, and why",
    "joined.tsv": "what dynamics and static connectivity count in each trained model",
    "cpa_checks.tsv": "checks of the attribution",
    "reference.tsv": "maps against the literature",
    "reference_terms.tsv": "terms of each class",
    "learning_curve.tsv": "scores by size of the training set",
    "age_gaps.tsv": "predicted less true age of every participant, as it is and with its trend with age taken off",
    "age_bias.tsv": "how far these gaps go with age",
    "qc_fc.tsv": "connectivity against motion",
    "cpa_deletion.tsv": "deletion curves",
    "holdout_ledger.tsv": "looks at the holdout",
    "methods.md": "methods section, Markdown",
    "methods.tex": "methods section, LaTeX",
    "methods.bib": "its sources, BibTeX",
}


def every_metric(metrics: pd.DataFrame | None) -> Table | None:
    """Lay out ``metrics.tsv`` in words, to be sorted and filtered."""
    if metrics is None:
        return None
    rows = _in_words(metrics.dropna(subset=["value"]) if "value" in metrics.columns else metrics)
    return as_table(
        rows, "Every metric of every model and fold", _METRICS, limit=1500, sortable=True,
        filters=("model", "set", "fold", "metric"),
    )  # fmt: skip


def _in_words(frame: pd.DataFrame) -> pd.DataFrame:
    changes: dict[str, Any] = {}
    for column, words in (("metric", metric_name), ("model", model_name), ("baseline", model_name), ("set", set_name)):
        if column in frame.columns:
            changes[column] = [words(str(value)) if value == value else value for value in frame[column]]
    return frame.assign(**changes)


def comparison_table(comparison: pd.DataFrame | None, model: str) -> Table | None:
    """Lay out the paired differences, with what each shows."""
    if comparison is None:
        return None
    rows = _in_words(comparison)
    if {"metric", "difference"} <= set(comparison.columns):
        rows = rows.assign(
            shows=[
                comparison_verdict(
                    str(row["metric"]), row["difference"], row.get("ci_low"), row.get("ci_high"), row.get("p")
                )
                for row in comparison.to_dict(orient="records")
            ]
        )
    return as_table(rows, f"{model_name(model)} minus each baseline, paired on the same splits", _COMPARISON)


def controls_table(controls: pd.DataFrame | None) -> Table | None:
    """Lay out the controls."""
    return as_table(_in_words(controls), "Controls", _CONTROLS) if controls is not None else None


def checks_table(checks: pd.DataFrame | None) -> Table | None:
    """Lay out whatever checks of the attribution there are, with columns that others added at the end."""
    if checks is None:
        return None
    more = {name: _heading(name) for name in map(str, checks.columns) if name not in _CHECKS}
    return as_table(
        checks, "Checks of the attribution", _CHECKS | more, {"value": -3}, sortable=len(checks) > 7,
        filters=("label", "check"),
    )  # fmt: skip


def check_verdicts(checks: pd.DataFrame | None) -> list[str]:
    """Return what the checks come to for each map, so that it stands beside the maps and not only below them."""
    if checks is None or not {"check", "verdict"} <= set(checks.columns):
        return []
    rows = checks[checks["check"].astype(str).str.startswith("verdict")]
    return [
        f"{row['label']}: {row['verdict']}" if row.get("label") == row.get("label") else str(row["verdict"])
        for row in rows.to_dict(orient="records")
    ]


def reference_table(reference: pd.DataFrame | None) -> Table | None:
    """Lay out the scores against the literature."""
    if reference is None:
        return None
    return as_table(
        reference, "CPA maps against the meta-analytic reference", _REFERENCE, sortable=len(reference) > 9,
        filters=("row_class", "column_class"),
    )  # fmt: skip


def terms_table(terms: pd.DataFrame | None) -> Table | None:
    """Lay out the terms of each class."""
    return as_table(terms, "Terms of each class, and how many studies use them", _TERMS) if terms is not None else None


def pathway_table(pathways: pd.DataFrame | None) -> Table | None:
    """Lay out the importance of each pathway per class."""
    if pathways is None or not {"pathway", "importance"} <= set(pathways.columns):
        return None
    caption = "Importance (change of the centred logit) and weight of each pathway"
    return as_table(pathways, caption, _PATHWAYS, sortable=True, filters=("label", "pathway"))


def region_tables(regions: pd.DataFrame | None) -> list[Table]:
    """Return the regions of each class, the most important first, to be sorted and filtered."""
    if regions is None or not {"name", "importance"} <= set(regions.columns):
        return []
    keys = (
        regions["label"].fillna("discriminative") if "label" in regions.columns else pd.Series("all", regions.index)
    ).replace({"discriminative": "discriminative map"})
    tables = []
    for label in dict.fromkeys(keys):
        rows = regions[keys == label].sort_values("importance", ascending=False, kind="stable")
        rows = rows.assign(**{name: _yes_no(rows[name]) for name in ("top25", "reference_top25") if name in rows})
        caption = f"{label}: n = {len(rows)} regions"
        tables.append(
            as_table(
                rows.dropna(axis=1, how="all"), caption, _REGIONS, {"importance": -3, "dominant_stability": 2}, 1000,
                sortable=True, filters=("network", "dominant_pathway", "top25", "reference_top25"),
            )
        )  # fmt: skip
    return tables


def _yes_no(column: pd.Series[Any]) -> pd.Series[Any]:
    return column.map(lambda value: value if value != value else "yes" if str(value) in ("1", "1.0", "True") else "no")


def qc_fc_table(table: pd.DataFrame | None) -> Table | None:
    """Lay out the correlation of connectivity with motion."""
    if table is None or table.empty:
        return None
    return worded(table.drop(columns=["sentence"], errors="ignore"), "QC-FC, over participants")


def ledger_table(table: pd.DataFrame | None) -> Table | None:
    """Lay out the looks at the holdout."""
    return worded(table, f"Evaluations of the holdout (n = {len(table)})") if table is not None and len(table) else None


def worded(frame: pd.DataFrame, caption: str) -> Table:
    """Lay out a table whose columns are headed by their own names."""
    return as_table(_in_words(frame), caption, {str(name): _heading(str(name)) for name in frame.columns})


def _heading(name: str) -> str:
    return name.replace("_", " ").capitalize()


def further_tables(folder: Path, known: set[str]) -> list[Table]:
    """Lay out small tables that the report has no place of its own for, so that nothing on disk is passed over."""
    tables = []
    for path in sorted(folder.glob("*.tsv")) if folder.is_dir() else []:
        if path.name in known or "stat-" in path.name:
            continue
        frame = read_table(path)
        if frame is not None and len(frame) and frame.shape[1] <= 20:
            tables.append(worded(frame, f"{_heading(path.stem)} ({path.name})"))
    return tables


def files_beside(out_dir: Path, analysis: str) -> list[tuple[str, str]]:
    """List the files of an analysis, relative to the report, with what they hold."""
    folder = out_dir / "group" / analysis
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    found = [
        (path.relative_to(out_dir).as_posix(), _FILES.get(path.name, ""))
        for path in paths
        if path.is_file() and not path.name.startswith(".") and (path.suffix != ".json" or path.name == "summary.json")
    ]
    models = out_dir / "models" / analysis
    for name, what in (("card.md", "model card"), ("final.safetensors", "final model, for --checkpoint")):
        if (models / name).is_file():
            found.append(((models / name).relative_to(out_dir).as_posix(), what))
    return found
