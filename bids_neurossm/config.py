"""Everything a run can be told, as frozen dataclasses that check themselves.

They are read from the command line and from TOML, passed on as arguments, and written back as TOML into
``logs/<run id>/config.toml``. There is no global configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bids_neurossm.errors import UsageError

#: Altered series of `Evaluation.controls`.
CONTROLS = ("time-shuffle", "phase-randomisation")
#: Measures of connectivity that can be written beside Pearson's correlation.
CONNECTIVITY = ("partial-correlation", "covariance")
#: How the label of a run is meant.
TargetType = Literal["class", "continuous"]
DEFAULT_SPACES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def _several(value: Any) -> tuple[Any, ...]:
    """One value or several, as a settings file may give them."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


@dataclass(frozen=True)
class Selection:
    """Which runs of the input dataset are wanted.

    Parameters
    ----------
    participant_label, exclude_participant_label, session_id, task_id, run_id : tuple of str
        Labels without their ``sub-``, ``ses-`` ... prefix; empty means all.
    space : str or None
        Space of the preprocessed BOLD; by default MNI152NLin2009cAsym, else MNI152NLin6Asym.
    res : str or None
        ``res-`` entity, for datasets with several resolutions of one space.
    bids_filter_file : Path or None
        JSON of PyBIDS filters, ``{"bold": {...}}``, as fMRIPrep takes it.
    derivatives : mapping of str to Path
        Further datasets by name, for instance ``{"fmriprep": Path, "raw": Path}``.
    bids_database_dir : Path or None
        Folder of a PyBIDS database to reuse or to fill.
    filter : mapping of str to tuple of str
        Labels that entities of file names may have, ``{"echo": ("1",)}``; an empty label means without the entity.
    exclude : Path or None
        Table of runs that are left out, by their entities.
    """

    participant_label: tuple[str, ...] = ()
    exclude_participant_label: tuple[str, ...] = ()
    session_id: tuple[str, ...] = ()
    task_id: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    space: str | None = None
    res: str | None = None
    bids_filter_file: Path | None = None
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    bids_database_dir: Path | None = None
    filter: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Path | None = None

    def __post_init__(self) -> None:
        prefixes = {
            "participant_label": "sub-",
            "exclude_participant_label": "sub-",
            "session_id": "ses-",
            "task_id": "task-",
            "run_id": "run-",
        }
        for name, prefix in prefixes.items():
            labels = tuple(str(label).removeprefix(prefix) for label in getattr(self, name))
            for label in labels:
                _require(
                    bool(re.fullmatch(r"[0-9A-Za-z+]+", label)),
                    f"--{name.replace('_', '-')} {label!r} is not a BIDS label: letters and digits are expected.",
                )
            object.__setattr__(self, name, labels)
        if self.space is not None:
            object.__setattr__(self, "space", self.space.removeprefix("space-"))
        if self.res is not None:
            object.__setattr__(self, "res", str(self.res).removeprefix("res-"))
        filters = {}
        for name, value in self.filter.items():
            labels = tuple(str(label).removeprefix(f"{name}-") for label in _several(value))
            _require(
                bool(re.fullmatch(r"[A-Za-z]+", name))
                and all(re.fullmatch(r"[0-9A-Za-z+-]*", each) for each in labels),
                f"--filter {name}={' '.join(labels)}: an entity of file names and its label are expected, for example "
                "echo=1.",
            )
            filters[name] = labels
        object.__setattr__(self, "filter", filters)


@dataclass(frozen=True)
class Extraction:
    """How series are taken from the images and cleaned.

    Parameters
    ----------
    atlas : tuple of str
        Names (``Schaefer400``, ``AAL3``, ``HarvardOxford``) or label images with a TSV beside them. Empty means
        Schaefer400 at participant level, and whatever the series have at group level.
    atlas_dir : Path or None
        Folder where atlas files are looked for before TemplateFlow.
    atlas_space : str or None
        Space of a label image given as a file; by default read from its ``space-`` or ``tpl-`` entity.
    denoise : str or None
        Name of a shipped strategy (``simple``, ``scrubbing``, ``compcor+gsr`` ...) or a JSON file. None means
        ``simple`` at participant level, and whatever the series have at group level.
    dummy_scans : int or None
        Volumes dropped at the start; None counts the ``non_steady_state_outlier`` columns.
    fd_threshold : float or None
        Framewise displacement in mm above which a volume is censored.
    high_pass, low_pass : float or None
        Cut-off frequencies in Hz of a Butterworth filter; None leaves the filter out.
    min_coverage : float
        Smallest share of a region's voxels that must carry signal, in [0, 1].
    min_volumes : int
        A run that keeps fewer volumes is excluded.
    max_uncovered : float
        A run in which more than this share of the regions has no usable signal is excluded.
    min_dof : int
        A run to which denoising leaves fewer degrees of freedom is excluded.
    connectivity : tuple of str
        Measures that are written beside Pearson's correlation: ``partial-correlation``, ``covariance``.
    allow_missing_orientation : bool
        Take images whose header has neither an sform nor a qform; their orientation is a guess.
    """

    atlas: tuple[str, ...] = ()
    atlas_dir: Path | None = None
    atlas_space: str | None = None
    denoise: str | None = None
    dummy_scans: int | None = None
    fd_threshold: float | None = None
    high_pass: float | None = None
    low_pass: float | None = None
    min_coverage: float = 0.5
    min_volumes: int = 50
    max_uncovered: float = 0.2
    min_dof: int = 15
    connectivity: tuple[str, ...] = ()
    allow_missing_orientation: bool = False

    def __post_init__(self) -> None:
        _require(len(set(self.atlas)) == len(self.atlas), f"--atlas names one atlas twice: {' '.join(self.atlas)}.")
        _require(self.dummy_scans is None or self.dummy_scans >= 0, "--dummy-scans must be auto or 0 or more.")
        _require(
            self.fd_threshold is None or self.fd_threshold > 0,
            "--fd-threshold must be a positive number of mm.",
        )
        _require(0 <= self.min_coverage <= 1, "--min-coverage must lie between 0 and 1.")
        _require(0 <= self.max_uncovered <= 1, "--max-uncovered must lie between 0 and 1.")
        _require(self.min_volumes >= 1, "--min-volumes must be at least 1.")
        _require(self.min_dof >= 1, "--min-dof must be at least 1.")
        for measure in self.connectivity:
            _require(
                measure in CONNECTIVITY, f"--connectivity {measure} is not known; known are {', '.join(CONNECTIVITY)}."
            )
        for name in ("high_pass", "low_pass"):
            value = getattr(self, name)
            _require(value is None or value > 0, f"--{name.replace('_', '-')} must be a positive frequency in Hz.")
        if self.high_pass is not None and self.low_pass is not None:
            _require(self.high_pass < self.low_pass, "--high-pass must lie below --low-pass.")


@dataclass(frozen=True)
class ModelSpec:
    """Which model is trained.

    Parameters
    ----------
    name : str
        Registered model.
    recipe : str
        Name of a shipped recipe or path of a TOML file with the tables ``[model]`` and ``[training]``.
    settings : mapping
        Arguments of the model's own configuration (the recipe's ``[model]`` table).
    """

    name: str = "neurossm"
    recipe: str = "hcp-task"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How a neural model is fitted (the recipe's ``[training]`` table).

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the training runs; runs per step.
    learning_rate, weight_decay, gradient_clip : float
        Peak of the one-cycle schedule, AdamW decay, largest gradient norm.
    label_smoothing : float
        Share of the target mass spread over the other classes.
    window : int or None
        Length L in time points of the random training window; None takes the cohort's median.
    class_weights : bool
        Weigh classes by the inverse of their frequency in the training set.
    early_stopping : int or None
        Epochs without a better loss on runs set aside after which training ends with the best weights; None trains all
        epochs on all runs.
    validation_fraction : float
        Share of the training groups that early stopping sets aside.
    """

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    gradient_clip: float = 1.0
    label_smoothing: float = 0.1
    window: int | None = None
    class_weights: bool = True
    early_stopping: int | None = None
    validation_fraction: float = 0.2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            _require(getattr(self, name) >= 1, f"training.{name} must be at least 1.")
        for name in ("learning_rate", "gradient_clip"):
            _require(getattr(self, name) > 0, f"training.{name} must be positive.")
        _require(self.weight_decay >= 0, "training.weight_decay must not be negative.")
        _require(0 <= self.label_smoothing < 1, "training.label_smoothing must lie in [0, 1).")
        _require(self.window is None or self.window >= 8, "training.window must be at least 8 time points.")
        patience = self.early_stopping
        _require(patience is None or patience >= 1, "training.early_stopping must be at least 1 epoch.")
        _require(0 < self.validation_fraction <= 0.5, "training.validation_fraction must lie in (0, 0.5].")


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
        _require(self.folds >= 2, "--folds must be at least 2.")
        _require(self.seeds >= 1, "--seeds must be at least 1.")
        _require(self.repeats >= 1, "--repeats must be at least 1.")
        _require(self.retrained_nulls >= 0, "--retrained-nulls must be 0 or more.")
        _require(self.harmonise in (None, "combat"), f"--harmonise {self.harmonise} is not known; combat is.")
        _require(
            self.pretrain + (self.pretrain_from is not None) + (self.checkpoint is not None) <= 1,
            "--pretrain, --pretrain-from and --checkpoint each say where the encoder comes from: give one.",
        )
        for name in self.controls:
            _require(name in CONTROLS, f"--controls {name} is not known; known are {', '.join(CONTROLS)}.")
        _require(
            "none" not in self.baselines or len(self.baselines) == 1, "--baselines none stands alone, or names models."
        )
        if self.leave_out is not None:
            _require(
                self.repeats == 1,
                "--leave-out leaves every value out once: there is nothing that --repeats could vary.",
            )
            _require(not self.holdout, "--leave-out tests on every value in turn: it takes no --holdout.")
            _require(
                self.harmonise is None,
                "--harmonise combat learns a shift for each site, and a site that is left out has none: with "
                "--leave-out it can not be done.",
            )
        _require(self.holdout is None or 0 <= self.holdout < 0.9, "--holdout must lie in [0, 0.9).")
        # How many values are left out, or how many folds a file has, is not known here.
        most_folds = None if self.leave_out is not None or self.splits is not None else self.folds
        for name, most in (("only_fold", most_folds), ("only_seed", self.seeds)):
            value = getattr(self, name)
            _require(
                value is None or (value >= 1 and (most is None or value <= most)),
                f"--{name.replace('_', '-')} must lie between 1 and {most}.",
            )
        _require(
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
        _require(self.surrogates >= 100, "reference.surrogates must be at least 100.")


@dataclass(frozen=True)
class Execution:
    """How the work is run.

    Parameters
    ----------
    nprocs, omp_nthreads : int
        Nodes at a time; threads per node.
    mem_mb : int or None
        Memory that all nodes may use together; None takes what the machine or its cgroup has.
    node_hours : float
        Longest that a node (one step of a run, one model) may take before it counts as hung and is ended.
    use_plugin : Path or None
        YAML of a Nipype plugin (``plugin: SLURM`` ...).
    work_dir : Path or None
        Scratch folder; a private temporary one otherwise.
    device, precision : str
        ``auto``, ``cpu``, ``cuda``; ``float32``, ``bfloat16``, ``float16``.
    devices : int
        GPUs (on a CPU: processes) that train one model together.
    random_seed : int
        Seed of everything random.
    """

    nprocs: int = 1
    omp_nthreads: int = 1
    mem_mb: int | None = None
    node_hours: float = 72
    use_plugin: Path | None = None
    work_dir: Path | None = None
    clean_workdir: bool = False
    device: str = "auto"
    precision: str = "float32"
    devices: int = 1
    random_seed: int = 42
    overwrite: bool = False
    dry_run: bool = False
    reports_only: bool = False
    stop_on_first_crash: bool = False
    log_format: Literal["text", "json"] = "text"
    verbose: int = 0

    def __post_init__(self) -> None:
        _require(self.nprocs >= 1, "--nprocs must be at least 1.")
        _require(self.omp_nthreads >= 1, "--omp-nthreads must be at least 1.")
        _require(self.mem_mb is None or self.mem_mb >= 100, "--mem-mb must be at least 100.")
        _require(self.node_hours > 0, "--node-hours must be positive.")
        _require(self.devices >= 1, "--devices must be at least 1.")
        _require(self.precision in ("float32", "bfloat16", "float16"), f"--precision {self.precision} is not known.")


@dataclass(frozen=True)
class RunConfig:
    """One command, whole.

    ``training`` holds only what was said explicitly: it wins over the recipe, whatever the defaults of `Training` are.
    ``command_line`` is what was typed, for the record and for scripts that repeat it.
    """

    bids_dir: Path
    out_dir: Path
    level: Literal["participant", "group"]
    analysis_id: str | None = None
    selection: Selection = field(default_factory=Selection)
    extraction: Extraction = field(default_factory=Extraction)
    model: ModelSpec = field(default_factory=ModelSpec)
    training: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Evaluation = field(default_factory=Evaluation)
    attribution: Attribution = field(default_factory=Attribution)
    reference: Reference = field(default_factory=Reference)
    execution: Execution = field(default_factory=Execution)
    command_line: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        bids_dir, out_dir = self.bids_dir.resolve(), self.out_dir.resolve()
        _require(out_dir != bids_dir, f"OUT_DIR and BIDS_DIR are both {bids_dir}: the input is never written to.")
        _require(
            self.analysis_id is None or bool(re.fullmatch(r"[0-9A-Za-z_-]+", self.analysis_id)),
            f"--analysis-id {self.analysis_id!r} may hold letters, digits, '-' and '_' only.",
        )
