"""What a command says it has made is there: the last look before the summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bids_neurossm.atlas.output_files import atlas_files
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.errors import RunError
from bids_neurossm.interfaces.records import Record

if TYPE_CHECKING:
    from bids_neurossm.analysis.cells import Analysis

#: Tables that every analysis has.
_TABLES = ("splits", "exclusions", "predictions", "metrics", "comparison", "controls")

_ROOT = ("dataset_description.json", "README.md", ".bidsignore")


def run_is_there(outputs: Iterable[RunOutputs], measures: Sequence[str] = ()) -> bool:
    """Whether the files of a run are there, for every parcellation; what is not, was removed or never written."""
    files = [file for each in outputs for file in (*each.described(), *map(each.relations, measures))]
    return all(path.is_file() and path.with_suffix(".json").is_file() for path in files)


def dataset_record(out_dir: Path, parcellations: Iterable[Parcellation], reports: Iterable[str] = ()) -> list[Record]:
    """Check the files at the root of a dataset, those of its atlases, and reports; a record where some are missing."""
    names = [out_dir / name for name in (*_ROOT, "descriptions.tsv", *reports)]
    return _record("dataset", [*names, *(path for each in parcellations for path in atlas_files(out_dir, each))])


def analysis_record(analysis: Analysis) -> list[Record]:
    """Check the cells, models and tables of an analysis, those of one cell with ``--only-fold``."""
    from bids_neurossm.analysis.cells import Cell
    from bids_neurossm.analysis.grid import cells_of

    outputs = analysis.outputs
    keys = cells_of(analysis)
    files = [outputs.out_dir / name for name in _ROOT] + [analysis.cell_file(key) for key in keys]
    for key in keys:
        model, cell = analysis.checkpoint_file(key.fold, key.seed), analysis.cell_file(key)
        if analysis.keeps_model(key) and not model.is_file() and cell.is_file() and Cell.load(cell).n_training:
            files.append(model)
    if analysis.evaluation.only_fold is None:
        files += [outputs.folder / "summary.json", outputs.models / "card.md", *map(outputs.table, _TABLES)]
    return _record(outputs.analysis, files)


def _record(unit: str, files: Iterable[Path]) -> list[Record]:
    missing = [path for path in files if not path.is_file()]
    if not missing:
        return []
    more = f" and {len(missing) - 1} more files were" if len(missing) > 1 else " was"
    message = f"{missing[0]}{more} removed while the command worked; run the same command again"
    return [Record(unit, "summary", message, RunError.exit_code)]
