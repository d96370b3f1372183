"""What is predicted, how the prediction is judged, explained and compared with the literature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_neurossm.config.checking import require

#: Altered series of `Evaluation.controls`.
CONTROLS = ("time-shuffle", "phase-randomisation")
#: How the label of a run is meant.
TargetType = Literal["class", "continuous"]


@dataclass(frozen=True)
class Evaluation:
    """What is predicted and how the prediction is judged.

    Parameters
    ----------
    target : str or None
        Column of participants.tsv, ``phenotype/FILE:COLUMN`` or ``entity:NAME``.
    target_type : {"auto", "class", "continuous"}
        How the column is read.
    participants_file : Path or None
        Table used instead of the participants.tsv that would be found.
    covariates : tuple of str
        Columns for the covariate baseline.
    group_by : str or None
        Column whose values stay together on one side of every split.
    folds, seeds : int
        Folds of the cross-validation; models trained per fold.
    holdout : float or None
        Share of the groups set aside; None sets one fifth aside where each class keeps 20 groups in it.
    splits : Path or None
        A ``splits.tsv`` to follow.
    only_fold, only_seed : int or None
        One cell of the grid, for job arrays.
    checkpoint : Path or None
        A trained model to apply (participant level), or a pretrained encoder to fine-tune (group level, lmae-rwmoe).
    pretrain : bool
        Whether the encoder of lmae-rwmoe is pretrained on each training fold; without a target, on all series.
    pretrain_from : Path or None
        A dataset with series, of any derivatives, whose encoder is fine-tuned.
    leave_out : str or None
        Column whose values are left out one at a time instead of random folds, for instance ``site``.
    repeats : int
        Times that the cross-validation is done, each on folds dealt anew.
    baselines : tuple of str
        Models that the model has to beat; empty takes the default panel, ``("none",)`` leaves them out.
    controls : tuple of str
        Altered series on which the model is trained anew: ``time-shuffle``, ``phase-randomisation``.
    retrained_nulls : int
        Cohorts with permuted labels on which the model is trained anew.
    learning_curve : bool
        Whether every model is also trained on parts of each training set.
    harmonise : {"combat"} or None
        Harmonisation of the connectivity features over sites, learned on training folds.
    id_column : str or None
        Column of identifiers in the table of participants; ``participant_id`` by default.
    exact_ids : bool
        Whether identifiers of series and table must match exactly, apart from ``sub-``.
    allow_mixed_settings : bool
        Whether series that were made with different settings may form one cohort.
    missing_values : tuple of str or None
        Cells that are missing values, besides empty ones and ``n/a``, in place of the usual spellings.
    """

    target: str | None = None
    target_type: Literal["auto", "class", "continuous"] = "auto"
    participants_file: Path | None = None
    covariates: tuple[str, ...] = ()
    group_by: str | None = None
    folds: int = 5
    seeds: int = 1
    holdout: float | None = None
    splits: Path | None = None
    only_fold: int | None = None
    only_seed: int | None = None
    checkpoint: Path | None = None
    pretrain: bool = False
    pretrain_from: Path | None = None
    leave_out: str | None = None
    repeats: int = 1
    baselines: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    retrained_nulls: int = 0
    learning_curve: bool = False
    harmonise: str | None = None
    id_column: str | None = None
    exact_ids: bool = False
    allow_mixed_settings: bool = False
    missing_values: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require(self.folds >= 2, "--folds must be at least 2.")
        require(self.seeds >= 1, "--seeds must be at least 1.")
        require(self.repeats >= 1, "--repeats must be at least 1.")
        require(self.retrained_nulls >= 0, "--retrained-nulls must be 0 or more.")
        require(self.harmonise in (None, "combat"), f"--harmonise {self.harmonise} is not known; combat is.")
        require(
            self.pretrain + (self.pretrain_from is not None) + (self.checkpoint is not None) <= 1,
            "--pretrain, --pretrain-from and --checkpoint each say where the encoder comes from: give one.",
        )
        for name in self.controls:
            require(name in CONTROLS, f"--controls {name} is not known; known are {', '.join(CONTROLS)}.")
        require(
            "none" not in self.baselines or len(self.baselines) == 1, "--baselines none stands alone, or names models."
        )
        if self.leave_out is not None:
            require(
                self.repeats == 1,
                "--leave-out leaves every value out once: there is nothing that --repeats could vary.",
            )
            require(not self.holdout, "--leave-out tests on every value in turn: it takes no --holdout.")
            require(
                self.harmonise is None,
                "--harmonise combat learns a shift for each site, and a site that is left out has none: with "
                "--leave-out it can not be done.",
            )
        require(self.holdout is None or 0 <= self.holdout < 0.9, "--holdout must lie in [0, 0.9).")
        # How many values are left out, or how many folds a file has, is not known here.
        most_folds = None if self.leave_out is not None or self.splits is not None else self.folds
        for name, most in (("only_fold", most_folds), ("only_seed", self.seeds)):
            value = getattr(self, name)
            require(
                value is None or (value >= 1 and (most is None or value <= most)),
                f"--{name.replace('_', '-')} must lie between 1 and {most}.",
            )
        require(
            (self.only_fold is None) == (self.only_seed is None),
            "--only-fold and --only-seed name one cell of the grid together: give both or neither.",
        )


@dataclass(frozen=True)
class Attribution:
    """Calibrated Pathway Attribution.

    Parameters
    ----------
    cpa : bool
        Whether maps are made.
    localisation : {"gradient", "integrated"}
        Activation x gradient, or its path integral from zero.
    """

    cpa: bool = True
    localisation: Literal["gradient", "integrated"] = "gradient"


@dataclass(frozen=True)
class Reference:
    """The meta-analytic reference.

    Parameters
    ----------
    source : str or None
        ``neurosynth``, ``nback-flanker`` (the studies that NiMARE ships), ``none`` or a folder. None takes Neurosynth
        where its files are at hand and the classes have terms, and says why where it is left out.
    terms : Path or None
        TOML of class -> terms; a shipped table's name is taken too.
    surrogates : int
        Maps in the spatial null.
    """

    source: str | None = None
    terms: str | None = None
    surrogates: int = 1000

    def __post_init__(self) -> None:
        require(self.surrogates >= 100, "reference.surrogates must be at least 100.")
