"""Figures about a cohort: how well was predicted, and what carried it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.canvas import CATEGORIES, FAINT, SIGNED, Picture, new_figure, picture, themed
from bids_neurossm.reports.tables import metric_name, number


def roc_curves(predictions: pd.DataFrame, classes: Sequence[str], where: str) -> Picture | None:
    """Draw the ROC curve of each class against the rest.

    AUCs are taken per fold and averaged, never from scores pooled over folds (docs/methods.md, section 2): scores of
    two models do not share a scale. With two classes one curve says all.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one model and one set: ``fold``, ``label``, ``probability_<Class>``.
    classes : sequence of str
        Class names in the order of the summary.
    where : str
        What the rows are, for the caption ("held-out participants").

    Returns
    -------
    Picture or None
        None if no fold has a class and its rest, or the probabilities are not on disk.
    """
    from sklearn.metrics import auc, roc_curve

    grid = np.linspace(0, 1, 101)
    curves: dict[str, list[np.ndarray]] = {}
    areas: dict[str, list[float]] = {}
    for name in classes[1:] if len(classes) == 2 else classes:
        column = f"probability_{name}"
        if column not in predictions.columns:
            continue
        for _, rows in predictions.groupby("fold", sort=True, dropna=False):
            truth = (rows["label"] == name).to_numpy()
            if truth.all() or not truth.any():
                continue
            false_rate, true_rate, _ = roc_curve(truth, rows[column].to_numpy(dtype=np.float64))
            curves.setdefault(name, []).append(np.concatenate([[0.0], np.interp(grid, false_rate, true_rate)]))
            areas.setdefault(name, []).append(float(auc(false_rate, true_rate)))
    if not curves:
        return None
    folds = max(len(items) for items in curves.values())
    with themed():
        figure = new_figure(4.8, 4.4 if len(curves) < 5 else 5.0)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        styles = ("-", "--", ":", "-.")
        for place, (name, items) in enumerate(curves.items()):
            colour = CATEGORIES[place % len(CATEGORIES)]
            if folds > 1 and len(curves) == 1:
                for item in items:
                    axes.plot([0.0, *grid], item, color=colour, linewidth=0.7, alpha=0.45)
            axes.plot(
                [0.0, *grid],
                np.mean(items, axis=0),
                color=colour,
                linewidth=2,
                linestyle=styles[place // 2 % 4],
                label=f"{name}, AUC {np.mean(areas[name]):.2f}",
            )
        axes.set_xlabel("False positive rate")
        axes.set_ylabel("True positive rate")
        axes.set_aspect("equal")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        if len(curves) < 5:
            axes.legend(loc="lower right")
        else:
            figure.legend(loc="outside lower center", ncols=2)
        mean = ", ".join(f"{name} {np.mean(items):.2f}" for name, items in areas.items())
        text = f"ROC, n = {len(predictions)} {where}"
        text += f", mean of {folds} folds (AUC per fold, then averaged)." if folds > 1 else "."
        return picture(figure, f"ROC curves; area under the curve: {mean}.", text)


def confusion_matrix(predictions: pd.DataFrame, classes: Sequence[str], where: str) -> Picture | None:
    """Draw true against predicted classes, coloured by the share of the true class.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one model and one set: ``label``, ``predicted``.
    classes : sequence of str
        Class names.
    where : str
        What the rows are.
    """
    if not {"label", "predicted"} <= set(predictions.columns) or predictions.empty:
        return None
    counts = pd.crosstab(predictions["label"], predictions["predicted"]).reindex(
        index=list(classes), columns=list(classes), fill_value=0
    )
    values = counts.to_numpy()
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    size = min(5.2, 2.6 + 0.42 * len(classes))
    with themed():
        figure = new_figure(size + 0.6, size)
        axes = figure.add_subplot()
        image = axes.imshow(shares * 100, cmap="cividis", vmin=0, vmax=100)
        for row, column in np.ndindex(values.shape):
            colour = "#111111" if shares[row, column] > 0.55 else "#f4f4f4"
            text = (
                f"{values[row, column]}\n{shares[row, column] * 100:.0f}\N{NO-BREAK SPACE}%"
                if len(classes) <= 4
                else f"{values[row, column]}"
            )
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        _name_cells(axes, list(classes), list(classes))
        axes.set_xlabel("Predicted")
        axes.set_ylabel("True")
        figure.colorbar(image, ax=axes, label="Share of the true class (%)", shrink=0.75)
        right = int(np.trace(values))
        return picture(
            figure,
            f"Confusion matrix of {len(classes)} classes, {right} of {values.sum()} right.",
            f"Confusion matrix, n = {values.sum()} {where}; numbers are counts, rows are the true classes.",
        )


def _name_cells(axes: Any, rows: list[str], columns: list[str]) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    if max((len(name) for name in columns), default=0) * len(columns) > 34:
        axes.tick_params(axis="x", labelrotation=90)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def scatter(predictions: pd.DataFrame, target: str, where: str) -> Picture | None:
    """Draw predicted against true values with the line of equality.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one model and one set: ``label``, ``predicted``.
    target : str
        Name of the target, with its unit where it is known.
    where : str
        What the rows are.
    """
    if not {"label", "predicted"} <= set(predictions.columns):
        return None
    values = predictions[["label", "predicted"]].apply(pd.to_numeric, errors="coerce").dropna()
    if values.empty:
        return None
    low, high = float(values.min().min()), float(values.max().max())
    margin = (high - low) * 0.04 or 1.0
    with themed():
        figure = new_figure(4.8, 4.4)
        axes = figure.add_subplot()
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1, linestyle="--")
        axes.scatter(values["label"], values["predicted"], s=16, alpha=0.6, color=CATEGORIES[0], linewidths=0)
        axes.set_xlim(low - margin, high + margin)
        axes.set_ylim(low - margin, high + margin)
        axes.set_aspect("equal")
        axes.set_xlabel(f"True {target} (units of the table)")
        axes.set_ylabel(f"Predicted {target} (units of the table)")
        r = float(np.corrcoef(values["label"], values["predicted"])[0, 1]) if len(values) > 2 else float("nan")
        return picture(
            figure,
            f"Scatter of predicted against true {target}, {len(values)} points around the line of equality.",
            f"Predicted against true values, n = {len(values)} {where}; r over all points = {number(r)}. "
            "The dashed line is a perfect prediction.",
        )


def metric_intervals(metrics: pd.DataFrame, metric: str, model: str, chance: float | None) -> Picture | None:
    """Draw one metric of every model with its interval.

    Parameters
    ----------
    metrics : DataFrame
        Summary rows of one set: ``model``, ``metric``, ``value``, ``ci_low``, ``ci_high``.
    metric, model : str
        Which metric; which model is the one of this analysis.
    chance : float or None
        Value of guessing, drawn as a line.
    """
    rows = metrics[metrics["metric"] == metric].drop_duplicates("model").dropna(subset=["value"])
    if rows.empty:
        return None
    with themed():
        figure = new_figure(5.6, 1.0 + 0.32 * len(rows))
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        value = rows["value"].to_numpy(dtype=np.float64)
        colours = [CATEGORIES[5] if name == model else CATEGORIES[0] for name in rows["model"]]
        if {"ci_low", "ci_high"} <= set(rows.columns):
            axes.hlines(places, rows["ci_low"], rows["ci_high"], colors=colours, linewidth=2)
        axes.scatter(value, places, color=colours, s=34, zorder=3)
        if chance is not None:
            axes.axvline(chance, color=FAINT, linewidth=1, linestyle="--")
        axes.set_yticks(places, list(rows["model"]))
        axes.invert_yaxis()
        axes.set_xlabel(f"{metric_name(metric)}, no unit, with 95\N{NO-BREAK SPACE}% interval")
        n = rows["n"].dropna() if "n" in rows.columns else pd.Series(dtype=float)
        size = f"n = {number(int(n.max()))}" if len(n) else "n not on disk"
        kinds = sorted(set(rows["interval"].dropna())) if "interval" in rows.columns else []
        text = f"{model} (orange) against the baselines on the same splits, {size}."
        if kinds:
            text += f" Interval: {'; '.join(kinds)}."
        if chance is not None:
            text += " The dashed line is guessing."
        best = rows.iloc[int(np.nanargmax(value))]["model"]
        return picture(
            figure,
            f"{metric_name(metric)} of {len(rows)} models with intervals; the largest value is that of {best}.",
            text,
        )


def pathway_importance(pathways: pd.DataFrame, colours: Mapping[str, str]) -> Picture | None:
    """Draw the importance of each pathway per class with bootstrap intervals.

    Parameters
    ----------
    pathways : DataFrame
        ``label``, ``pathway``, ``importance``, ``ci_low``, ``ci_high``, ``n``.
    colours : mapping of str to str
        Colour per pathway, the same as in the maps.
    """
    if pathways.empty or not {"pathway", "importance"} <= set(pathways.columns):
        return None
    labels = list(dict.fromkeys(pathways["label"].fillna("both classes"))) if "label" in pathways.columns else ["all"]
    names = list(dict.fromkeys(pathways["pathway"]))
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    with themed():
        figure = new_figure(max(5.6, 2.3 * columns + 1.2), lines * (0.9 + 0.26 * len(names)) + 0.4)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(labels) :]:
            axes.set_visible(False)
        for axes in grid.flat[max(len(labels) - columns, 0) : len(labels)]:
            # The last panel of a column carries the numbers, also where the panel under it is empty.
            axes.tick_params(labelbottom=True)
        for axes, label in zip(grid.flat, labels, strict=False):
            rows = pathways
            if "label" in pathways.columns:
                rows = pathways[pathways["label"].fillna("both classes") == label]
            rows = rows.drop_duplicates("pathway").set_index("pathway").reindex(names)
            _pathway_bars(axes, rows, names, colours)
            n = rows["n"].max() if "n" in rows.columns else float("nan")
            axes.set_title(f"{label} (n = {number(n)})")
        figure.supxlabel("Mean change of the centred logit", fontsize=9)
        return picture(
            figure,
            f"Importance of {len(names)} pathways for {len(labels)} classes, as dots with intervals.",
            "Pathway importance (change of the class's centred logit against the class-balanced mean input) "
            "with 95\N{NO-BREAK SPACE}% "
            "bootstrap intervals over participants. A scale is s time points of averaging.",
        )


def _pathway_bars(axes: Any, rows: pd.DataFrame, names: list[str], colours: Mapping[str, str]) -> None:
    places = np.arange(len(names))
    tones = [colours.get(name, CATEGORIES[6]) for name in names]
    axes.axvline(0, color=FAINT, linewidth=1)
    if {"ci_low", "ci_high"} <= set(rows.columns):
        axes.hlines(places, rows["ci_low"], rows["ci_high"], colors=tones, linewidth=2)
    axes.scatter(rows["importance"], places, color=tones, s=30, zorder=3)
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.5, -0.5)


def reference_matrix(reference: pd.DataFrame) -> Picture | None:
    """Draw the partial correlation of every class map with every class's reference.

    Parameters
    ----------
    reference : DataFrame
        ``row_class`` (map), ``column_class`` (reference), ``rho``, ``p_holm``.

    Returns
    -------
    Picture or None
        None for a single contrast, which a table says better.
    """
    if not {"row_class", "column_class", "rho"} <= set(reference.columns) or len(reference) < 4:
        return None
    rows = list(dict.fromkeys(reference["row_class"]))
    columns = [name for name in rows if name in set(reference["column_class"])]
    columns += [name for name in dict.fromkeys(reference["column_class"]) if name not in columns]
    table = reference.drop_duplicates(["row_class", "column_class"]).set_index(["row_class", "column_class"])
    values = table["rho"].unstack().reindex(index=rows, columns=columns).to_numpy(dtype=np.float64)
    marks = np.full(values.shape, "", dtype=object)
    if "p_holm" in table.columns:
        p = table["p_holm"].unstack().reindex(index=rows, columns=columns).to_numpy(dtype=np.float64)
        marks[p < 0.05] = "*"
    top = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0, 0.1)
    size = 2.8 + 0.5 * len(rows)
    with themed():
        figure = new_figure(size + 0.7, size)
        axes = figure.add_subplot()
        image = axes.imshow(values, cmap=SIGNED, vmin=-top, vmax=top)
        for row, column in np.ndindex(values.shape):
            if np.isfinite(values[row, column]):
                strong = abs(values[row, column]) > 0.6 * top
                text = f"{values[row, column]:.2f}{marks[row, column]}".replace("-", "−")
                colour = "#f7f7f7" if strong else "#1a1a1a"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
        _name_cells(axes, rows, columns)
        axes.set_xlabel("Meta-analytic reference")
        axes.set_ylabel("CPA map")
        figure.colorbar(image, ax=axes, label="Partial correlation", shrink=0.75)
        n = reference["n_regions"].max() if "n_regions" in reference.columns else float("nan")
        return picture(
            figure,
            f"Matrix of partial correlations between {len(rows)} class maps and {len(columns)} references.",
            f"Partial correlation over n = {number(n)} regions; * Holm-corrected p < .05 against surrogate maps that "
            "keep the spatial autocorrelation.",
        )
