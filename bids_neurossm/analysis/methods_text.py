"""What an analysis did, in the words of a methods section."""

from __future__ import annotations

from typing import Any

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.registry import blaming, model_entry, resolved


def methods_text(analysis: Analysis, cohort: Cohort, summary: dict[str, Any]) -> str:
    """Say what was done, as it was done.

    Parameters
    ----------
    analysis : Analysis
        Its settings.
    cohort : Cohort
        The runs.
    summary : dict
        Facts of ``summary.json``.
    """
    held = (
        f"{summary['holdout']} participants were set aside as a holdout, judged by a final model trained on the others"
        if summary["holdout"]
        else "no holdout was set aside; figures are out-of-fold"
    )
    output = "logit" if cohort.classes else "prediction"
    scored = f"participant, on the mean {output} of its runs" if analysis.level == "participant" else "run"
    entry = model_entry(analysis.model.name)
    brought = "".join(f", {package} {version}" for package, version in entry.versions.items())
    recipe = f", recipe {analysis.model.recipe}" if entry.by_recipe else ""
    name = f"{analysis.model.name} (bids-neurossm {summary['versions']['bids-neurossm']}{brought}{recipe})"
    text = (
        f"Regional series ({summary['n_regions']} regions of {summary['atlas'] or 'an imported atlas'}, denoising "
        f"{summary['strategy'] or 'as imported'}) of {summary['n_runs']} runs of {summary['n_participants']} "
        f"participants were z-scored per run. {name} was trained to predict {summary['target']} in "
        f"{_folds_text(summary)}, with {_seeds_text(summary['seeds'], output)}; {held}. "
        f"Predictions were scored per {scored}."
    )
    text += _model_text(analysis, cohort)
    if analysis.baselines:
        named = f"baselines {', '.join(analysis.baselines)} were"
        if len(analysis.baselines) == 1:
            named = f"baseline {analysis.baselines[0]} was"
        text += f" The {named} trained on the same splits."
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
    if analysis.attribution.cpa:
        text += _attribution_text(analysis, cohort)
    return text + " This is an independent implementation of the published method."


def _folds_text(summary: dict[str, Any]) -> str:
    """Say how the folds were dealt."""
    if summary["leave_out"]:
        return f"{summary['folds']} folds that leave out the values of {summary['leave_out']} in turn"
    repeats = f", dealt anew {summary['repeats']} times" if summary["repeats"] > 1 else ""
    by = "label" if summary["classes"] else "quantiles of the target"
    return f"{summary['folds']} folds split by participant and stratified by {by}{repeats}"


def _seeds_text(seeds: int, output: str) -> str:
    return "one seed per fold" if seeds == 1 else f"{seeds} seeds per fold whose {output}s were averaged"


def _model_text(analysis: Analysis, cohort: Cohort) -> str:
    """Say what the model is and how it was trained; nothing of a baseline."""
    name, training = analysis.model.name, analysis.training
    entry = model_entry(name)
    if not entry.by_recipe:
        return ""
    text = ""
    if entry.methods:
        describe = resolved(entry.methods, name, entry)
        with blaming(name, entry.package):
            text = f" {describe(analysis.model.settings, cohort, training)}"
    limit = "" if training.early_stopping is None else "at most "
    text += (
        f" Training took {limit}{training.epochs} epochs of AdamW with batches of {training.batch_size} runs, a "
        f"one-cycle learning rate of {training.learning_rate:g} at its peak and a weight decay of "
        f"{training.weight_decay:g}."
    )
    if training.early_stopping is not None:
        text += " The weights of the epoch that was best on training participants set aside were kept."
    if entry.has_static_term:
        text += (
            " A linear model on tangent connectivity, fitted on the same training runs, was added to its output; what "
            "both count was read off out-of-fold outputs of the training runs."
        )
    return text


def _attribution_text(analysis: Analysis, cohort: Cohort) -> str:
    """Say how held-out runs were explained; nothing where the model has no maps."""
    entry = model_entry(analysis.model.name)
    if not entry.attribution:
        return ""
    what, ranked = entry.attribution
    mean = "mean of the training runs" + ", classes weighing the same" * bool(cohort.classes)
    return (
        f" Held-out runs were explained by Calibrated Pathway Attribution: the importance of {what} is its term of the "
        f"centred output less that of the {mean}; regions are ranked by {ranked} "
        f"({analysis.attribution.localisation})."
    )
