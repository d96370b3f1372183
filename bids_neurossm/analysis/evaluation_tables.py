"""From the cells' predictions to the tables that say how good the model is, against what, and whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import softmax

from bids_neurossm.analysis.cells import FINAL, Analysis, Cell
from bids_neurossm.analysis.holdout_ledger import look_sentence, record_look
from bids_neurossm.baselines.connectivity import pearson_features
from bids_neurossm.cohort.split_table import Splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.cohort.surrogates import NULL, TRAINED_ON, altered
from bids_neurossm.controls.confounds import confounds
from bids_neurossm.controls.fingerprinting import alike_participants
from bids_neurossm.controls.permutation import label_permutation
from bids_neurossm.controls.probes import probes
from bids_neurossm.controls.retrained import (
    altered_series_controls,
    altered_series_table,
    learning_curve_table,
    retrained_null_control,
)
from bids_neurossm.evaluation.brain_age_gap import age_gaps, age_trend
from bids_neurossm.evaluation.calibration import calibrated, temperatures
from bids_neurossm.evaluation.comparison import FoldsAre, compare
from bids_neurossm.evaluation.metric_tables import metric_table, table_by_value
from bids_neurossm.evaluation.metrics import (
    mean_over_folds,
    prediction_frame,
    primary_metric,
    score_columns,
    unit_predictions,
)
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.write import write_tsv

#: Bootstraps behind each interval.
RESAMPLES = 1000
#: Permutations behind each p of a control.
PERMUTATIONS = 1000


class EvaluationTables:
    """Makes the tables of one analysis from its cells.

    Parameters
    ----------
    analysis : Analysis
        What was done.
    cohort : Cohort
        On whom.
    splits : Splits
        Who was tested by whom.
    cells : sequence of Cell
        Results of every model in every fold.
    """

    def __init__(self, analysis: Analysis, cohort: Cohort, splits: Splits, cells: Sequence[Cell]) -> None:
        self.analysis = analysis
        self.cohort = cohort
        self.splits = splits
        self.cells = cells
        self.classes = cohort.classes
        self.seed = analysis.execution.random_seed
        self.folds_are: FoldsAre = "random" if analysis.evaluation.leave_out is None else "sites"
        self.metric = primary_metric(self.classes, analysis.level)
        self.units = held_out_units(analysis, cohort, [cell for cell in cells if not cell.key.variant])

    def write_tables(self) -> list[str]:
        """Write every table and return the notes for the report."""
        outputs = self.analysis.outputs
        found = temperatures(self.units, self.classes)
        write_tsv(outputs.table("predictions"), prediction_table(self.units, found, self.classes))
        write_tsv(outputs.table("metrics"), self._metrics(found))
        notes = self._split_notes()
        look = self._look()
        if look is not None:
            notes.append(look)
        write_tsv(outputs.table("comparison"), self._comparison(look))
        write_tsv(outputs.table("controls"), self._controls())
        if self.analysis.evaluation.leave_out is not None:
            write_tsv(outputs.table("left_out"), self._by_value(self.analysis.evaluation.leave_out))
        column = str(self.cohort.extra.get("target", "")).rpartition(":")[2]
        if not self.classes and column.casefold() == "age":
            gaps = age_gaps(self.units)
            write_tsv(outputs.table("age_gaps"), gaps)
            write_tsv(outputs.table("age_bias"), age_trend(gaps))
        if self.analysis.evaluation.learning_curve:
            table, sentence = self._learning_curve()
            write_tsv(outputs.table("learning_curve"), table)
            notes.append(sentence)
        return notes

    def _metrics(self, found: pd.DataFrame) -> pd.DataFrame:
        numeric = [name for name in self.analysis.covariates if pd.api.types.is_numeric_dtype(self.units[name])]
        return metric_table(
            self.units,
            found,
            self.classes,
            () if self.classes else numeric,
            folds_are=self.folds_are,
            resamples=RESAMPLES,
            seed=self.seed,
        )

    def _comparison(self, look: str | None) -> pd.DataFrame:
        found = compare(
            self.units,
            self.analysis.model.name,
            self.classes,
            folds_are=self.folds_are,
            resamples=2 * RESAMPLES,
            seed=self.seed,
        )
        table = found.rename(columns={"low": "ci_low", "high": "ci_high", "n_units": "n", "verdict": "sentence"})
        if look is not None:
            held = table["set"] == "holdout"
            table.loc[held, "sentence"] = table.loc[held, "sentence"] + " " + look
        return table

    def _split_notes(self) -> list[str]:
        """Say what the intervals rest on."""
        folds, repeats = self.analysis.evaluation.folds, self.splits.repeats
        if self.folds_are == "sites":
            return [
                f"Intervals and tests are taken over {folds} left-out folds of {self.analysis.evaluation.leave_out}."
            ]
        if repeats == 1:
            return [
                f"Out-of-fold intervals rest on the {folds} folds of one split; another split would give other "
                "figures. --repeats 10 averages over ten of them."
            ]
        return [f"Out-of-fold figures and intervals are means over {repeats} splits of {folds} folds each."]

    def _look(self) -> str | None:
        """Enter this look at the holdout into the ledger."""
        own = self.units[(self.units["model"] == self.analysis.model.name) & (self.units["set"] == "holdout")]
        if own.empty:
            return None
        final = [cell for cell in self.cells if cell.fold == FINAL and cell.model == self.analysis.model.name]
        configuration = hash_content(sorted(cell.digest for cell in final))
        target = str(self.cohort.extra.get("target", "the target"))
        value = mean_over_folds(own, self.classes, self.metric)
        return look_sentence(record_look(self.analysis, target, configuration, len(own), self.metric, value), target)

    def _controls(self) -> pd.DataFrame:
        """Permute the labels against the most independent predictions there are; what else could explain them."""
        own = self.units[self.units["model"] == self.analysis.model.name]
        judged = own[own["set"] == ("holdout" if (own["set"] == "holdout").any() else "development")]
        tables = [
            label_permutation(judged, self.classes, self.analysis.level, permutations=PERMUTATIONS, seed=self.seed)
        ]
        if self.analysis.evaluation.retrained_nulls:
            tables.append(self._retrained_nulls())
        if self.analysis.evaluation.controls:
            tables.append(self._altered_series())
        features = pearson_features(self.cohort, np.arange(len(self.cohort.runs)))
        drawn = {"permutations": PERMUTATIONS, "seed": self.seed}
        tables.append(probes(self.cohort, self.splits, features=np.asarray(features), **drawn))
        tables.append(confounds(self.cohort, self.splits, **drawn))
        tables.append(alike_participants(self.cohort.runs, features))
        return pd.concat([table for table in tables if len(table)], ignore_index=True)

    def _altered_series(self) -> pd.DataFrame:
        parts = {
            variant: held_out_units(self.analysis, self.cohort, self._variant(variant))
            for variant in self.analysis.evaluation.controls
        }
        table = altered_series_table(self.units, parts, self.analysis.model.name, self.classes, self.folds_are)
        write_tsv(
            self.analysis.outputs.table("altered_series"),
            table.drop(columns=["verdict"]).rename(columns={"baseline": "altered", "baseline_value": "altered_value"}),
        )
        return altered_series_controls(table, self.metric)

    def _retrained_nulls(self) -> pd.DataFrame:
        """Compare like with like: the first seed on the first split, as the nulls are trained."""
        first = [cell for cell in self._own("") if cell.seed == 1 and cell.key.split == 1 and cell.fold != FINAL]
        observed = mean_over_folds(held_out_units(self.analysis, self.cohort, first), self.classes, self.metric)
        values = []
        for number in range(1, self.analysis.evaluation.retrained_nulls + 1):
            variant = f"{NULL}{number}"
            cohort = altered(self.cohort, variant, self.analysis.level, self.seed)
            units = held_out_units(self.analysis, cohort, self._variant(variant))
            values.append(mean_over_folds(units, self.classes, self.metric))
        table = pd.DataFrame({"null": range(1, len(values) + 1), "metric": self.metric, "value": values})
        write_tsv(self.analysis.outputs.table("retrained_nulls"), table)
        sites = self.cohort.runs["site"].astype(str).nunique() > 1
        where = (
            "within participants" if self.analysis.level == "run" else f"within {'sites' if sites else 'the cohort'}"
        )
        return retrained_null_control(observed, values, self.metric, where)

    def _learning_curve(self) -> tuple[pd.DataFrame, str]:
        parts: dict[int, pd.DataFrame] = {}
        sizes: dict[tuple[str, int], float] = {}
        every = {100: [cell for cell in self.cells if not cell.key.variant and cell.key.split == cell.seed == 1]}
        for cell in self.cells:
            if cell.key.variant.startswith(TRAINED_ON):
                every.setdefault(int(cell.key.variant.removeprefix(TRAINED_ON)), []).append(cell)
        for percent, cells in every.items():
            folds = [cell for cell in cells if cell.fold != FINAL]
            parts[percent] = held_out_units(self.analysis, self.cohort, folds)
            counts = pd.DataFrame({"model": [c.model for c in folds], "n": [c.n_training for c in folds]})
            sizes |= {(str(name), percent): float(n) for name, n in counts.groupby("model")["n"].mean().items()}
        return learning_curve_table(parts, sizes, self.analysis.model.name, self.classes, self.metric, self.folds_are)

    def _by_value(self, column: str) -> pd.DataFrame:
        sizes = {cell.fold: cell.n_training for cell in self._own("") if cell.seed == 1}
        return table_by_value(self.units, self.splits.table, column, self.classes, sizes)

    def _own(self, variant: str) -> list[Cell]:
        return [cell for cell in self._variant(variant) if cell.model == self.analysis.model.name]

    def _variant(self, variant: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.key.variant == variant]


def held_out_units(analysis: Analysis, cohort: Cohort, cells: Sequence[Cell]) -> pd.DataFrame:
    """Gather the predictions of cells and average them into the units that are scored.

    Returns
    -------
    DataFrame
        As `bids_neurossm.evaluation.metrics` describes it.
    """
    frames = [
        prediction_frame(
            cohort.runs.iloc[cell.indices],
            cell.scores,
            cohort.classes,
            model=cell.model,
            set_name="holdout" if cell.fold == FINAL else "development",
            split=cell.key.split,
            fold=cell.fold,
            seed=cell.seed,
            covariates=analysis.covariates,
        )
        for cell in cells
        if cell.indices.size
    ]
    return unit_predictions(pd.concat(frames, ignore_index=True), analysis.level)


def prediction_table(units: pd.DataFrame, found: pd.DataFrame, classes: list[str]) -> pd.DataFrame:
    """Lay out predictions for people: the class or value predicted, and a probability per class.

    Logits are raw; probabilities are those of the logits over the temperature.
    """
    columns = ["model", "set", "split", "fold", "participant_id", "group", "unit", "site", "label"]
    table = units[columns].copy()
    scores = units[score_columns(classes)].to_numpy(dtype=np.float64)
    if not classes:
        table["predicted"] = scores[:, 0]
        return table
    tempered = calibrated(units, found, classes)
    table["predicted"] = np.array(classes)[scores.argmax(axis=1)]
    table["temperature"] = tempered["temperature"].to_numpy()
    probabilities = softmax(tempered[score_columns(classes)].to_numpy(dtype=np.float64), axis=1)
    for number, name in enumerate(classes):
        table[f"logit_{name}"] = scores[:, number]
    for number, name in enumerate(classes):
        table[f"probability_{name}"] = probabilities[:, number]
    return table
