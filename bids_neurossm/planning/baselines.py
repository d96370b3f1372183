"""Which baselines an analysis is judged against."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.config import RunConfig
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.registry import STATIC_BASELINE, baseline_panel, model_entry, model_names


def choose_baselines(config: RunConfig, runs: pd.DataFrame, model: str, target_type: str) -> tuple[str, ...]:
    """Take the baselines that were named, or the panel that fits the cohort.

    Parameters
    ----------
    config : RunConfig
        ``evaluation.baselines``, and the target.
    runs : DataFrame
        Table of the runs: what has no site or no age gets no baseline of it.
    model : str
        The model that is judged; it is not its own baseline.
    target_type : {"class", "continuous"}
        Age alone is what a continuous target, a score of cognition for example, has to be set against.

    Raises
    ------
    UsageError
        If a name is not registered.
    LabelError
        If a baseline was named whose column the cohort does not have.
    """
    asked = config.evaluation.baselines
    if asked == ("none",):
        return ()
    unknown = [name for name in asked if name not in model_names()]
    if unknown:
        raise UsageError(f"--baselines {unknown[0]} is not known; known are none, {', '.join(model_names())}.")
    chosen = list(asked)
    for name in asked:
        column = model_entry(name).needs
        if not _tells(column, config, runs):
            raise LabelError(
                f"--baselines {name} needs a column {column} that varies and is not the target; the table of "
                "participants has none."
            )
    if not asked:
        chosen += [name for name in baseline_panel(target_type) if _tells(model_entry(name).needs, config, runs)]
        # What a sum of two parts has to beat is each of them.
        joined = model_entry(model).joins
        chosen += [joined, STATIC_BASELINE] if joined else []
    return tuple(name for name in dict.fromkeys(chosen) if name != model)


def _tells(column: str, config: RunConfig, runs: pd.DataFrame) -> bool:
    """Whether a baseline of that column has something to learn: it varies, and is not the target."""
    if not column:
        return True
    known = set(runs[column].dropna().astype(str)) - {""} if column in runs else set()
    return len(known) > 1 and config.evaluation.target != column
