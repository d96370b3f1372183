"""From the cells' predictions to the tables that say how good the model is, against what, and whether to believe it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits
from scipy.special import softmax

from bids_neurossm.dataset.write import write_tsv
from bids_neurossm.interfaces.analysis import FINAL, Analysis, Cell
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.comparison import compare, ratio_of_test_to_train
from bids_neurossm.training.controls import label_permutation, probes
from bids_neurossm.training.intervals import bootstrap_interval, nadeau_bengio_interval
from bids_neurossm.training.metrics import METRICS, prediction_frame, score_columns, unit_predictions
from bids_neurossm.training.scoring import score
from bids_neurossm.training.splits import read_splits

#: Bootstraps behind each interval.
RESAMPLES = 1000
#: Each of their bootstraps would be an iterative fit, and small cells make it diverge.
_WITHOUT_INTERVAL = ("calibration_slope", "calibration_intercept", "expected_calibration_error")


class EvaluateInputSpec(RecordingInputSpec):
    """The cells of all models."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    splits = traits.Str(mandatory=True, desc="splits.tsv")
    cells = traits.List(traits.Str, mandatory=True, desc="npz of each cell")


class EvaluateOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The tables."""

    metrics = traits.Str(desc="metrics.tsv")
    comparison = traits.Str(desc="comparison.tsv")
    controls = traits.Str(desc="controls.tsv")


class Evaluate(RecordingInterface):
    """Write predictions, metrics, comparison and controls."""

    input_spec = EvaluateInputSpec
    output_spec = EvaluateOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        units = held_out_units(analysis, cohort, [Path(path) for path in self.inputs.cells])
        write_tsv(analysis.outputs.table("predictions"), prediction_table(units, cohort.classes))
        write_tsv(analysis.outputs.table("metrics"), _metrics(analysis, cohort, units))
        comparison = compare(
            units, analysis.model.name, cohort.classes, None, seed=analysis.execution.random_seed
        ).rename(columns={"low": "ci_low", "high": "ci_high", "n_units": "n", "verdict": "sentence"})
        write_tsv(analysis.outputs.table("comparison"), comparison)
        write_tsv(analysis.outputs.table("controls"), self._controls(analysis, cohort, units))
        for name in ("metrics", "comparison", "controls"):
            self._results[name] = str(analysis.outputs.table(name))

    def _controls(self, analysis: Analysis, cohort: Cohort, units: pd.DataFrame) -> pd.DataFrame:
        """Permute the labels against the most independent predictions there are, and probe for motion and site."""
        own = units[units["model"] == analysis.model.name]
        judged = "holdout" if (own["set"] == "holdout").any() else "development"
        seed = analysis.execution.random_seed
        permuted = label_permutation(own[own["set"] == judged], cohort.classes, analysis.level, seed=seed)
        probed = probes(cohort, read_splits(Path(self.inputs.splits)), seed=seed)
        return pd.concat([permuted, probed], ignore_index=True) if len(probed) else permuted


def held_out_units(analysis: Analysis, cohort: Cohort, paths: list[Path]) -> pd.DataFrame:
    """Gather the predictions of all cells and average them into the units that are scored.

    Returns
    -------
    DataFrame
        As `bids_neurossm.training.metrics` describes it.
    """
    frames = []
    for path in paths:
        cell = Cell.load(path)
        if not cell.indices.size:
            continue
        frames.append(
            prediction_frame(
                cohort.runs.iloc[cell.indices],
                cell.scores,
                cohort.classes,
                model=cell.model,
                set_name="holdout" if cell.fold == FINAL else "development",
                fold=cell.fold,
                seed=cell.seed,
                covariates=analysis.covariates,
            )
        )
    return unit_predictions(pd.concat(frames, ignore_index=True), analysis.level)


def prediction_table(units: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Lay out predictions for people: the class or value predicted, and a probability per class."""
    table = units[["model", "set", "fold", "participant_id", "group", "unit", "site", "label"]].copy()
    scores = units[score_columns(classes)].to_numpy(dtype=np.float64)
    if not classes:
        table["predicted"] = scores[:, 0]
        return table
    table["predicted"] = np.array(classes)[scores.argmax(axis=1)]
    probabilities = softmax(scores, axis=1)
    for number, name in enumerate(classes):
        table[f"logit_{name}"] = scores[:, number]
    for number, name in enumerate(classes):
        table[f"probability_{name}"] = probabilities[:, number]
    return table


def _metrics(analysis: Analysis, cohort: Cohort, units: pd.DataFrame) -> pd.DataFrame:
    """Metrics fold by fold, and over all folds with an interval given these models and one of the procedure."""
    numeric = [name for name in analysis.covariates if pd.api.types.is_numeric_dtype(units[name])]
    scores = score(units, cohort.classes, () if cohort.classes else numeric)
    rows: list[dict[str, Any]] = []
    for (model, set_name, metric), part in scores.groupby(["model", "set", "metric"], sort=False):
        mine = units[(units["model"] == model) & (units["set"] == set_name)]
        defined = part["value"].dropna()
        summary: dict[str, Any] = {
            "model": model,
            "set": set_name,
            "fold": "all",
            "metric": metric,
            "value": defined.mean() if len(defined) else np.nan,
            "n": mine["unit"].nunique(),
            "n_folds": len(defined),
            "n_undefined": len(part) - len(defined),
        }
        if metric in METRICS and metric not in _WITHOUT_INTERVAL and len(defined):
            seed = analysis.execution.random_seed
            given = bootstrap_interval(mine, METRICS[metric], cohort.classes, resamples=RESAMPLES, seed=seed)
            summary |= {"ci_low": given.low, "ci_high": given.high, "interval": f"{given.label}: {given.method}"}
        if len(part) > 1:
            procedure = nadeau_bengio_interval(part["value"].to_numpy(), ratio_of_test_to_train(mine))
            summary |= {"procedure_low": procedure.low, "procedure_high": procedure.high}
        rows.append(summary)
        if len(part) > 1:
            rows += [
                {
                    "model": model,
                    "set": set_name,
                    "fold": str(row.fold),
                    "metric": metric,
                    "value": row.value,
                    "n": row.n_units,
                }
                for row in part.itertuples()
            ]
    columns = ["model", "set", "fold", "metric", "value", "ci_low", "ci_high", "interval"]
    columns += ["procedure_low", "procedure_high", "n", "n_folds", "n_undefined"]
    return pd.DataFrame(rows, columns=columns)
