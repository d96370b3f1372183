"""The card that goes with the final model."""

from __future__ import annotations

from typing import Any

import pandas as pd


def model_card(summary: dict[str, Any], metrics: pd.DataFrame, comparison: pd.DataFrame, controls: pd.DataFrame) -> str:
    """Write the card that goes with the final model."""
    overall = metrics[(metrics["fold"].astype(str) == "all") | (metrics["set"] == "holdout")]
    mine = overall[overall["model"] == summary["model"]]
    lines = [
        f"# {summary['analysis']}",
        "",
        f"{summary['model']} that predicts {summary['target']} from {summary['n_regions']} regional series.",
        "",
        f"- Trained on {summary['n_runs']} runs of {summary['n_participants']} participants"
        + (f", less {summary['holdout']} participants held out." if summary["holdout"] else "."),
        f"- Classes: {', '.join(summary['classes']) or 'a continuous value'}.",
        f"- Atlas: {summary['atlas'] or 'not stated'}; denoising: {summary['strategy'] or 'not stated'}.",
        "",
        "## Performance on data that the judged model never saw",
        "",
        "| set | metric | value | 95 % interval |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row.set} | {row.metric} | {row.value:.3f} | {row.ci_low:.3f} to {row.ci_high:.3f} |"
        for row in mine.itertuples()
        if row.value == row.value and row.ci_low == row.ci_low
    ]
    lines += ["", "## Against baselines", "", *(f"- {text}" for text in comparison["sentence"].dropna())]
    lines += ["", "## Controls", "", *(f"- {row.control}: {row.verdict}" for row in controls.itertuples())]
    lines += ["", "## Limits", "", *(f"- {note}" for note in summary["notes"])]
    lines += ["", "## Methods", "", str(summary["methods"]), ""]
    return "\n".join(lines)
