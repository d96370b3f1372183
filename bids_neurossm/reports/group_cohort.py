"""Who is in an analysis: labels by set, exclusions, and scores by fold and by site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.html_tables import Table, as_table, number
from bids_neurossm.reports.wording import metric_name, model_name, set_name


def cohort_tables(
    summary: dict[str, Any], splits: pd.DataFrame | None, units: pd.DataFrame | None, exclusions: pd.DataFrame | None
) -> dict[str, Any]:
    """Count who is in which set, and who was left out and why.

    Parameters
    ----------
    summary : dict
        ``classes`` and ``class_counts``, where they are there.
    splits : DataFrame or None
        ``splits.tsv``.
    units : DataFrame or None
        Predictions of one model: one row per run or participant that was scored.
    exclusions : DataFrame or None
        ``exclusions.tsv``.
    """
    sets = reasons = listed = paired = None
    if splits is not None and {"label", "set"} <= set(splits.columns):
        sets = _counts(splits, [str(name) for name in summary.get("classes") or []], units, summary)
    if exclusions is not None and "excluded" in exclusions.columns:
        kept = exclusions[exclusions["excluded"] == "no"]
        exclusions = exclusions[exclusions["excluded"] != "no"]
        if len(kept):
            columns = {"participant_id": "Series", "detail": "Table"}
            paired = as_table(kept, "Participants whose identifiers are spelled differently", columns, sortable=True)
    if exclusions is not None and len(exclusions):
        if "reason" in exclusions.columns:
            counts = exclusions.groupby("reason", dropna=False).size().rename("n").reset_index()
            reasons = as_table(
                counts, f"Why runs were excluded (n = {len(exclusions)})", {"reason": "Reason", "n": "Runs"}
            )
        columns = {"run": "Run", "participant_id": "Participant", "reason": "Reason", "detail": "Detail"}
        listed = as_table(exclusions, "Excluded runs", columns, sortable=True, filters=("reason",))
    return {
        "sets": sets,
        "reasons": reasons,
        "excluded": listed,
        "paired": paired,
        "has_exclusions": exclusions is not None,
    }


def labels_of(text: str, classes: Sequence[str]) -> list[str]:
    """Return the classes that a participant's runs have; a target of the run gives several, joined by commas.

    Examples
    --------
    >>> labels_of("flanker, nback", ["flanker", "nback"]), labels_of("a, b", ["a, b", "c"])
    (['flanker', 'nback'], ['a, b'])
    """
    parts = text.split(", ")
    return parts if text not in classes and set(parts) <= set(classes) else [text]


def _counts(
    splits: pd.DataFrame, classes: list[str], units: pd.DataFrame | None, summary: dict[str, Any]
) -> Table | None:
    """Count participants per label and set, and the runs of each label."""
    people = splits.drop_duplicates(["participant_id", "set"]) if "participant_id" in splits.columns else splits
    rows = [
        (label, str(row["set"]))
        for row in people.to_dict(orient="records")
        for label in labels_of(str(row["label"]), classes)
    ]
    long = pd.DataFrame(rows, columns=["label", "set"])
    names = sorted(set(long["set"]))
    total = people.groupby("set").size()
    runs = {str(name): int(value) for name, value in (summary.get("class_counts") or {}).items()}
    per_run = summary.get("scored") == "run" and bool(runs)
    header = ["Label", *(set_name(name).capitalize() for name in names)]
    body: list[tuple[str, ...]] = []
    if long["label"].nunique() <= 20:
        order = [name for name in classes if name in set(long["label"])] or sorted(set(long["label"]))
        table = pd.crosstab(long["label"], long["set"])
        for label in order:
            cells = [label, *(number(int(table.loc[label, name])) for name in names)]
            body.append(tuple([*cells, number(runs.get(label))] if per_run else cells))
    everyone = ["all", *(number(int(total[name])) for name in names)]
    body.append(tuple([*everyone, number(sum(runs.values()))] if per_run else everyone))
    header += ["Runs"] if per_run else []
    caption = "Participants with at least one run of a label, by set" if per_run else "Participants per label and set"
    if units is not None and len(units):
        caption += f"; {number(len(units))} {summary.get('scored') or 'unit'}s were scored"
    return Table(caption, tuple(header), tuple(body), (False, *(True for _ in header[1:])))


def fold_table(metrics: pd.DataFrame | None, model: str, chosen: str | None, shown: Sequence[str]) -> Table | None:
    """Lay out the scores of each fold, the model against every baseline, in one or two metrics."""
    if metrics is None or not {"model", "metric", "value", "fold"} <= set(metrics.columns):
        return None
    rows = metrics[(metrics["fold"] != "all") & metrics["metric"].isin(list(shown)) & metrics["value"].notna()]
    if chosen is not None and "set" in rows.columns:
        rows = rows[rows["set"] == chosen]
    if rows.empty or rows["fold"].nunique() < 2:
        return None
    models = sorted(dict.fromkeys(rows["model"]), key=lambda name: name != model)
    folds = sorted(set(rows["fold"]), key=lambda text: (not text.isdigit(), int(text) if text.isdigit() else 0, text))
    values = rows.drop_duplicates(["fold", "metric", "model"]).set_index(["fold", "metric", "model"])["value"]
    columns = [(metric, name) for metric in shown for name in models if (rows["metric"] == metric).any()]
    sizes = rows.drop_duplicates("fold").set_index("fold")["n"] if "n" in rows.columns else None
    body = [
        (
            fold,
            number(sizes[fold]) if sizes is not None else "–",
            *(number(values.get((fold, metric, name)), 2, fixed=True) for metric, name in columns),
        )
        for fold in folds
    ]
    header = ("Fold", "n", *(f"{model_name(str(name))}, {metric_name(metric)}" for metric, name in columns))
    return Table("Scores of each fold", header, tuple(body), (False, *(True for _ in header[1:])))


def site_table(units: pd.DataFrame | None, classes: Sequence[str]) -> Table | None:
    """Score the model within each site: balanced accuracy, or mean absolute error and r.

    Parameters
    ----------
    units : DataFrame or None
        Predictions of the model of the analysis: ``site``, ``label``, ``predicted``.
    classes : sequence of str
        Class names; empty for a continuous target.

    Returns
    -------
    Table or None
        None without sites, or with a single one.
    """
    if units is None or not {"site", "label", "predicted"} <= set(units.columns):
        return None
    rows = units[units["site"].fillna("") != ""]
    if rows["site"].nunique() < 2:
        return None
    body = []
    for site, part in rows.groupby("site", sort=True):
        if classes:
            hits = (part["label"] == part["predicted"]).groupby(part["label"]).mean()
            # With one class at a site, balanced accuracy would be the share of that class alone.
            balanced = float(hits.mean()) if len(hits) > 1 else float("nan")
            cells = (number(float((part["label"] == part["predicted"]).mean())), number(balanced))
        else:
            truth, guess = (part[name].to_numpy(dtype=np.float64) for name in ("label", "predicted"))
            r = float(np.corrcoef(truth, guess)[0, 1]) if len(part) > 2 else float("nan")
            cells = (number(float(np.abs(truth - guess).mean())), number(r))
        body.append((str(site), number(len(part)), *cells))
    header = ("Site", "n", *(("Accuracy", "Balanced accuracy") if classes else ("Mean absolute error", "r")))
    caption = f"Held-out predictions within each of {len(body)} sites; small sites vary widely by chance"
    return Table(caption, header, tuple(body), (False, True, True, True), raw=tuple(body))
