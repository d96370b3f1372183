"""The command line as data, and its way into a `RunConfig`.

Options are suppressed unless given, so that three sources can be told apart: the command line wins over
``--config-file``, which wins over the defaults of `bids_neurossm.config`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bids_neurossm import __version__
from bids_neurossm import config as cfg
from bids_neurossm.cli.option_values import convert
from bids_neurossm.errors import UsageError
from bids_neurossm.files.toml_files import read_toml, section_from

_SECTIONS: dict[str, type[Any]] = {
    "selection": cfg.Selection,
    "extraction": cfg.Extraction,
    "model": cfg.ModelSpec,
    "evaluation": cfg.Evaluation,
    "attribution": cfg.Attribution,
    "reference": cfg.Reference,
    "execution": cfg.Execution,
}

_DESCRIPTION = """\
State-space models of brain dynamics from fMRIPrep derivatives, explained and read against the literature.

participant: regional series from preprocessed BOLD (and with --checkpoint a prediction and its map).
group: train and judge a model on those series, explain it, compare its maps with the literature.
"""

_EXIT_CODES = """\
without a level:
  bids-neurossm-check [BIDS_DIR OUT_DIR] [--atlas ...]   what is installed, present, writable; writes nothing
  bids-neurossm-fetch DIR                                fetch atlases and Neurosynth, where there is internet

exit codes: 0 done, 1 some runs failed, 2 usage, 3 no input matched, 4 atlas or reference missing, 5 output not
writable, 6 no usable GPU, 7 labels unusable, 8 checkpoint does not fit, 70 a bug, 129 terminal closed, 130 interrupted,
143 terminated
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of ``bids-neurossm``."""
    parser = argparse.ArgumentParser(
        prog="bids-neurossm",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", type=Path, help="fMRIPrep derivatives; for group also any series derivatives")
    parser.add_argument("out_dir", type=Path, help="BIDS derivatives dataset that is written, and grows")
    parser.add_argument("level", choices=("participant", "group"), help="level of the analysis")
    parser.add_argument("--version", action="version", version=f"bids-neurossm {__version__}")
    _add_selection(parser.add_argument_group("which runs"))
    _add_signals(parser.add_argument_group("signals"))
    _add_model(parser.add_argument_group("model and evaluation"))
    _add_maps(parser.add_argument_group("maps"))
    _add_running(parser.add_argument_group("running"))
    return parser


def _add(group: argparse._ArgumentGroup, section: str, *names: str, **options: Any) -> None:
    """Add an option under its dash and its underscore spelling; its value goes to ``section.field``."""
    long = [name for name in names if name.startswith("--")]
    field = options.pop("field", long[0][2:].replace("-", "_"))
    spellings = [*names, *(name for each in long if (name := "--" + each[2:].replace("-", "_")) not in names)]
    group.add_argument(*spellings, dest=f"{section}.{field}", **options)


def _add_selection(group: argparse._ArgumentGroup) -> None:
    for name, what in (
        ("--participant-label", "participants, with or without sub-"),
        ("--exclude-participant-label", "participants left out"),
        ("--session-id", "sessions"),
    ):
        _add(group, "selection", name, nargs="+", metavar="LABEL", help=what)
    _add(group, "selection", "-t", "--task-id", nargs="+", metavar="LABEL", help="tasks")
    _add(group, "selection", "--run-id", nargs="+", metavar="INDEX", help="runs")
    _add(group, "selection", "--space", metavar="NAME", help="space; default MNI152NLin2009cAsym, else MNI152NLin6Asym")
    _add(group, "selection", "--res", metavar="LABEL", help="resolution, where a space has several")
    _add(
        group,
        "selection",
        "--filter",
        nargs="+",
        action="extend",
        metavar="ENTITY=VALUE",
        help="labels that entities of file names must have: echo=1, feature=corrMatrix; ENTITY= for without it",
    )
    _add(group, "selection", "--exclude", type=Path, metavar="TSV", help="runs left out: entities, reason")
    _add(group, "selection", "--bids-filter-file", type=Path, metavar="JSON", help="PyBIDS filters, as fMRIPrep's")
    _add(
        group,
        "selection",
        "-d",
        "--derivatives",
        nargs="+",
        metavar="NAME=PATH",
        help="further datasets: fmriprep=PATH where BIDS_DIR is raw, raw=PATH for labels and repetition times",
    )
    _add(group, "selection", "--bids-database-dir", type=Path, metavar="DIR", help="PyBIDS database to reuse or fill")
    group.add_argument(
        "--skip-bids-validation",
        "--skip_bids_validation",
        action="store_true",
        help="accepted; input is never validated",
    )


def _add_signals(group: argparse._ArgumentGroup) -> None:
    _add(
        group,
        "extraction",
        "--atlas",
        nargs="+",
        metavar="NAME_OR_FILE",
        help="Schaefer400 (100 to 1000), AAL3, HarvardOxford, a label image with a TSV beside it, a .dlabel.nii, or "
        "a TOML that combines several",
    )
    _add(group, "extraction", "--atlas-dir", type=Path, metavar="DIR", help="searched before TemplateFlow")
    _add(group, "extraction", "--atlas-space", metavar="NAME", help="space of a label image that does not say it")
    _add(
        group,
        "extraction",
        "--denoise",
        metavar="NAME_OR_JSON",
        help="simple (default), scrubbing, compcor, ica_aroma, ica_aroma_nonaggressive, ica_aroma_full, 24p (each also "
        "with +gsr), 36p, none, or a JSON file",
    )
    _add(group, "extraction", "--dummy-scans", metavar="auto|N", help="volumes dropped at the start (default: auto)")
    _add(group, "extraction", "--fd-threshold", type=float, metavar="MM", help="censor volumes that moved more")
    _add(group, "extraction", "--high-pass", type=float, metavar="HZ", help="Butterworth cut-off")
    _add(group, "extraction", "--low-pass", type=float, metavar="HZ", help="Butterworth cut-off")
    _add(group, "extraction", "--min-coverage", type=float, metavar="SHARE", help="of a region's voxels (default: 0.5)")
    _add(group, "extraction", "--min-volumes", type=int, metavar="N", help="a run that keeps fewer is excluded (50)")
    _add(group, "extraction", "--min-dof", type=int, metavar="N", help="degrees of freedom left, likewise (15)")
    _add(
        group,
        "extraction",
        "--connectivity",
        nargs="+",
        choices=cfg.CONNECTIVITY,
        help="write these matrices beside Pearson's correlation",
    )
    _add(
        group,
        "extraction",
        "--max-uncovered",
        type=float,
        metavar="SHARE",
        help="a run with more unusable regions is excluded (default: 0.2)",
    )
    _add(
        group,
        "extraction",
        "--allow-missing-orientation",
        action="store_true",
        help="take images without an sform and a qform, with a warning",
    )


def _add_model(group: argparse._ArgumentGroup) -> None:
    _add(
        group,
        "model",
        "--model",
        field="name",
        metavar="NAME",
        help="neurossm (default), lmae-rwmoe, either with -static, or a baseline",
    )
    _add(
        group,
        "model",
        "--recipe",
        metavar="NAME_OR_TOML",
        help="hcp-rest, hcp-task (default), ppmi, multisite, demo, camcan-age, camcan-fluid, or a file",
    )
    _add(
        group,
        "evaluation",
        "--target",
        metavar="COLUMN",
        help="column of participants.tsv, phenotype/FILE:COLUMN, or entity:task",
    )
    _add(group, "evaluation", "--target-type", choices=("auto", "class", "continuous"), help="how the column is read")
    _add(group, "evaluation", "--participants-file", type=Path, metavar="TABLE", help="instead of participants.tsv")
    _add(group, "evaluation", "--id-column", metavar="COLUMN", help="identifiers in that table (participant_id)")
    _add(
        group,
        "evaluation",
        "--allow-mixed-settings",
        action="store_true",
        help="series of different settings in one cohort",
    )
    _add(group, "evaluation", "--exact-ids", action="store_true", help="identifiers must match exactly")
    _add(
        group,
        "evaluation",
        "--missing-values",
        nargs="*",
        metavar="TEXT",
        help="cells that are missing, besides empty ones and n/a, instead of NA, None, -9999 ...",
    )
    _add(group, "evaluation", "--covariates", nargs="+", metavar="COLUMN", help="for the covariate baseline")
    _add(group, "evaluation", "--group-by", metavar="COLUMN", help="kept on one side of every split (family, site)")
    _add(group, "evaluation", "--leave-out", metavar="COLUMN", help="leave its values out in turn (leave-site-out)")
    _add(group, "evaluation", "--folds", type=int, metavar="K", help="folds (default: 5)")
    _add(group, "evaluation", "--seeds", type=int, metavar="N", help="models per fold (default: 1)")
    _add(group, "evaluation", "--repeats", type=int, metavar="N", help="times the folds are dealt anew (default: 1)")
    _add(
        group,
        "evaluation",
        "--holdout",
        type=float,
        metavar="SHARE",
        help="of the participants set aside; default one fifth where each class keeps 20 in it, else none",
    )
    _add(group, "evaluation", "--splits", type=Path, metavar="TSV", help="a splits.tsv to follow")
    _add(group, "evaluation", "--only-fold", type=int, metavar="K", help="one cell of the grid, for job arrays")
    _add(group, "evaluation", "--only-seed", type=int, metavar="S", help="one cell of the grid, for job arrays")
    _add_judgement(group)
    _add(
        group,
        "evaluation",
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="participant: a model to apply; group: an encoder",
    )
    _add(
        group,
        "evaluation",
        "--pretrain",
        action="store_true",
        help="lmae-rwmoe: on training folds; without --target, on all",
    )
    _add(group, "evaluation", "--pretrain-from", type=Path, metavar="DIR", help="lmae-rwmoe: on the series of DIR")
    _add(group, "execution", "--device", choices=("auto", "cpu", "cuda"), help="default: auto")
    _add(
        group,
        "execution",
        "--precision",
        choices=("float32", "bfloat16", "float16"),
        help="of the training (default: float32)",
    )
    _add(group, "execution", "--devices", type=int, metavar="N", help="GPUs that train one model together (default: 1)")


def _add_judgement(group: argparse._ArgumentGroup) -> None:
    """Add what the model is judged against; each costs training."""
    _add(
        group, "evaluation", "--baselines", nargs="+", metavar="NAME", help="models to beat, or none (default: a panel)"
    )
    _add(
        group,
        "evaluation",
        "--controls",
        nargs="+",
        choices=cfg.CONTROLS,
        help="train the model anew on series without their order in time, or without all but linear dynamics",
    )
    _add(
        group, "evaluation", "--retrained-nulls", type=int, metavar="N", help="train anew on N sets of permuted labels"
    )
    _add(group, "evaluation", "--learning-curve", action="store_true", help="train also on parts of each training set")
    _add(group, "evaluation", "--harmonise", choices=("combat",), help="of connectivity baselines over sites")


def _add_maps(group: argparse._ArgumentGroup) -> None:
    _add(group, "attribution", "--cpa", action=argparse.BooleanOptionalAction, help="make attribution maps (default)")
    _add(group, "attribution", "--localisation", choices=("gradient", "integrated"), help="default: gradient")
    _add(
        group,
        "reference",
        "--reference",
        field="source",
        metavar="NAME_OR_DIR",
        help="neurosynth, nback-flanker (studies that NiMARE ships), none, or a folder with Neurosynth's files",
    )
    _add(group, "reference", "--reference-terms", field="terms", metavar="NAME_OR_TOML", help="class -> terms")


def _add_running(group: argparse._ArgumentGroup) -> None:
    _add(group, "run", "--analysis-id", metavar="LABEL", help="name of the analysis")
    _add(group, "execution", "--nprocs", type=int, metavar="N", help="nodes at a time (default: all cores)")
    _add(group, "execution", "--omp-nthreads", type=int, metavar="N", help="threads per node (default: 1)")
    _add(group, "execution", "--mem-mb", type=int, metavar="MB", help="memory that all nodes may use together")
    _add(group, "execution", "--node-hours", type=float, metavar="H", help="after which a node counts as hung (72)")
    _add(group, "execution", "--use-plugin", type=Path, metavar="YAML", help="Nipype plugin and its arguments")
    _add(group, "execution", "-w", "--work-dir", type=Path, metavar="DIR", help="scratch (default: a temporary one)")
    _add(group, "execution", "--clean-workdir", action="store_true", help="empty the work folder before starting")
    group.add_argument(
        "--config-file", "--config_file", type=Path, metavar="TOML", help="settings; options given here win over it"
    )
    _add(group, "execution", "--random-seed", type=int, metavar="N", help="default: 42")
    _add(group, "execution", "--overwrite", action="store_true", help="do finished work again (default: resume)")
    _add(group, "execution", "--dry-run", action="store_true", help="say what would be done, write nothing")
    _add(group, "execution", "--reports-only", action="store_true", help="rebuild the reports from what is on disk")
    _add(group, "execution", "--stop-on-first-crash", action="store_true", help="give up at the first failed run")
    _add(group, "execution", "--log-format", choices=("text", "json"), help="default: text")
    _add(group, "execution", "-v", "--verbose", action="count", help="say more")
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever sent")


def parse_config(argv: Sequence[str] | None = None) -> cfg.RunConfig:
    """Turn a command line into a configuration.

    Raises
    ------
    UsageError
        If a value makes no sense.
    SystemExit
        With 2 where argparse refuses, with 0 for ``--help`` and ``--version``.
    """
    given = vars(build_parser().parse_args(argv))
    arguments = tuple(sys.argv[1:] if argv is None else argv)
    odd = next((each for each in arguments if not _is_utf8(each)), None)
    if odd is not None:
        raise UsageError(f"{odd} is not UTF-8 text, which PyBIDS and Nipype need; rename the file or folder.")
    tables: dict[str, dict[str, Any]] = {name: {} for name in (*_SECTIONS, "training", "run")}
    if "config_file" in given:
        _merge_file(given["config_file"], tables)
    for dest, value in given.items():
        section, dot, field = dest.partition(".")
        if dot:
            tables[section][field] = tuple(value) if isinstance(value, list) else value
    convert(tables)
    section_from(cfg.Training, tables["training"], "training")  # only checked: the recipe gives the rest
    sections = {name: section_from(kind, tables[name], name) for name, kind in _SECTIONS.items()}
    return cfg.RunConfig(
        bids_dir=given["bids_dir"].absolute(),
        out_dir=given["out_dir"].absolute(),
        level=given["level"],
        analysis_id=tables["run"].get("analysis_id"),
        training=tables["training"],
        command_line=arguments,
        **sections,
    )


def _is_utf8(argument: str) -> bool:
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _merge_file(path: Path, tables: dict[str, dict[str, Any]]) -> None:
    for name, table in read_toml(path).items():
        if name == "analysis_id":
            tables["run"]["analysis_id"] = table
        elif name in tables and name != "run" and isinstance(table, dict):
            tables[name].update(table)
        elif name not in ("bids_dir", "out_dir", "level", "command_line"):  # config.toml of every run has these
            known = ", ".join(name for name in tables if name != "run")
            raise UsageError(f"{path}: unknown table {name!r}; known are {known}.")
