"""Which baselines an analysis is judged against."""

from __future__ import annotations

import pandas as pd

from bids_neurossm.config import RunConfig
from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.training.estimator import STATIC, is_joined, registered_models

#: What every model is set against.
ALWAYS = ("majority", "covariates", "pearson-connectivity", "tangent-connectivity")


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
    unknown = [name for name in asked if name not in registered_models()]
    if unknown:
        raise UsageError(f"--baselines {unknown[0]} is not known; known are none, {', '.join(registered_models())}.")
    sites = len(set(runs["site"].astype(str)) - {""}) > 1
    aged = "age" in runs and config.evaluation.target != "age"
    for name, there, what in (("site-only", sites, "two sites"), ("age-only", aged, "a column age besides the target")):
        if name in asked and not there:
            raise LabelError(f"--baselines {name} needs {what}; the table of participants has none.")
    chosen = list(asked or ALWAYS)
    if not asked:
        chosen += ["site-only"] if sites else []
        chosen += ["age-only"] if aged and target_type == "continuous" else []
        # What a sum of two parts has to beat is each of them.
        chosen += [model.removesuffix(STATIC), "tangent-connectivity"] if is_joined(model) else []
    return tuple(name for name in dict.fromkeys(chosen) if name != model)
