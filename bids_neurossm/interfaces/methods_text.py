"""What an analysis did, in the words of a methods section."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_neurossm.interfaces.analysis import Analysis
from bids_neurossm.models.rwmoe import TOP
from bids_neurossm.training.cohort import Cohort
from bids_neurossm.training.estimator import follows_recipe, is_first_family, is_joined, is_second_family
from bids_neurossm.training.first_family import neurossm_config
from bids_neurossm.training.second_family_settings import Settings


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
    version = summary["versions"]["bids-neurossm"]
    recipe = f", recipe {analysis.model.recipe}" if follows_recipe(analysis.model.name) else ""
    name = f"{analysis.model.name} (bids-neurossm {version}{recipe})"
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
    if is_second_family(name):
        text = _second_family_text(analysis, cohort)
    elif is_first_family(name):
        text = _first_family_text(analysis, cohort)
    else:
        return ""
    limit = "" if training.early_stopping is None else "at most "
    text += (
        f" Training took {limit}{training.epochs} epochs of AdamW with batches of {training.batch_size} runs, a "
        f"one-cycle learning rate of {training.learning_rate:g} at its peak and a weight decay of "
        f"{training.weight_decay:g}."
    )
    if training.early_stopping is not None:
        text += " The weights of the epoch that was best on training participants set aside were kept."
    if is_joined(name):
        text += (
            " A linear model on tangent connectivity, fitted on the same training runs, was added to its output; what "
            "both count was read off out-of-fold outputs of the training runs."
        )
    return text


def _first_family_text(analysis: Analysis, cohort: Cohort) -> str:
    config = neurossm_config(analysis.model.settings, cohort)
    unit = "s" if config.in_seconds else "time points"
    streams = " or ".join(
        {"raw": "the series", "difference": "differences of the series"}[each] for each in config.streams
    )
    scales = ", ".join(f"{scale:g}" for scale in config.scales)
    return (
        f" Each of {len(config.pathways)} pathways reads {streams}, averaged over bins of one length "
        f"({scales} {unit}), through selective state-space layers ({config.depth} of width {config.width}); the "
        f"decision is a sum over the pathways{', each weighed by a gate' if config.fusion == 'gated' else ''}"
        f"{', and a linear term of log(sd / mean) of every region' if config.amplitude else ''}."
    )


def _second_family_text(analysis: Analysis, cohort: Cohort) -> str:
    settings = Settings.of(analysis.model.settings)
    config = settings.config(len(cohort.regions), max(len(cohort.classes), 1))
    if settings.pretrain:
        aside = f"; {settings.pretraining.held_out:.0%} of their participants were set aside to judge it"
        made = (
            "was pretrained on the training runs of each fold, without their labels, as a masked autoencoder "
            f"(LMAE, {settings.pretraining.epochs} epochs{aside})"
        )
    elif settings.encoder:
        path = Path(settings.encoder)
        made = f"had been pretrained as a masked autoencoder (LMAE, {path.parent.name}/{path.name})"
    else:
        made = "was trained with the rest, without pretraining"
    epochs, stages = analysis.training.epochs, settings.stages
    frozen = min(stages.frozen_epochs, epochs) if settings.pretrain or settings.encoder else 0
    held = f", and held fixed for the first {frozen} epochs of the training of the whole" if frozen else ""
    if 0 < frozen < epochs:
        held += f" (later ones had {stages.rate:g} times the learning rate)"
    asked = min(TOP, config.experts)
    unit = "s" if config.in_seconds else "time points"
    return (
        f" The encoder of regional patches of {config.patch_length:g} {unit} {made}{held}. Behind it, random walks of "
        f"{config.walk_steps} steps on each run's own connectivity graph feed {config.experts} experts of regions, "
        f"{asked} for each region, and a predictor of {config.layers} selective state-space layers; the decision is a "
        "sum over the experts."
    )


def _attribution_text(analysis: Analysis, cohort: Cohort) -> str:
    """Say how held-out runs were explained; nothing where the model has no maps."""
    name = analysis.model.name
    if is_second_family(name):
        what, ranked = "an expert of regions", "input x gradient over their series and the profiles of the run's graph"
    elif is_first_family(name):
        what, ranked = "a pathway", "activation x gradient within a pathway"
    else:
        return ""
    mean = "mean of the training runs" + ", classes weighing the same" * bool(cohort.classes)
    return (
        f" Held-out runs were explained by Calibrated Pathway Attribution: the importance of {what} is its term of the "
        f"centred output less that of the {mean}; regions are ranked by {ranked} "
        f"({analysis.attribution.localisation})."
    )
