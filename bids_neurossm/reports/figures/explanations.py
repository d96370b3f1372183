"""Figures about what carried the predictions: pathways, and the maps against the literature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.canvas import CATEGORIES, FAINT, SIGNED, Picture, new_figure, picture, themed
from bids_neurossm.reports.figures.predictions import name_cells
from bids_neurossm.reports.html_tables import number


def pathway_importance(pathways: pd.DataFrame, colours: Mapping[str, str], note: str = "") -> Picture | None:
    """Draw the importance of each pathway per class with bootstrap intervals.

    Parameters
    ----------
    pathways : DataFrame
        ``label``, ``pathway``, ``importance``, ``ci_low``, ``ci_high``, ``n``.
    colours : mapping of str to str
        Colour per pathway, the same as in the maps.
    note : str
        What a reader has to know of the pathways of this model.
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
            "bootstrap intervals over participants." + (f" {note}" if note else ""),
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
        name_cells(axes, rows, columns)
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


def deletion_curve(curve: pd.DataFrame) -> Picture | None:
    """Draw how fast the decision is lost when the regions that rank high are deleted, against random regions.

    Parameters
    ----------
    curve : DataFrame
        ``label``, ``fraction``, ``map``, ``random_mean``, ``random_low``, ``random_high``, ``n``.

    Returns
    -------
    Picture or None
        None where the table lacks a column.
    """
    if not {"label", "fraction", "map", "random_mean", "random_low", "random_high"} <= set(curve.columns):
        return None
    labels = list(dict.fromkeys(curve["label"].dropna()))
    if not labels:
        return None
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    with themed():
        figure = new_figure(max(4.2, 2.1 * columns + 0.8), 2.3 * lines + 0.4)
        grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(labels) :]:
            axes.set_visible(False)
        for axes, label in zip(grid.flat, labels, strict=False):
            rows = curve[curve["label"] == label].sort_values("fraction")
            share = rows["fraction"].to_numpy(dtype=np.float64) * 100
            band = [rows[name].to_numpy(dtype=np.float64) for name in ("random_low", "random_high")]
            axes.fill_between(share, *band, color=FAINT, linewidth=0, label="random regions")
            axes.plot(share, rows["random_mean"], color=CATEGORIES[6], linewidth=1.2)
            axes.plot(
                share, rows["map"], color=CATEGORIES[5], linewidth=2, marker="o", markersize=3, label="by the map"
            )
            n = rows["n"].max() if "n" in rows.columns else float("nan")
            axes.set_title(f"{label} (n = {number(n)})")
        grid.flat[0].legend()
        figure.supxlabel("Regions deleted (%)", fontsize=9)
        figure.supylabel("Centred logit", fontsize=9)
        return picture(
            figure,
            f"Deletion curves of {len(labels)} maps, the curve by the map against random regions.",
            "The centred logit when the regions that rank highest are deleted first (orange), against deleting random "
            "regions (grey: mean and range), over participants. The faster the orange curve falls, the more the map "
            "knows of what carries the decision.",
            title="Deletion curve",
        )
