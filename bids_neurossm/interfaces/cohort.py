"""From series on disk to a cohort and its splits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.analysis.cells import Analysis
from bids_neurossm.atlas.names import same_parcels
from bids_neurossm.cohort.duplicates import refuse_duplicates
from bids_neurossm.cohort.split_table import Splits, check_splits, write_splits
from bids_neurossm.cohort.splitting import wanted_splits
from bids_neurossm.cohort.store import Cohort
from bids_neurossm.dataset.left_out import UNREADABLE
from bids_neurossm.dataset.series import SeriesFile, read_series
from bids_neurossm.errors import LabelError, NoInputError, OtherRegionsError, RunError
from bids_neurossm.files.portable import portable
from bids_neurossm.files.write import write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.records import Record, write_record

#: ``excluded`` is ``no`` where a row only records how an identifier was paired.
EXCLUSION_COLUMNS = ["run", "participant_id", "excluded", "reason", "detail"]


@dataclass(frozen=True)
class Shortest:
    """The shortest run that a model can use.

    Parameters
    ----------
    length : float
        How long.
    unit : {"volumes", "seconds"}
        Of what.
    """

    length: float
    unit: Literal["volumes", "seconds"]


class BuildCohortInputSpec(RecordingInputSpec):
    """Which tables make the cohort."""

    analysis = traits.Instance(Analysis, mandatory=True)
    runs = traits.List(traits.Dict, mandatory=True, desc="one row of facts per run, with the path of its series")
    excluded = traits.List(traits.Dict, desc="runs that were left out before, with their reasons")
    regions = traits.List(traits.Str, mandatory=True)
    networks = traits.List(traits.Str, mandatory=True)
    target_type = traits.Enum("class", "continuous", mandatory=True)
    shortest = traits.Instance(Shortest, mandatory=True, desc="what the model's largest scale needs")
    max_uncovered = traits.Float(mandatory=True, desc="largest share of regions without signal")
    extra = traits.Dict(desc="atlas, strategy and target, for the checkpoints")


class BuildCohortOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The cohort store."""

    cohort = traits.Str(desc="folder")


class BuildCohort(RecordingInterface):
    """Read the series into one memory-mapped store; what can not be used is listed with its reason."""

    input_spec = BuildCohortInputSpec
    output_spec = BuildCohortOutputSpec

    def _work(self, cwd: Path) -> None:
        runs = pd.DataFrame(self.inputs.runs)
        if self.inputs.target_type == "continuous":
            runs["label"] = runs["label"].astype(float)
        excluded = [dict(row) for row in self.inputs.excluded or []]
        for row in excluded:
            if row["reason"] == UNREADABLE:
                self._failed(row["run"], row["detail"])
        folder = self.inputs.analysis.outputs.folder
        try:
            cohort = Cohort.create(
                cwd / "cohort",
                runs.drop(columns=["path", "sha256"], errors="ignore"),
                self._series(excluded),
                self.inputs.regions,
                self.inputs.networks,
                self.inputs.target_type,
                dict(self.inputs.extra or {}),
            )
        except NoInputError as error:
            told = folder / "exclusions.tsv"
            raise LabelError(f"No run is left to train on; {told} says why each was left out.") from error
        finally:
            write_tsv(folder / "exclusions.tsv", exclusion_table(excluded))
        self._results["cohort"] = str(cohort.folder)

    def _series(self, excluded: list[dict[str, str]]) -> Iterator[npt.NDArray[np.float64] | None]:
        """Read every table once; None for a run that cannot be used, which is added to `excluded`."""
        for row in self.inputs.runs:
            series, reason = self._read(row)
            if reason is not None:
                excluded.append({"run": row["run"], "participant_id": row["participant_id"], **reason})
            yield series if reason is None else None

    def _failed(self, run: str, message: str) -> None:
        write_record(Path(self.inputs.records), Record(run, "BuildCohort", message, RunError.exit_code))

    def _read(self, row: dict[str, Any]) -> tuple[npt.NDArray[np.float64] | None, dict[str, str] | None]:
        """Read a run, or say why it cannot be used; a damaged table is a failure besides."""
        try:
            series = read_series(Path(row["path"]), self.inputs.regions, same_parcels, row.get("sha256") or None)
        except OtherRegionsError as error:
            return None, {"reason": "other regions", "detail": portable(str(error), [Path(row["path"]).parent])}
        except RunError as error:
            self._failed(row["run"], str(error))
            return None, {"reason": UNREADABLE, "detail": portable(str(error), [Path(row["path"]).parent])}
        dead = _without_signal(series)
        needed = self.inputs.shortest
        length = len(series) * (row["repetition_time"] if needed.unit == "seconds" else 1)
        if length < needed.length:
            detail = f"{length:g} {needed.unit}; the model's largest scale needs {needed.length:g}"
            return None, {"reason": "too few volumes", "detail": detail}
        if dead.mean() > self.inputs.max_uncovered:
            detail = f"{dead.mean():.0%} of the regions; --max-uncovered allows {self.inputs.max_uncovered:.0%}"
            return None, {"reason": "too many regions without signal", "detail": detail}
        return series, None


def series_facts(file: SeriesFile) -> dict[str, Any]:
    """Read the facts of a run that a cohort keeps: repetition time, motion, gaps.

    Sidecars by other programs may lack any of them.
    """
    motion = file.sidecar.get("MeanFramewiseDisplacement")
    segments = file.sidecar.get("Segments")
    return {
        "repetition_time": file.repetition_time,
        "mean_fd": float(motion) if isinstance(motion, (int, float)) else float("nan"),
        # Empty text stands for one segment that is the whole run.
        "segments": json.dumps(segments) if isinstance(segments, list) and segments else "",
    }


def _without_signal(series: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Find regions that are missing or constant."""
    missing = ~np.isfinite(series).all(axis=0)
    constant: npt.NDArray[np.bool_] = np.ptp(np.nan_to_num(series), axis=0) == 0
    return missing | constant


def exclusion_table(rows: Sequence[dict[str, str]]) -> pd.DataFrame:
    """Make the table of runs that were left out, and of identifiers that were paired under another spelling."""
    return pd.DataFrame([{"excluded": "yes", **row} for row in rows], columns=EXCLUSION_COLUMNS)


class MakeSplitsInputSpec(RecordingInputSpec):
    """A cohort to be split."""

    analysis = traits.Instance(Analysis, mandatory=True)
    cohort = traits.Str(mandatory=True, desc="folder of the cohort")


class MakeSplitsOutputSpec(TraitedSpec):  # type: ignore[misc]
    """The splits."""

    splits = traits.Str(desc="splits.tsv in the output dataset")
    notes = traits.List(traits.Str, desc="what the report should say about them")


class MakeSplits(RecordingInterface):
    """Write the splits before anything is trained, or check those that the user gave."""

    input_spec = MakeSplitsInputSpec
    output_spec = MakeSplitsOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        analysis: Analysis = self.inputs.analysis
        evaluation = analysis.evaluation
        cohort = Cohort.open(self.inputs.cohort)
        splits = wanted_splits(
            evaluation,
            cohort.runs,
            cohort.classes,
            "class" if cohort.target_type == "class" else "continuous",
            analysis.execution.random_seed,
        )
        refuse_leaks(splits, cohort)
        path = analysis.outputs.table("splits")
        write_splits(splits, path)
        self._results["splits"] = str(path)
        self._results["notes"] = list(splits.notes)


def refuse_leaks(splits: Splits, cohort: Cohort) -> None:
    """Refuse a participant or a group on two sides of a split, and the same recording under two names.

    Raises
    ------
    LabelError
        With the names.
    """
    names = cohort.runs["run"].astype(str)
    hashes = {name: sha256(cohort.raw(index).tobytes()).hexdigest() for index, name in enumerate(names)}
    check_splits(splits, cohort.runs, hashes)
    refuse_duplicates(cohort)
