"""Figures about results: models side by side, differences, controls, learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bids_neurossm.reports.figures.canvas import CATEGORIES, FAINT, INK, Picture, new_figure, picture, themed
from bids_neurossm.reports.html_tables import number
from bids_neurossm.reports.wording import comparison_verdict, metric_name, model_name

_OURS, _OTHERS = CATEGORIES[5], CATEGORIES[0]


def metric_intervals(
    metrics: pd.DataFrame, metric: str, model: str, chance: float | None, folds: pd.DataFrame | None = None
) -> Picture | None:
    """Draw one metric of every model with its interval, the best at the top, each fold as a faint dot.

    Parameters
    ----------
    metrics : DataFrame
        Summary rows of one set: ``model``, ``metric``, ``value``, ``ci_low``, ``ci_high``.
    metric, model : str
        Which metric; which model is the one of this analysis.
    chance : float or None
        Value of guessing, drawn as a line.
    folds : DataFrame, optional
        Rows of single folds: ``model``, ``metric``, ``value``.
    """
    rows = metrics[metrics["metric"] == metric].drop_duplicates("model").dropna(subset=["value"])
    if rows.empty:
        return None
    rows = rows.sort_values("value", ascending=False, kind="stable")
    with themed():
        figure = new_figure(5.4, 1.0 + 0.34 * len(rows))
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        value = rows["value"].to_numpy(dtype=np.float64)
        colours = [_OURS if name == model else _OTHERS for name in rows["model"]]
        drawn = _fold_dots(axes, folds, metric, list(rows["model"]), colours)
        if {"ci_low", "ci_high"} <= set(rows.columns):
            axes.hlines(places, rows["ci_low"], rows["ci_high"], colors=colours, linewidth=2.4)
        axes.scatter(value, places, color=colours, s=40, zorder=3)
        if chance is not None:
            axes.axvline(chance, color=FAINT, linewidth=1, linestyle="--")
        axes.set_yticks(places, [model_name(str(name)) for name in rows["model"]])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel(f"{metric_name(metric, explain=True)}, with 95\N{NO-BREAK SPACE}% interval")
        n = rows["n"].dropna() if "n" in rows.columns else pd.Series(dtype=float)
        text = f"{model_name(model)} (orange) and the baselines on the same splits, "
        text += f"n = {number(int(n.max()))}." if len(n) else "n not on disk."
        text += " Small dots are single folds." if drawn else ""
        kinds = sorted(set(rows["interval"].dropna())) if "interval" in rows.columns else []
        text += f" Interval: {'; '.join(kinds)}, cut where the metric ends." if kinds else ""
        text += " The dashed line is guessing." if chance is not None else ""
        best = model_name(str(rows.iloc[int(np.nanargmax(value))]["model"]))
        alt = f"{metric_name(metric)} of {len(rows)} models with intervals; the largest value is that of {best}."
        return picture(figure, alt, text, title=f"{metric_name(metric)} of every model")


def _fold_dots(
    axes: Any, folds: pd.DataFrame | None, metric: str, models: Sequence[str], colours: Sequence[str]
) -> bool:
    """Draw the value of each fold as a faint dot, and tell whether there were any."""
    if folds is None:
        return False
    rows = folds[(folds["metric"] == metric) & folds["value"].notna()]
    for place, (name, colour) in enumerate(zip(models, colours, strict=True)):
        values = rows.loc[rows["model"] == name, "value"].to_numpy(dtype=np.float64)
        axes.scatter(values, np.full(len(values), place + 0.22), s=9, color=colour, alpha=0.55, linewidths=0)
    return bool(len(rows))


def differences(comparison: pd.DataFrame, metric: str, model: str) -> Picture | None:
    """Draw the paired difference of the model to each baseline, with its interval and what it shows.

    Parameters
    ----------
    comparison : DataFrame
        ``baseline``, ``metric``, ``difference``, ``ci_low``, ``ci_high``, ``p``.
    metric, model : str
        Which metric; the model of the analysis.
    """
    if not {"baseline", "metric", "difference"} <= set(comparison.columns):
        return None
    rows = comparison[comparison["metric"] == metric].drop_duplicates("baseline").dropna(subset=["difference"])
    if rows.empty:
        return None
    with themed():
        figure = new_figure(5.4, 1.0 + 0.34 * len(rows))
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        axes.axvline(0, color=INK, linewidth=0.8)
        tones = {"beats": CATEGORIES[2], "is worse than": CATEGORIES[5]}
        said = [
            comparison_verdict(metric, row["difference"], row.get("ci_low"), row.get("ci_high"), row.get("p"))
            for row in rows.to_dict(orient="records")
        ]
        colours = [tones.get(text, CATEGORIES[6]) for text in said]
        if {"ci_low", "ci_high"} <= set(rows.columns):
            axes.hlines(places, rows["ci_low"], rows["ci_high"], colors=colours, linewidth=2.4)
        axes.scatter(rows["difference"], places, color=colours, s=40, zorder=3)
        axes.set_yticks(places, [f"minus {model_name(str(name))}" for name in rows["baseline"]])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(f"Difference in {metric_name(metric)}, with 95\N{NO-BREAK SPACE}% interval")
        n = rows["n"].dropna() if "n" in rows.columns else pd.Series(dtype=float)
        text = f"{model_name(model)} minus each baseline, paired on the same splits"
        text += f", n = {number(int(n.max()))}. " if len(n) else ". "
        text += "Green: shown to be better; orange: shown to be worse; grey: can not be told apart, or no test."
        methods = sorted(set(rows["method"].dropna())) if "method" in rows.columns else []
        text += f" Test: {'; '.join(methods)}." if methods else ""
        names = [f"{words} {model_name(str(name))}" for words, name in zip(said, rows["baseline"], strict=True)]
        return picture(
            figure, f"Paired differences; the model {'; '.join(names)}.", text, title="Against each baseline"
        )


def controls_figure(controls: pd.DataFrame) -> Picture | None:
    """Draw each control: what was observed, and where chance would have put it.

    Parameters
    ----------
    controls : DataFrame
        ``control``, ``metric``, ``observed``, ``null_mean``, ``null_q95``.
    """
    if not {"control", "observed", "null_mean", "null_q95"} <= set(controls.columns):
        return None
    rows = controls.dropna(subset=["observed", "null_mean", "null_q95"])
    if rows.empty:
        return None
    with themed():
        figure = new_figure(5.4, 1.1 + 0.42 * len(rows))
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        axes.barh(places, rows["null_q95"] - rows["null_mean"], left=rows["null_mean"], height=0.42, color=FAINT)
        axes.scatter(rows["null_mean"], places, marker="|", s=110, color=INK, linewidths=1.2)
        axes.scatter(rows["observed"], places, color=_OURS, s=40, zorder=3)
        names = [
            f"{_short(str(row['control']))}\n({metric_name(str(row.get('metric', '')))})"
            for row in rows.to_dict(orient="records")
        ]
        axes.set_yticks(places, names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("Value of the metric in brackets (no unit)")
        n = rows["n"].dropna() if "n" in rows.columns else pd.Series(dtype=float)
        text = (
            "Observed value (orange dot) against chance: the bar runs from the mean of the null to its 95th percentile"
        )
        text += f", n = {number(int(n.max()))} permutations at most." if len(n) else "; n not on disk."
        beyond = int((rows["observed"] > rows["null_q95"]).sum())
        alt = f"{len(rows)} controls, {beyond} of them with an observed value beyond the 95th percentile of chance."
        return picture(figure, alt, text, title="Controls at a glance")


def _short(text: str) -> str:
    head = text.split(",")[0]
    return head if len(head) <= 44 else head[:43] + "…"


def learning_curve(curve: pd.DataFrame, model: str) -> Picture | None:
    """Draw a metric against the number of groups that were trained on.

    Parameters
    ----------
    curve : DataFrame
        ``model``, ``n_training``, ``metric``, ``value``, ``ci_low``, ``ci_high``.
    model : str
        The model of the analysis.
    """
    if not {"model", "n_training", "metric", "value"} <= set(curve.columns) or curve["value"].isna().all():
        return None
    metric = str(curve["metric"].iloc[0])
    rows = curve[curve["metric"] == metric].sort_values("n_training")
    names = sorted(dict.fromkeys(rows["model"]), key=lambda name: name != model)
    with themed():
        figure = new_figure(5.4, 3.6)
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            part = rows[rows["model"] == name]
            colour = _OURS if name == model else CATEGORIES[[0, 2, 3, 4, 6, 7, 1][(place - 1) % 7]]
            if name == model and {"ci_low", "ci_high"} <= set(part.columns):
                axes.fill_between(
                    part["n_training"].to_numpy(dtype=np.float64),
                    part["ci_low"].to_numpy(dtype=np.float64),
                    part["ci_high"].to_numpy(dtype=np.float64),
                    color=colour,
                    alpha=0.18,
                    linewidth=0,
                )
            axes.plot(
                part["n_training"], part["value"], color=colour, marker="osD^v"[place % 5], markersize=4,
                linewidth=2.2 if name == model else 1.2, label=model_name(str(name)),
            )  # fmt: skip
        axes.set_xlabel("Groups (participants) trained on")
        axes.set_ylabel(metric_name(metric, explain=True))
        figure.legend(loc="outside right upper")
        text = "Learning curve: trained on nested shares of the training side, tested on the same folds, "
        text += f"n = {number(float(rows['n_training'].max()))} groups at most. The band is the 95\N{NO-BREAK SPACE}% "
        text += f"interval of {model_name(model)}."
        ends = rows[rows["model"] == names[0]]["value"].to_numpy(dtype=np.float64)
        alt = f"Learning curve of {len(names)} models; {model_name(str(names[0]))} goes from {ends[0]:.2f} to "
        alt += f"{ends[-1]:.2f}."
        return picture(figure, alt, text, title="Learning curve")
