"""Writing an import: the root of the dataset, then series and sidecar of every run."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.cli.process.environment import check_writable
from bids_neurossm.dataset.description import write_desc_labels, write_description
from bids_neurossm.errors import LabelError, OutputNotWritableError, RunError
from bids_neurossm.files.record_format import RECORD_FORMAT
from bids_neurossm.files.series_text import series_text
from bids_neurossm.files.sidecar_hashes import OUTPUT_HASHES, is_as_stated, stated_hashes, text_hash
from bids_neurossm.files.tables import read_table
from bids_neurossm.files.write import write_json, write_text, write_tsv
from bids_neurossm.interfaces.provenance import software_versions
from bids_neurossm.interfaces.resume import read_sidecar
from bids_neurossm.phenotype.identifiers import listed
from bids_neurossm.roi_arrays.matching import merged

if TYPE_CHECKING:
    from bids_neurossm.cli.terminal.console import Console
    from bids_neurossm.roi_arrays.options import ImportOptions
    from bids_neurossm.roi_arrays.plan import Import, PlannedRun


def write_import(options: ImportOptions, plan: Import, console: Console) -> int:
    """Write the dataset; a run that cannot be read costs only itself and is named at the end.

    Returns
    -------
    int
        Exit code.
    """
    _describe(options, plan)
    failures = list(plan.failures)
    digests: dict[str, list[PlannedRun]] = defaultdict(list)
    written = 0
    with console.start(len(plan.runs), "runs", lines=False):
        for run in plan.runs:
            known = None if options.overwrite else _finished(run)
            try:
                digests[known or _write_run(options, plan, run)].append(run)
                written += known is None
                console.advance(_name(run))
            except OutputNotWritableError:
                raise
            except RunError as error:
                failures.append(error)
                console.advance(_name(run), failed=True)
    for text in _duplicates(digests):
        console.event("warning", text)
    for failure in failures:
        console.event("error", f"failed: {failure}")
    done = sum(map(len, digests.values()))
    people = len({run.entities["sub"] for run in plan.runs})
    regions = " and ".join(
        f"{len(each.regions)} regions{f' of {each.atlas}' if each.atlas else ''}" for each in plan.layouts
    )
    console.event(
        "done",
        f"{options.out_dir}: {written} runs written, {done - written} were there already, {len(failures)} failed; "
        f"{people} participants, {regions or 'no regions'}.",
    )
    return RunError.exit_code if failures else 0


def _name(run: PlannedRun) -> str:
    return run.path.name.removesuffix("_timeseries.tsv")


def _describe(options: ImportOptions, plan: Import) -> None:
    """Write the files at the root of the dataset."""
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
    write_atlas(out_dir, [each.parcellation for each in plan.layouts if each.parcellation is not None])


def _finished(run: PlannedRun) -> str | None:
    """Return the hash of the series of a run that is there and up to date."""
    sidecar = read_sidecar(run.path)
    if sidecar.get("InputHash") != run.digest or not run.path.is_file():
        return None
    whole = is_as_stated(run.path, stated_hashes(sidecar).get(run.path.name))
    return str(sidecar.get("SeriesSHA256", "")) or None if whole else None


def _write_run(options: ImportOptions, plan: Import, run: PlannedRun) -> str:
    """Write the series of a run, and after them the sidecar that vouches for them; return the hash of the series."""
    series = run.read()
    digest = hashlib.sha256(np.ascontiguousarray(series).tobytes()).hexdigest()
    text, sidecar = series_text(series, run.layout.regions), run.path.with_suffix(".json")
    facts = _sidecar(options, plan, run, series, digest)
    sidecar.unlink(missing_ok=True)
    write_text(run.path, text)
    write_json(sidecar, {**facts, OUTPUT_HASHES: {run.path.name: text_hash(text)}})
    return digest


def _sidecar(
    options: ImportOptions, plan: Import, run: PlannedRun, series: npt.NDArray[np.float64], digest: str
) -> dict[str, Any]:
    regions = run.layout.regions
    atlas = Path(run.layout.atlas).name if run.layout.atlas else None  # it may be a file
    dead = ~np.isfinite(series).all(axis=0) | (np.ptp(np.nan_to_num(series), axis=0) == 0)
    of = f"of {atlas}" if atlas else "of an atlas that was not named"
    seconds = run.repetition_time
    timing = {} if seconds is None else {"RepetitionTime": seconds, "SamplingFrequency": 1 / seconds}
    return {
        "Description": f"Series of {len(regions)} regions {of}, imported as they are in the source.",
        "Sources": [f"bids:{plan.source_name}:{run.source.relative_to(plan.source_dir).as_posix()}"],
        "SourceKey": run.key,
        "SourceSHA256": run.source_sha256,
        "SourceOrientation": run.orientation,
        "SeriesSHA256": digest,
        **timing,
        **({} if math.isnan(run.mean_displacement) else {"MeanFramewiseDisplacement": run.mean_displacement}),
        "NumberOfVolumesKept": len(series),
        "DenoisingStrategy": options.desc,
        "DenoisingDescription": "Not known to this program: the series were cleaned before they were imported.",
        "Atlas": {"Name": atlas or "n/a", "NumberOfRegions": len(regions)},
        "RegionsNotUsed": [regions[index] for index in np.flatnonzero(dead)],
        "InputHash": run.digest,
        "RecordFormat": RECORD_FORMAT,
        "SoftwareVersions": software_versions(),
    }


def _duplicates(digests: dict[str, list[PlannedRun]]) -> list[str]:
    """Report series that are the same to the last digit: one recording under two names leaks from training to test."""
    alike = [runs for runs in digests.values() if len(runs) > 1]
    if not alike:
        return []
    groups = [" = ".join(_name(run) for run in runs[:5]) for runs in alike]
    return [f"{len(alike)} series are there more than once, to the last digit: {listed(groups)}."]


_README = """\
# Imported regional series

Written by bids-neurossm-import from regional series that others extracted and cleaned.

- `sub-*/func/*_timeseries.tsv`: one row per volume, one named column per region; `n/a` where the source has no number.
- The sidecar next to each table names the file it was imported from, with its SHA-256, and what is known of the run.
- `participants.tsv`: what the table of participants that was given, or the source itself, says of each participant.

The licence of the series is that of their source.
"""
