"""The sentences of a group report: the result, the figures at a glance, the limits."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bids_neurossm.evaluation.metric_names import lower_is_better
from bids_neurossm.reports.html_tables import Table, number, pairs_table, with_interval
from bids_neurossm.reports.wording import comparison_verdict, metric_name, model_name, set_name, target_name

_PRIMARY = ("auc", "macro_auc", "roc_auc", "balanced_accuracy", "accuracy", "r", "r2", "mae")

_FACTS = {
    "target": "Target",
    "target_type": "Kind of target",
    "classes": "Classes",
    "model": "Model",
    "recipe": "Recipe",
    "atlas": "Atlas",
    "n_regions": "Regions",
    "strategy": "Denoising strategy",
    "space": "Space",
    "n_participants": "Participants",
    "n_runs": "Runs",
    "folds": "Folds",
    "seeds": "Seeds per fold",
    "holdout": "Participants held out",
    "random_seed": "Random seed",
}


def primary_metric(summary: dict[str, Any], overall: pd.DataFrame | None) -> str | None:
    """Return the metric that the report leads with: the summary's own, else the first known one on disk."""
    if overall is None:
        return None
    present = list(dict.fromkeys(overall["metric"].dropna()))
    wanted = [summary.get("primary_metric"), *_PRIMARY, *present]
    return next((str(name) for name in wanted if name in present), None)


def row_of(overall: pd.DataFrame | None, model: str, metric: str | None) -> dict[str, Any] | None:
    """Return the summary row of a model and a metric."""
    if overall is None or metric is None:
        return None
    rows = overall[(overall["model"] == model) & (overall["metric"] == metric)]
    return {str(key): value for key, value in rows.iloc[0].items()} if len(rows) else None


def headline(
    summary: dict[str, Any],
    overall: pd.DataFrame | None,
    comparison: pd.DataFrame | None,
    controls: pd.DataFrame | None,
    model: str,
    metric: str | None,
) -> str | None:
    """Return the result in words: estimate with interval, comparison with every baseline, what chance does.

    Parameters
    ----------
    summary : dict
        ``headline`` is taken where it is there.
    overall, comparison, controls : DataFrame or None
        Summary rows of the metrics of one set; paired differences; controls.
    model, metric : str
        What is reported.

    Returns
    -------
    str or None
        None where nothing was measured yet.
    """
    own = summary.get("headline") or summary.get("headline_sentence")
    if own:
        return str(own)
    row = row_of(overall, model, metric)
    if row is None or metric is None:
        return None
    estimate = with_interval(row["value"], row.get("ci_low"), row.get("ci_high"))
    where = set_name(str(row["set"])) if row.get("set") else ""
    size = f"n = {number(row['n'])}" if number(row.get("n")) != "–" else ""
    bracket = ", ".join(part for part in (where, size + f" {_unit(summary)}" if size else "") if part)
    text = f"{model_name(model)} {_task(summary)} with {metric_name(metric)} {estimate}"
    text += f" ({bracket})." if bracket else "."
    return text + _against_baselines(comparison, metric, str(row.get("set") or "")) + _against_chance(controls)


def _unit(summary: dict[str, Any]) -> str:
    if summary.get("scored") == "run":
        return f"runs of {number(summary['n_participants'])} participants" if "n_participants" in summary else "runs"
    return "participants"


def _task(summary: dict[str, Any]) -> str:
    classes = [str(name) for name in summary.get("classes") or []]
    if len(classes) == 2:
        return f"tells {classes[0]} from {classes[1]}"
    return f"tells {len(classes)} classes apart" if classes else f"predicts {target_name(summary.get('target'))}"


def verdicts(comparison: pd.DataFrame | None, metric: str, chosen: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return verdict, baseline and row of every comparison in one metric."""
    if comparison is None or not {"baseline", "metric", "difference"} <= set(comparison.columns):
        return []
    rows = comparison[comparison["metric"] == metric]
    if "set" in rows.columns and chosen in set(rows["set"]):
        rows = rows[rows["set"] == chosen]
    found = []
    for row in rows.to_dict(orient="records"):
        said = comparison_verdict(metric, row["difference"], row.get("ci_low"), row.get("ci_high"), row.get("p"))
        found.append((said, str(row["baseline"]), {str(key): value for key, value in row.items()}))
    return found


def _against_baselines(comparison: pd.DataFrame | None, metric: str, chosen: str) -> str:
    by_verdict: dict[str, list[str]] = {"beats": [], "can not be told apart from": []}
    for said, baseline, row in verdicts(comparison, metric, chosen):
        gap = with_interval(row["difference"], row.get("ci_low"), row.get("ci_high"), 2)
        untested = ", no test" if said in ("is ahead of", "is behind") else ""
        by_verdict.setdefault(said, []).append(f"{model_name(baseline)} (difference {gap}{untested})")
    parts = [f"{said} {_listed(names)}" for said, names in by_verdict.items() if names]
    return f" It {'; it '.join(parts)}." if parts else ""


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _against_chance(controls: pd.DataFrame | None) -> str:
    """Repeat the permutation control where it says that nothing was learned: nothing else matters then."""
    if controls is None or "verdict" not in controls.columns:
        return ""
    said = [str(text) for text in controls["verdict"].dropna() if str(text).startswith("nothing learned")]
    return f" Permutation: {said[0]}." if said else ""


def glance(
    summary: dict[str, Any],
    overall: pd.DataFrame | None,
    controls: pd.DataFrame | None,
    reference: pd.DataFrame | None,
    model: str,
    metric: str | None,
) -> list[dict[str, str]]:
    """Return the few figures that are read first: ``value``, ``name``, ``detail``."""
    tiles = []
    if summary.get("n_participants") is not None:
        runs = f"{number(summary['n_runs'])} runs" if summary.get("n_runs") is not None else ""
        tiles.append({"value": number(summary["n_participants"]), "name": "participants", "detail": runs})
    row = row_of(overall, model, metric)
    if row is not None and metric is not None and overall is not None:
        detail = _interval_text(row)
        tiles.append({"value": number(row["value"], fixed=True), "name": metric_name(metric), "detail": detail})
        others = overall[(overall["metric"] == metric) & (overall["model"] != model)].dropna(subset=["value"])
        if len(others):
            best = others.sort_values("value", ascending=lower_is_better(metric)).iloc[0]
            name = f"best baseline: {model_name(str(best['model']))}"
            tiles.append({"value": number(float(best["value"])), "name": name, "detail": _interval_text(dict(best))})
    if controls is not None and {"control", "p"} <= set(controls.columns):
        chance = controls[controls["control"].astype(str).str.startswith("labels permuted")]
        if len(chance) and chance["p"].notna().any():
            p = float(chance["p"].iloc[0])
            detail = f"{number(chance['n'].iloc[0])} permutations" if "n" in chance.columns else ""
            tiles.append({"value": f"p = {number(p, 3)}", "name": "against permuted labels", "detail": detail})
    return tiles + _reference_tile(reference)


def _interval_text(row: dict[str, Any]) -> str:
    low, high = number(row.get("ci_low"), fixed=True), number(row.get("ci_high"), fixed=True)
    return "" if "–" in (low, high) else f"95\N{NO-BREAK SPACE}% interval {low} to {high}"


def _reference_tile(reference: pd.DataFrame | None) -> list[dict[str, str]]:
    if reference is None or not {"row_class", "column_class", "rho"} <= set(reference.columns):
        return []
    own = reference[reference["row_class"] == reference["column_class"]].dropna(subset=["rho"])
    if own.empty:
        return []
    detail = f"p = {number(float(own['p_holm'].iloc[0]), 3)}" if len(own) == 1 and "p_holm" in own.columns else ""
    if len(own) > 1 and "p_holm" in own.columns:
        detail = f"{int((own['p_holm'] < 0.05).sum())} of {len(own)} classes with p < .05 (Holm)"
    name = "partial r of map and literature" if len(own) == 1 else "mean partial r of maps and literature"
    return [{"value": number(float(own["rho"].mean())), "name": name, "detail": detail}]


def metric_table(overall: pd.DataFrame | None, model: str, chosen: str | None) -> Table | None:
    """Lay out models against metrics, the model of the analysis first."""
    if overall is None:
        return None
    metrics = [name for name in dict.fromkeys(overall["metric"].dropna()) if _measured(overall, name)]
    models = sorted(dict.fromkeys(overall["model"].dropna()), key=lambda name: name != model)
    rows = []
    for name in models:
        cells = [model_name(str(name))]
        for metric in metrics:
            row = row_of(overall, str(name), metric)
            cells.append("–" if row is None else with_interval(row["value"], row.get("ci_low"), row.get("ci_high"), 2))
        rows.append(tuple(cells))
    sizes = overall["n"].dropna() if "n" in overall.columns else pd.Series(dtype=float)
    caption = f"Estimate [95 % interval]; {set_name(chosen) if chosen else 'set not named'}"
    caption += f"; n = {number(sizes.max())}" if len(sizes) else ""
    header = ("Model", *(metric_name(metric, explain=True) for metric in metrics))
    return Table(caption, header, tuple(rows), (False, *(True for _ in metrics)))


def _measured(overall: pd.DataFrame, metric: str) -> bool:
    return bool(overall.loc[overall["metric"] == metric, "value"].notna().any())


def summary_table(summary: dict[str, Any]) -> Table | None:
    """Lay out what the analysis was."""
    pairs: list[tuple[str, object]] = []
    for key, name in _FACTS.items():
        value = summary.get(key)
        if value is not None and value != []:
            if key == "model":
                value = model_name(str(value))
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
        "“Can not be told apart” is not “equal”: the interval of the difference says how far apart the two may be.",
    ]
    if len(summary.get("classes") or []) == 2:
        texts.append(
            "With two classes the evidence for one is the evidence against the other: there is one discriminative map, "
            "and the class-wise maps are descriptive."
        )
    if any(word in str(summary.get("atlas") or "") for word in ("Schaefer", "HarvardOxford", "cort")):
        texts.append("A cortical atlas can not speak about amygdala, striatum, cerebellum or brain stem.")
    if controls is None:
        texts.append(
            "No controls are on disk: whether site, motion or chance explains the result has not been looked at."
        )
    return texts
