"""``bids-neurossm-import``: ROI arrays become a BIDS derivatives dataset that the group level reads.

Many cohorts are shared as regional series and not as images: ``.npz`` with a key for each participant, ``.npy``, text
tables, ``.mat``, and the pickled records that NeuroSSM and BolT describe. (That last layout is built from its public
description and from test files made after it; see `bids_neurossm.dataset.records`.)
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bids_neurossm import __version__
from bids_neurossm.cli.run import guarded
from bids_neurossm.errors import LabelError, NoInputError, OutputNotWritableError, RunError, UsageError

if TYPE_CHECKING:
    from bids_neurossm.cli.console import Console
    from bids_neurossm.cli.import_plan import Import, PlannedRun

_DESCRIPTION = """\
Turn ROI arrays into BIDS time-series derivatives, which `bids-neurossm OUT_DIR RESULTS group` reads.

SOURCE is a file, or a folder that is searched with its subfolders:
  .npz               one key for each participant; several files may hold one site each
  .npy               one run (2-D), runs first (3-D), or an object array of records
  .csv .tsv .1D      one run for each file, with or without a line of names
  .mat               MATLAB up to v7; v7.3 where h5py is installed
  .pickle            records with roiTimeseries and pheno, as NeuroSSM and BolT describe their data
Pickles are read by a loader that admits arrays and plain values alone; nothing in them is run.
"""


@dataclass(frozen=True)
class ImportOptions:
    """What a user asked to be imported, and how.

    Parameters
    ----------
    source, out_dir : Path
        ROI arrays; the derivatives dataset that is written, and grows.
    atlas : str or None
        A known atlas, a label image, or any name.
    atlas_dir : Path or None
        Folder where atlas files are looked for before TemplateFlow.
    repetition_time : float or None
        Seconds between volumes; without it scales in seconds are refused later on.
    space : str or None
        Space that the series were taken in; without it there are no maps.
    task : str or None
        Label of the task where the source does not state it.
    orientation : {"time-roi", "roi-time", "auto"}
        Which side of an array is time.
    participants, regions : Path or None
        Table of participants; names of the regions.
    id_column : str or None
        Column of that table that holds the identifiers of the series; ``participant_id`` by default.
    exact_ids : bool
        Whether identifiers must match exactly, apart from ``sub-``.
    desc : str
        Label of how the series were cleaned.
    overwrite : bool
        Do finished runs again.
    """

    source: Path
    out_dir: Path
    atlas: str | None = None
    atlas_dir: Path | None = None
    repetition_time: float | None = None
    space: str | None = None
    task: str | None = None
    orientation: Literal["time-roi", "roi-time", "auto"] = "auto"
    participants: Path | None = None
    id_column: str | None = None
    exact_ids: bool = False
    regions: Path | None = None
    desc: str = "imported"
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name, prefix in (("space", "space-"), ("task", "task-"), ("desc", "desc-")):
            label = getattr(self, name)
            if label is not None:
                object.__setattr__(self, name, label.removeprefix(prefix))
                if not re.fullmatch(r"[0-9A-Za-z]+", getattr(self, name)):
                    raise UsageError(f"--{name} {label!r} is not a BIDS label: letters and digits are expected.")
        if self.repetition_time is not None and not 0 < self.repetition_time < math.inf:
            raise UsageError(f"--tr {self.repetition_time}: a positive number of seconds is expected.")
        for name in ("participants", "regions"):
            path = getattr(self, name)
            if path is not None and not path.is_file():
                raise UsageError(f"--{name} {path}: there is no such file.")
        if self.out_dir.resolve() == self.source.resolve():
            raise UsageError(f"SOURCE and OUT_DIR are both {self.source}: the input is never written to.")


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
        help="time-roi: one row for each volume; auto (default) tells it where it can be told",
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
    from bids_neurossm.cli.console import Console
    from bids_neurossm.cli.import_plan import plan_import

    console = Console()
    plan = plan_import(options)
    for note in plan.notes:
        console.event("note", note)
    if plan.unmatched:
        listed = ", ".join(plan.unmatched)
        console.event(
            "warning", f"{len(plan.unmatched)} participants of the series are not in {options.participants}: {listed}."
        )
    if not plan.runs and not plan.failures:
        raise NoInputError(f"{options.source} holds no regional series.")
    _describe(options, plan)
    return _write_all(options, plan, console)


def _describe(options: ImportOptions, plan: Import) -> None:
    """Write what stands at the root of the dataset."""
    from bids_neurossm.cli.environment import check_writable
    from bids_neurossm.dataset.description import (
        write_atlas,
        write_desc_labels,
        write_description,
    )
    from bids_neurossm.dataset.matching import merged
    from bids_neurossm.dataset.write import write_text, write_tsv
    from bids_neurossm.tables import read_table

    out_dir = options.out_dir
    check_writable(out_dir, "output folder", "give another OUT_DIR")
    if not (out_dir / "README.md").exists() and not (out_dir / "dataset_description.json").exists():
        write_text(out_dir / "README.md", _README)
    write_description(out_dir, {plan.source_name: plan.source_dir})
    write_desc_labels(out_dir, {options.desc: "Regional series as they were imported; cleaned by others."})
    if plan.participants is not None:
        path = out_dir / "participants.tsv"
        table = plan.participants
        if path.is_file():
            table = merged(read_table(path, LabelError), table)
        write_tsv(path, table)
    if plan.parcellation is not None:
        write_atlas(out_dir, [plan.parcellation])


def _write_all(options: ImportOptions, plan: Import, console: Console) -> int:
    """Write every run, go on after one that can not be read, and say at the end which those were."""
    failures = list(plan.failures)
    done = kept = 0
    with console.start(len(plan.runs), "runs"):
        for run in plan.runs:
            try:
                if not options.overwrite and _is_finished(run):
                    kept += 1
                else:
                    _write_run(options, plan, run)
                    done += 1
                console.advance(run.path.name.removesuffix("_timeseries.tsv"))
            except OutputNotWritableError:
                raise
            except RunError as error:
                failures.append(error)
                console.advance(run.path.name.removesuffix("_timeseries.tsv"), failed=True)
    for failure in failures:
        console.event("error", f"failed: {failure}")
    people = len({run.entities["sub"] for run in plan.runs})
    console.event(
        "done",
        f"{options.out_dir}: {done} runs written, {kept} were there already, {len(failures)} failed; {people} "
        f"participants, {len(plan.regions)} regions.",
    )
    return RunError.exit_code if failures else 0


def _is_finished(run: PlannedRun) -> bool:
    from bids_neurossm.interfaces.resume import read_sidecar

    return run.path.is_file() and read_sidecar(run.path).get("InputHash") == run.digest


def _write_run(options: ImportOptions, plan: Import, run: PlannedRun) -> None:
    """Write the series of a run, and after them the sidecar that vouches for them."""
    import numpy as np

    from bids_neurossm.dataset.series_text import series_text
    from bids_neurossm.dataset.write import write_json, write_text

    series = run.read(len(plan.regions))
    write_text(run.path, series_text(series, plan.regions))
    dead = ~np.isfinite(series).all(axis=0) | (np.ptp(np.nan_to_num(series), axis=0) == 0)
    write_json(
        run.path.with_suffix(".json"), _sidecar(options, plan, run, series.shape[0], np.flatnonzero(dead).tolist())
    )


def _sidecar(options: ImportOptions, plan: Import, run: PlannedRun, volumes: int, dead: list[int]) -> dict[str, Any]:
    from bids_neurossm.interfaces.provenance import software_versions

    atlas = f"of {options.atlas}" if options.atlas else "of an atlas that was not named"
    relative = run.source.relative_to(plan.source_dir).as_posix()
    seconds = options.repetition_time
    timing = {} if seconds is None else {"RepetitionTime": seconds, "SamplingFrequency": 1 / seconds}
    return {
        "Description": f"Series of {len(plan.regions)} regions {atlas}, imported as they are in the source.",
        "Sources": [f"bids:{plan.source_name}:{relative}"],
        "SourceKey": run.key,
        "SourceSHA256": run.source_sha256,
        "SourceOrientation": run.orientation,
        **timing,
        **({} if math.isnan(run.mean_displacement) else {"MeanFramewiseDisplacement": run.mean_displacement}),
        "NumberOfVolumesKept": volumes,
        "DenoisingStrategy": options.desc,
        "DenoisingDescription": "Not known to this program: the series were cleaned before they were imported.",
        "Atlas": {"Name": options.atlas or "n/a", "NumberOfRegions": len(plan.regions)},
        "RegionsNotUsed": [plan.regions[index] for index in dead],
        "InputHash": run.digest,
        "SoftwareVersions": software_versions(),
    }


_README = """\
# Imported regional series

Written by bids-neurossm-import from regional series that others extracted and cleaned.

- `sub-*/func/*_timeseries.tsv`: one row per volume, one named column per region; `n/a` where the source has no number.
- The sidecar beside each table names the file it was imported from, with its SHA-256, and what is known of the run.
- `participants.tsv`: the table of participants that was given, with `participant_id` as in the names of the folders.

The licence of the series is that of their source.
"""


if __name__ == "__main__":
    sys.exit(main())
