"""The sentences and the metric table of a group report."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_neurossm.reports.tables import Table, metric_name, number, pairs_table, with_interval

_PRIMARY = ("auc", "macro_auc", "roc_auc", "balanced_accuracy", "accuracy", "r", "r2", "mae")

_FACTS = {
    "target": "Target",
    "target_type": "Kind of target",
    "classes": "Classes",
    "model": "Model",
    "atlas": "Atlas",
    "strategy": "Denoising strategy",
    "space": "Space",
    "n_participants": "Participants",
    "n_runs": "Runs",
    "folds": "Folds",
    "seeds": "Seeds per fold",
    "holdout": "Holdout",
}


def primary_metric(summary: dict[str, Any], overall: pd.DataFrame | None) -> str | None:
    """Return the metric that the report leads with: the summary's own, else the first known one on disk."""
    if overall is None:
        return None
    present = list(dict.fromkeys(overall["metric"].dropna()))
    wanted = [summary.get("primary_metric"), *_PRIMARY, *present]
    return next((str(name) for name in wanted if name in present), None)


def headline(
    summary: dict[str, Any],
    overall: pd.DataFrame | None,
    comparison: pd.DataFrame | None,
    model: str,
    metric: str | None,
) -> str | None:
    """Return the result in one sentence: the analysis's own, else one made of the tables.

    Parameters
    ----------
    summary : dict
        ``headline`` is taken where it is there.
    overall, comparison : DataFrame or None
        Summary rows of the metrics; paired differences.
    model, metric : str
        What is reported.
    """
    own = summary.get("headline") or summary.get("headline_sentence")
    if own:
        return str(own)
    if overall is None or metric is None:
        return None
    rows = overall[(overall["model"] == model) & (overall["metric"] == metric)]
    if rows.empty:
        return None
    row = rows.iloc[0]
    estimate = with_interval(row["value"], row.get("ci_low"), row.get("ci_high"))
    text = f"{model} reached {metric_name(metric)} {estimate}"
    if "n" in row and number(row["n"]) != "–":
        text += f" (n = {number(row['n'])})"
    if comparison is not None and {"metric", "sentence"} <= set(comparison.columns):
        said = comparison[comparison["metric"] == metric]["sentence"].dropna()
        if len(said):
            return f"{text}. {said.iloc[0]}"
    return f"{text}."


def metric_table(overall: pd.DataFrame | None, model: str, chosen: str | None) -> Table | None:
    """Lay out models against metrics, the model of the analysis first."""
    if overall is None:
        return None
    metrics = list(dict.fromkeys(overall["metric"].dropna()))
    models = sorted(dict.fromkeys(overall["model"].dropna()), key=lambda name: name != model)
    rows = []
    for name in models:
        cells = [name]
        for metric in metrics:
            found = overall[(overall["model"] == name) & (overall["metric"] == metric)]
            row = found.iloc[0] if len(found) else None
            cells.append("–" if row is None else with_interval(row["value"], row.get("ci_low"), row.get("ci_high"), 2))
        rows.append(tuple(cells))
    sizes = overall["n"].dropna() if "n" in overall.columns else pd.Series(dtype=float)
    caption = f"Estimate [95 % interval]; set: {chosen or 'not named'}"
    caption += f"; n = {number(sizes.max())}" if len(sizes) else ""
    header = ("Model", *(metric_name(metric) for metric in metrics))
    return Table(caption, header, tuple(rows), (False, *(True for _ in metrics)))


def summary_table(summary: dict[str, Any]) -> Table | None:
    """Lay out what the analysis was."""
    pairs: list[tuple[str, object]] = []
    for key, name in _FACTS.items():
        value = summary.get(key)
        if value is not None and value != []:
            pairs.append((name, ", ".join(map(str, value)) if isinstance(value, list) else value))
    return pairs_table("The analysis", pairs) if pairs else None


def limits(summary: dict[str, Any], controls: pd.DataFrame | None) -> list[str]:
    """Return what the figures can not say, for this kind of analysis (docs/methods.md, sections 2 to 4)."""
    texts = [
        "Maps rank regions for this model. They do not decompose the prediction, their sign has no meaning, and a high "
        "score does not show that a region causes anything.",
        "Scale and stream of a pathway are not fully identifiable: a path over the raw signal can express differences "
        "and slower averages too.",
        "Intervals labelled “given these models” leave out the spread of training anew.",
    ]
    if len(summary.get("classes") or []) == 2:
        texts.append(
            "With two classes the evidence for one is the evidence against the other: there is one discriminative map, "
            "and the class-wise maps are descriptive."
        )
    if "Schaefer" in str(summary.get("atlas") or "") or "cort" in str(summary.get("atlas") or "").lower():
        texts.append("A cortical atlas can not speak about amygdala, striatum, cerebellum or brain stem.")
    if controls is None:
        texts.append(
            "No controls are on disk: whether site, motion or chance explains the result has not been looked at."
        )
    return texts
