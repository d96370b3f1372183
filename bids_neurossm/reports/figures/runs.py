"""Figures about one run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.canvas import CATEGORIES, FAINT, SIGNED, Picture, new_figure, picture, themed


def network_order(networks: Sequence[str]) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
    """Sort regions by network, the networks in the order in which they first appear.

    Parameters
    ----------
    networks : sequence of str, length R
        Network of each region; empty where it has none.

    Returns
    -------
    order : ndarray, shape (R,)
        Region indices, sorted.
    blocks : list of (str, int, int)
        Name, first and one past the last place of each network in `order`.
    """
    names = list(dict.fromkeys(networks))
    rank = {name: place for place, name in enumerate(names)}
    order = np.argsort([rank[name] for name in networks], kind="stable")
    blocks, start = [], 0
    for name in names:
        stop = start + sum(1 for other in networks if other == name)
        blocks.append((name or "no network", start, stop))
        start = stop
    return order, blocks


def z_scored(series: np.ndarray) -> np.ndarray:
    """z-score each region over time; a constant or missing region becomes NaN.

    Parameters
    ----------
    series : ndarray, shape (T, R)
        Region means, NaN where missing.
    """
    filled = np.isfinite(series)
    count = np.maximum(filled.sum(axis=0), 1)
    mean = np.where(filled, series, 0).sum(axis=0) / count
    centred = series - mean
    deviation = np.sqrt(np.where(filled, centred**2, 0).sum(axis=0) / count)
    return np.asarray(centred / np.where(deviation > 0, deviation, np.nan))


def segment_starts(segments: Sequence[Sequence[int]], rows: int) -> list[int]:
    """Return the rows of the series at which a new contiguous segment begins, the first left out.

    Segments are counted in volumes of the input; where censored volumes were taken out their lengths add up to the
    rows that are left, otherwise nothing can be said and nothing is drawn.
    """
    lengths = [int(stop) - int(start) for start, stop in segments]
    if sum(lengths) != rows:
        return []
    return [int(place) for place in np.cumsum(lengths)[:-1]]


def carpet(
    series: pd.DataFrame,
    networks: Sequence[str],
    repetition_time: float | None,
    segments: Sequence[Sequence[int]],
    displacement: np.ndarray | None,
    kept: np.ndarray | None = None,
    threshold: float | None = None,
) -> Picture:
    """Draw the carpet of a run, regions sorted by network, framewise displacement above it where it is known.

    Parameters
    ----------
    series : DataFrame, shape (T, R)
        Denoised region means.
    networks : sequence of str, length R
        Network per region.
    repetition_time : float or None
        Seconds; without it time is counted in volumes.
    segments : sequence of (start, stop)
        Contiguous pieces of the run.
    displacement : ndarray, shape (V,), or None
        Framewise displacement in mm; V may count volumes that the series no longer has.
    kept : ndarray of bool, shape (V,), or None
        Whether each of those volumes is in the series.
    threshold : float or None
        Censoring threshold in mm.
    """
    order, blocks = network_order(networks)
    values = z_scored(series.to_numpy(dtype=np.float64))[:, order]
    rows, regions = values.shape
    step, unit = (repetition_time, "s") if repetition_time else (1.0, "volumes")
    with themed():
        figure = new_figure(9.0, 4.6 if displacement is None else 5.6)
        parts = figure.add_gridspec(2, 1, height_ratios=[1, 4]) if displacement is not None else None
        axes = figure.add_subplot(parts[1] if parts is not None else 111)
        if displacement is not None and parts is not None:
            top = figure.add_subplot(parts[0])
            _displacement_trace(top, displacement, step, rows, kept, threshold)
            if len(displacement) != rows:
                top.set_xlabel(f"Time in the run ({unit})")
        image = axes.imshow(
            values.T, aspect="auto", cmap="gray", vmin=-2.5, vmax=2.5, extent=(0, rows * step, regions, 0)
        )
        for place in segment_starts(segments, rows):
            axes.axvline(place * step, color=CATEGORIES[5], linewidth=0.8)
        _network_ticks(axes.yaxis, axes.axhline, blocks)
        axes.set_xlabel(f"Time in the cleaned series ({unit})")
        axes.set_ylabel("Regions by network")
        figure.colorbar(image, ax=axes, label="Signal (SD of the region)", shrink=0.7, aspect=24, pad=0.01)
        gaps = len(segment_starts(segments, rows))
        caption = (
            f"Carpet of {regions} regions x {rows} volumes, each region z-scored over the run and cut at ±2.5 SD; "
            "regions without signal are left blank."
        )
        if gaps:
            caption += f" {gaps} orange line{'s mark' if gaps > 1 else ' marks'} where volumes were taken out."
        alt = f"Carpet plot, {regions} regions over {rows} volumes, {len(blocks)} networks from top to bottom."
        return picture(figure, alt, caption)


def _displacement_trace(
    axes: Any, displacement: np.ndarray, step: float, rows: int, kept: np.ndarray | None, threshold: float | None
) -> None:
    """Draw framewise displacement; volumes that are not in the series are marked."""
    times = (np.arange(len(displacement)) + 0.5) * step
    axes.plot(times, displacement, color=CATEGORIES[0], linewidth=0.9)
    if threshold is not None:
        axes.axhline(threshold, color=CATEGORIES[5], linewidth=0.8, linestyle="--")
    axes.set_ylabel("FD (mm)")
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(displacement) * step)
    if len(displacement) == rows:
        axes.tick_params(labelbottom=False)
        return
    title = f"Framewise displacement of all {len(displacement)} volumes read; {rows} are kept below"
    if kept is not None and len(kept) == len(displacement) and not kept.all():
        # A volume without a displacement (the first of a run) is marked on the axis.
        axes.scatter(
            times[~kept], np.nan_to_num(displacement[~kept]), s=14, color=CATEGORIES[5], zorder=3, clip_on=False
        )
        title += " (orange: not kept)"
    axes.set_title(title)


def _network_ticks(axis: Any, line: Any, blocks: list[tuple[str, int, int]]) -> None:
    """Name the networks at the middle of their blocks, with a line between two blocks."""
    if len(blocks) > 30:
        return
    axis.set_ticks([(start + stop) / 2 for _, start, stop in blocks], [name for name, _, _ in blocks])
    axis.set_tick_params(length=0)
    for _, start, _ in blocks[1:]:
        line(start, color=FAINT, linewidth=0.7)


def coverage_histogram(coverage: np.ndarray, used: np.ndarray) -> Picture:
    """Draw how many regions have which share of their voxels covered.

    Parameters
    ----------
    coverage : ndarray, shape (R,)
        Shares in [0, 1].
    used : ndarray of bool, shape (R,)
        Whether the region is used.
    """
    edges = np.linspace(0, 1, 21)
    with themed():
        figure = new_figure(5.0, 2.5)
        axes = figure.add_subplot()
        axes.hist(
            [coverage[used] * 100, coverage[~used] * 100],
            bins=list(edges * 100),
            stacked=True,
            color=[CATEGORIES[0], CATEGORIES[5]],
            label=[f"used ({int(used.sum())})", f"not used ({int((~used).sum())})"],
        )
        axes.set_xlabel("Voxels of the region with signal (%)")
        axes.set_ylabel("Regions (log scale)")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(0, 100)
        axes.legend(loc="upper left")
        alt = f"Histogram of coverage: {int(used.sum())} of {len(used)} regions are used."
        caption = f"Coverage of n = {len(used)} regions; median {np.nanmedian(coverage) * 100:.0f}\N{NO-BREAK SPACE}%."
        return picture(figure, alt, caption, title="Coverage of the regions")


def connectivity(matrix: np.ndarray, networks: Sequence[str], measure: str = "Pearson correlation") -> Picture:
    """Draw the matrix between the regions of a run, regions sorted by network.

    Parameters
    ----------
    matrix : ndarray, shape (R, R)
        Correlations, NaN where a region has no signal.
    networks : sequence of str, length R
        Network per region.
    measure : str
        What the numbers are.
    """
    order, blocks = network_order(networks)
    values = matrix[np.ix_(order, order)].copy()
    np.fill_diagonal(values, np.nan)
    regions = len(order)
    off = values[np.isfinite(values)]
    # The hundredth part of the edges may lie beyond the colours, so that the others are told apart.
    top = float(np.quantile(np.abs(off), 0.99)) if off.size else 1.0
    bounded = "correlation" in measure
    name = measure[:1].upper() + measure[1:]
    top = float(np.clip(np.ceil(top * 10) / 10, 0.3, 1.0)) if bounded else top or 1.0
    with themed():
        figure = new_figure(5.6, 5.2)
        axes = figure.add_subplot()
        image = axes.imshow(values, cmap=SIGNED, vmin=-top, vmax=top, extent=(0, regions, regions, 0))
        _network_ticks(axes.yaxis, axes.axhline, blocks)
        _network_ticks(axes.xaxis, axes.axvline, blocks)
        axes.tick_params(axis="x", labelrotation=90)
        figure.colorbar(
            image,
            ax=axes,
            label=f"{name} ({'no unit' if bounded else 'squared units of the series'})",
            shrink=0.7,
            aspect=24,
            extend="neither" if bounded and top == 1 else "both",
        )
        middle = f"{np.median(off):.2f}".replace("-", "−") if off.size else "not defined"
        caption = f"{name} between n = {regions} regions, sorted by network; median {middle}. "
        caption += f"Colours end at ±{top:.2g}."
        alt = f"Connectivity matrix of {regions} regions in {len(blocks)} networks."
        return picture(figure, alt, caption, title=name)


def class_probabilities(classes: Sequence[str], probabilities: np.ndarray) -> Picture:
    """Draw the probability of each class for one run as bars."""
    with themed():
        figure = new_figure(5.0, 0.9 + 0.3 * len(classes))
        axes = figure.add_subplot()
        places = np.arange(len(classes))
        axes.barh(places, probabilities * 100, color=CATEGORIES[0], height=0.65)
        for place, value in zip(places, probabilities, strict=True):
            axes.text(min(value * 100 + 1, 90), place, f"{value * 100:.0f}\N{NO-BREAK SPACE}%", va="center", fontsize=8)
        axes.set_yticks(places, list(classes))
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("Probability (%)")
        best = classes[int(np.nanargmax(probabilities))]
        return picture(
            figure,
            f"Bars of the probability of {len(classes)} classes; the highest is {best}.",
            "Model output for n = 1 run, softmax of the logits. It is no diagnosis.",
        )
