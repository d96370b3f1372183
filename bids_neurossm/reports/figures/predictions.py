"""Figures about predictions: ROC, confusion, calibration, scatter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.canvas import CATEGORIES, FAINT, Picture, new_figure, picture, themed
from bids_neurossm.reports.html_tables import number


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
        return picture(figure, f"ROC curves; area under the curve: {mean}.", text, title="ROC")


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
        name_cells(axes, list(classes), list(classes))
        axes.set_xlabel("Predicted")
        axes.set_ylabel("True")
        figure.colorbar(image, ax=axes, label="Share of the true class (%)", shrink=0.75)
        right = int(np.trace(values))
        return picture(
            figure,
            f"Confusion matrix of {len(classes)} classes, {right} of {values.sum()} right.",
            f"Confusion matrix, n = {values.sum()} {where}; numbers are counts, rows are the true classes.",
            title="Confusion matrix",
        )


def name_cells(axes: Any, rows: list[str], columns: list[str]) -> None:
    """Write the names of rows and columns along a matrix of cells."""
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
            title="Predicted against true",
        )


def calibration_curve(predictions: pd.DataFrame, classes: Sequence[str], where: str) -> Picture | None:
    """Draw how often a prediction of a given probability was right.

    With two classes the probability of the second is held against its frequency; with more, that of the predicted
    class against how often it was the true one. Bins hold the same number of units; intervals are Wilson's.

    Parameters
    ----------
    predictions : DataFrame
        Rows of one model and one set: ``label``, ``predicted``, ``probability_<Class>``.
    classes : sequence of str
        Class names.
    where : str
        What the rows are.

    Returns
    -------
    Picture or None
        None below 20 units, where a curve would be noise, or without probabilities.
    """
    columns = [f"probability_{name}" for name in classes]
    if len(predictions) < 20 or not {"label", *columns} <= set(predictions.columns):
        return None
    values = predictions[columns].to_numpy(dtype=np.float64)
    truth = predictions["label"].to_numpy()
    if len(classes) == 2:
        stated, right, meaning = values[:, 1], truth == classes[1], f"of {classes[1]}"
    else:
        best = values.argmax(axis=1)
        stated, right, meaning = values.max(axis=1), truth == np.asarray(classes)[best], "of the predicted class"
    order = np.argsort(stated, kind="stable")
    bins = np.array_split(order, int(np.clip(len(order) // 15, 3, 10)))
    x = np.array([stated[part].mean() for part in bins])
    y = np.array([right[part].mean() for part in bins])
    low, high = _wilson(y, np.array([len(part) for part in bins]))
    with themed():
        figure = new_figure(4.8, 4.4)
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axes.vlines(x, low, high, color=CATEGORIES[0], linewidth=1.4)
        axes.plot(x, y, color=CATEGORIES[0], marker="o", markersize=5, linewidth=1.4)
        axes.set_xlabel(f"Predicted probability {meaning}")
        axes.set_ylabel("Observed frequency")
        axes.set_aspect("equal")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.01)
        text = f"Calibration, n = {len(predictions)} {where} in {len(bins)} bins of equal size; bars are "
        text += "95\N{NO-BREAK SPACE}% intervals of the frequency (Wilson). "
        text += "On the dashed line probabilities can be taken at their word."
        alt = f"Calibration curve in {len(bins)} bins, observed frequency between {y.min():.2f} and {y.max():.2f}."
        return picture(figure, alt, text, title="Calibration")


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's 95 % interval of shares over counts."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return middle - half, middle + half
