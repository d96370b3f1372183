"""The facts of an analysis in one file, the methods in words, and the card of the final model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.dataset.write import write_json, write_text
from bids_neurossm.interfaces.analysis import Analysis
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.provenance import software_versions
from bids_neurossm.training.cohort import Cohort


class WriteSummaryInputSpec(RecordingInputSpec):
    """Everything that the other nodes had to say."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")
    metrics = traits.Str(mandatory=True, desc="metrics.tsv")
    comparison = traits.Str(mandatory=True, desc="comparison.tsv")
    controls = traits.Str(mandatory=True, desc="controls.tsv")
    notes = traits.List(traits.Str, desc="known before the workflow ran")
    split_notes = traits.List(traits.Str)
    evaluation_notes = traits.List(traits.Str)
    reference_notes = traits.List(traits.Str)
    map_notes = traits.List(traits.Str)


class WriteSummaryOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The summary."""

    summary = traits.Str(desc="summary.json")


class WriteSummary(RecordingInterface):
    """Write ``summary.json`` and ``card.md``; its end is the end of an analysis."""

    input_spec = WriteSummaryInputSpec
    output_spec = WriteSummaryOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        cohort = Cohort.open(self.inputs.cohort)
        metrics = pd.read_csv(self.inputs.metrics, sep="\t", na_values="n/a")
        comparison = pd.read_csv(self.inputs.comparison, sep="\t", na_values="n/a")
        controls = pd.read_csv(self.inputs.controls, sep="\t", na_values="n/a")
        splits = pd.read_csv(analysis.outputs.table("splits"), sep="\t", dtype=str, keep_default_na=False)
        notes: list[str] = []
        for name in ("notes", "split_notes", "evaluation_notes", "reference_notes", "map_notes"):
            notes += list(getattr(self.inputs, name) or [])
        summary = {
            "analysis": analysis.outputs.analysis,
            "target": cohort.extra.get("target"),
            "target_type": cohort.target_type,
            "scored": analysis.level,
            "classes": cohort.classes,
            "class_counts": cohort.runs["label"].value_counts().to_dict() if cohort.classes else {},
            "model": analysis.model.name,
            "recipe": analysis.model.recipe,
            "atlas": cohort.extra.get("atlas"),
            "strategy": cohort.extra.get("denoise"),
            "space": cohort.extra.get("space"),
            "n_participants": int(cohort.runs["participant_id"].nunique()),
            "n_runs": len(cohort.runs),
            "n_regions": len(cohort.regions),
            "folds": int(pd.to_numeric(splits["fold"], errors="coerce").max()),
            "repeats": analysis.evaluation.repeats,
            "leave_out": analysis.evaluation.leave_out,
            "seeds": analysis.evaluation.seeds,
            "holdout": int((splits["set"] == "holdout").sum()),
            "random_seed": analysis.execution.random_seed,
            "cohort_sha256": cohort.hash,
            "notes": notes,
            "versions": software_versions(),
        }
        summary["methods"] = methods_text(analysis, cohort, summary)
        write_text(analysis.outputs.models / "card.md", model_card(summary, metrics, comparison, controls))
        path = analysis.outputs.folder / "summary.json"
        write_json(path, summary)
        self._results["summary"] = str(path)


def methods_text(analysis: Analysis, cohort: Cohort, summary: dict[str, Any]) -> str:
    """Say what was done, as it was done."""
    held = (
        f"{summary['holdout']} participants were set aside as a holdout, judged by a final model trained on the others"
        if summary["holdout"]
        else "no holdout was set aside; figures are out-of-fold"
    )
    scored = "participant, on the mean logit of its runs" if analysis.level == "participant" else "run"
    version = summary["versions"]["bids-neurossm"]
    recipe = f"{analysis.model.name} (bids-neurossm {version}, recipe {analysis.model.recipe})"
    text = (
        f"Regional series ({summary['n_regions']} regions of {summary['atlas'] or 'an imported atlas'}, denoising "
        f"{summary['strategy'] or 'as imported'}) of {summary['n_runs']} runs of {summary['n_participants']} "
        f"participants were z-scored per run. {recipe} was trained to predict {summary['target']} in "
        f"{_folds_text(summary)}, with {summary['seeds']} seed(s) per "
        f"fold whose logits were averaged; {held}. Predictions were scored per {scored}."
    )
    if analysis.baselines:
        text += f" The baselines {', '.join(analysis.baselines)} were trained on the same splits."
    if analysis.evaluation.harmonise is not None:
        text += (
            " Features of the connectivity baselines were harmonised over sites with ComBat, fitted on training folds."
        )
    if cohort.classes:
        text += " Probabilities were calibrated by one temperature, fitted on out-of-fold logits of other participants."
    if analysis.evaluation.leave_out is not None:
        text += " Intervals are t intervals over the left-out folds; differences were tested by sign-flips over them."
    else:
        text += (
            " Out-of-fold intervals and tests use the variance of Nadeau and Bengio (2003); those of a holdout are "
            "bootstraps over its split groups, given these models."
        )
    if analysis.attribution.cpa and analysis.model.name == "neurossm":
        text += (
            " Held-out runs were explained by Calibrated Pathway Attribution: the importance of a pathway is its term "
            "of the centred logit less that of the class-balanced training mean; regions are ranked by activation x "
            f"gradient within a pathway ({analysis.attribution.localisation})."
        )
    return text + " This is an independent implementation of the published method."


def _folds_text(summary: dict[str, Any]) -> str:
    """Say how the folds were dealt."""
    if summary["leave_out"]:
        return f"{summary['folds']} folds that leave out the values of {summary['leave_out']} in turn"
    repeats = f", dealt anew {summary['repeats']} times" if summary["repeats"] > 1 else ""
    return f"{summary['folds']} folds split by participant and stratified by label{repeats}"


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
