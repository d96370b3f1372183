"""``bids-neurossm-import``: ROI arrays become a BIDS derivatives dataset that the group level reads.

Many cohorts are shared as regional series and not as images: ``.npz`` with a key for each participant, ``.npy``, text
tables, ``.mat``, and the records of NeuroSSM and BolT in files of torch, numpy or pickle. (These layouts are known
from the public code of BolT, and tested with files made after it; see `bids_neurossm.roi_arrays.layouts`.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_neurossm import __version__
from bids_neurossm.cli.process.guard import guarded
from bids_neurossm.errors import NoInputError
from bids_neurossm.roi_arrays.options import ImportOptions

_DESCRIPTION = """\
Turn ROI arrays into BIDS time-series derivatives, which `bids-neurossm OUT_DIR RESULTS group` reads.

SOURCE is a file, or a folder that is searched with its subfolders:
  .npz               one key for each participant; several files may hold one site each
  .npy               one run (2-D), runs first (3-D), or an object array of records
  .csv .tsv .1D      one run for each file, with or without a line of names
  .mat               MATLAB up to v7; v7.3 where h5py is installed
  .pickle .save .pt  records with roiTimeseries and pheno, as in the data of NeuroSSM and BolT
The published tree of NeuroSSM (Dataset/Data) is imported as it is: atlas and task of each file come from its name,
labels and release from pheno.csv. Pickles and files of torch are read by a loader that admits arrays, tables and
plain values alone; nothing in them is run.
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of ``bids-neurossm-import``."""
    parser = argparse.ArgumentParser(
        prog="bids-neurossm-import",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="file or folder with ROI arrays")
    add("out_dir", type=Path, metavar="OUT_DIR", help="BIDS derivatives dataset that is written, and grows")
    add("--atlas", metavar="NAME", help="Schaefer400, AAL3 ..., a label image, or any name, for instance CC200")
    add("--atlas-dir", "--atlas_dir", type=Path, metavar="DIR", help="searched for atlas files before TemplateFlow")
    add("--tr", dest="repetition_time", type=float, metavar="SECONDS", help="repetition time, where all runs share it")
    add("--space", metavar="NAME", help="space the series were taken in; without it there are no maps")
    add("-t", "--task", "--task-id", "--task_id", metavar="LABEL", help="task, where the source does not state it")
    add(
        "--orientation",
        choices=("time-roi", "roi-time", "auto"),
        help="time-roi: one row for each volume; auto (default) infers it where it is unambiguous",
    )
    add(
        "--participants",
        "--participants-file",
        "--participants_file",
        type=Path,
        metavar="TABLE",
        help="table of participants (TSV or CSV)",
    )
    add("--id-column", "--id_column", metavar="COLUMN", help="identifiers in that table (default: participant_id)")
    add("--exact-ids", "--exact_ids", action="store_true", help="identifiers must match exactly, but for sub-")
    add("--regions", type=Path, metavar="TSV", help="names of the regions: a table with index and name, or a list")
    add(
        "--numbered-regions",
        "--numbered_regions",
        action="store_true",
        help="number the regions where the atlas is not available (default: exit code 4)",
    )
    add("--id-key", "--id_key", metavar="KEY", help="key of the participant in records, where it is none of the usual")
    add(
        "--task-codes",
        "--task_codes",
        type=Path,
        metavar="TSV",
        help="tasks of records that give a number: a table with code and task (default: those of the HCP's files)",
    )
    add("--release", metavar="NAME", help="release whose HCP task runs are kept, or all (default: Q1, as published)")
    add("--desc", metavar="LABEL", help="label of how the series were cleaned (default: imported)")
    add("--overwrite", action="store_true", help="write finished runs again (default: resume)")
    add("--version", action="version", version=f"bids-neurossm {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Import ROI arrays; arguments and exit code are those of `bids_neurossm.cli.run.main`."""
    return guarded(lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    given = vars(build_parser().parse_args(argv))
    for name in ("source", "out_dir"):
        given[name] = given[name].absolute()
    options = ImportOptions(**given)
    # Nothing heavy is imported before the arguments are known to be good.
    from bids_neurossm.cli.import_write import write_import
    from bids_neurossm.cli.terminal.console import Console
    from bids_neurossm.roi_arrays.plan import plan_import

    console = Console()
    plan = plan_import(options)
    for note in plan.notes:
        console.event("note", note)
    if not plan.runs and not plan.failures:
        raise NoInputError(f"{options.source} holds no regional series.")
    return write_import(options, plan, console)


if __name__ == "__main__":
    sys.exit(main())
