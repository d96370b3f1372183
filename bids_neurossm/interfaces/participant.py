"""The three steps of a run: extract parcels, denoise, write the derivatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.errors import RunError
from bids_neurossm.files.hashing import hash_file, known_hash, remember_hash
from bids_neurossm.files.sidecar_hashes import OUTPUT_HASHES, text_hash
from bids_neurossm.files.write import json_text, table_text, write_json, write_text
from bids_neurossm.interfaces.arrays import CleanRun, load_arrays, save_arrays
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.inputs import hashes_after_reading, states_before_reading
from bids_neurossm.interfaces.provenance import run_sidecar
from bids_neurossm.interfaces.resume import input_hash
from bids_neurossm.signal.confounds import Confounds, load_confounds
from bids_neurossm.signal.denoise import CleanSeries, denoise
from bids_neurossm.signal.digest import FileDigest
from bids_neurossm.signal.grayordinates import dense_series, is_dense
from bids_neurossm.signal.ica_aroma import ComponentFiles
from bids_neurossm.signal.parcels import ParcelSeries, parcel_series
from bids_neurossm.signal.quality import RegionQuality, pearson_connectivity, region_quality, shrunk_connectivity
from bids_neurossm.signal.strategy import Strategy

if TYPE_CHECKING:
    import pandas as pd


class ExtractParcelsInputSpec(RecordingInputSpec):
    """A run and the parcellations to lay over it."""

    run = traits.Instance(BoldRun, mandatory=True, desc="image, mask and confounds")
    parcellations = traits.List(traits.Instance(Parcellation), mandatory=True, desc="all taken in one pass")
    hash_cache = traits.Str(desc="folder where file hashes are remembered", nohash=True)
    allow_missing_orientation = traits.Bool(False, usedefault=True, desc="take images without sform and qform")


class ExtractParcelsOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Regional means."""

    parcels = traits.List(traits.Str, desc="npz of a ParcelSeries for each parcellation")
    bold_hash = traits.Str(desc="SHA-256 of the image that was read; empty where it was not read as a whole")
    before = traits.Dict(desc="state of the input files before the first was read")


class ExtractParcels(RecordingInterface):
    """Average an image over the regions of several parcellations, in one streamed pass."""

    input_spec = ExtractParcelsInputSpec
    output_spec = ExtractParcelsOutputSpec

    def _work(self, cwd: Path) -> None:
        run: BoldRun = self.inputs.run
        if run.problems:
            raise RunError(" ".join(run.problems))
        self._results["before"] = states_before_reading(run, self.inputs.parcellations)
        bold_hash: str | None = None
        if is_dense(run.bold):
            found = [dense_series(run.bold, each) for each in self.inputs.parcellations]
        else:
            found, bold_hash = self._extract(run)
        self._results["parcels"] = [save_arrays(cwd / f"parcels-{index}.npz", each) for index, each in enumerate(found)]
        self._results["bold_hash"] = bold_hash or ""

    def _extract(self, run: BoldRun) -> tuple[list[ParcelSeries], str | None]:
        """Read the image, and take its hash on the way where it is not known yet."""
        cache = Path(self.inputs.hash_cache) if self.inputs.hash_cache else None
        before = run.bold.stat() if run.bold.is_file() else None
        if cache is None or before is None:
            return self._parcels(run), None
        known = known_hash(run.bold, cache)
        if known is not None:
            return self._parcels(run), known
        digest = FileDigest()
        found = self._parcels(run, digest)
        if digest.value is not None:
            remember_hash(run.bold, before, digest.value, cache)
        return found, digest.value

    def _parcels(self, run: BoldRun, digest: FileDigest | None = None) -> list[ParcelSeries]:
        allowed = bool(self.inputs.allow_missing_orientation)
        return parcel_series(run.bold, self.inputs.parcellations, run.mask, digest, allowed)


class DenoiseSeriesInputSpec(RecordingInputSpec):
    """Regional means and how to clean them."""

    run = traits.Instance(BoldRun, mandatory=True)
    parcels = traits.List(traits.Str, mandatory=True, desc="npz of ExtractParcels")
    strategy = traits.Instance(Strategy, mandatory=True)
    extraction = traits.Instance(Extraction, mandatory=True)


class DenoiseSeriesOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Clean series with everything that the sidecars say of them."""

    clean = traits.List(traits.Str, desc="npz of a CleanRun for each parcellation")


class DenoiseSeries(RecordingInterface):
    """Judge the regions and regress the confounds out of those that can be used."""

    input_spec = DenoiseSeriesInputSpec
    output_spec = DenoiseSeriesOutputSpec

    def _work(self, cwd: Path) -> None:
        run: BoldRun = self.inputs.run
        extraction: Extraction = self.inputs.extraction
        strategy: Strategy = self.inputs.strategy
        parcels = [load_arrays(path, ParcelSeries) for path in self.inputs.parcels]
        confounds = load_confounds(
            run.confounds,
            strategy,
            parcels[0].series.shape[0],
            extraction.dummy_scans,
            extraction.fd_threshold,
            ComponentFiles(run.mixing, run.noise_components),
        )
        written = []
        for index, each in enumerate(parcels):
            quality = region_quality(each, confounds.kept, extraction.min_coverage)
            cleaned = denoise(each.series, quality.used, confounds, strategy, run.repetition_time)
            written.append(save_arrays(cwd / f"clean-{index}.npz", _clean_run(each, quality, cleaned, confounds)))
        self._results["clean"] = written


def _clean_run(parcels: ParcelSeries, quality: RegionQuality, clean: CleanSeries, confounds: Confounds) -> CleanRun:
    displacement = confounds.framewise_displacement
    unknown = np.full(parcels.series.shape[0], np.nan)
    return CleanRun(
        series=clean.series,
        segments=np.array(clean.segments, dtype=np.int64).reshape(-1, 2),
        degrees_of_freedom=np.array(clean.degrees_of_freedom),
        n_voxels=parcels.n_voxels,
        n_covered=parcels.n_covered,
        coverage=quality.coverage,
        mean=quality.mean,
        tsnr=quality.tsnr,
        used=quality.used,
        kept=confounds.kept,
        framewise_displacement=unknown if displacement is None else displacement,
        n_dummy=np.array(confounds.n_dummy),
        n_censored=np.array(confounds.n_censored),
        columns=np.array(confounds.columns, dtype=np.str_),
        noise_components=np.array(confounds.components.names if confounds.components else (), dtype=np.str_),
        header_repetition_time=np.array(parcels.header_repetition_time),
    )


class WriteDerivativesInputSpec(RecordingInputSpec):
    """Clean series and where they go."""

    run = traits.Instance(BoldRun, mandatory=True)
    clean = traits.List(traits.Str, mandatory=True, desc="npz of DenoiseSeries")
    parcellations = traits.List(traits.Instance(Parcellation), mandatory=True)
    strategy = traits.Instance(Strategy, mandatory=True)
    extraction = traits.Instance(Extraction, mandatory=True)
    bold_hash = traits.Str(desc="SHA-256 of the image; empty where it is still to be taken")
    before = traits.Dict(mandatory=True, desc="state of the input files before the first was read")
    out_dir = traits.Str(mandatory=True, desc="root of the output dataset")
    hash_cache = traits.Str(desc="folder where file hashes are remembered", nohash=True)


class WriteDerivativesOutputSpec(TraitedSpec):  # type: ignore[misc]
    """What was written."""

    timeseries = traits.List(traits.Str, desc="series, one per parcellation")


class WriteDerivatives(RecordingInterface):
    """Write series, coverage, connectivity and motion with their sidecars; the series' sidecar comes last."""

    input_spec = WriteDerivativesInputSpec
    output_spec = WriteDerivativesOutputSpec
    always_run = True

    def _work(self, cwd: Path) -> None:
        run: BoldRun = self.inputs.run
        strategy, extraction = self.inputs.strategy, self.inputs.extraction
        cache = Path(self.inputs.hash_cache) if self.inputs.hash_cache else None
        prepared = []
        for parcellation, path in zip(self.inputs.parcellations, self.inputs.clean, strict=True):
            clean = load_arrays(path, CleanRun)
            outputs = RunOutputs(Path(self.inputs.out_dir), run.entities, parcellation.entities, strategy.name)
            tables = _tables(outputs, parcellation, clean, extraction.connectivity)
            prepared.append(
                (parcellation, outputs, tables, run_sidecar(run, parcellation, strategy, extraction, clean))
            )
        bold_hash = self.inputs.bold_hash or hash_file(run.bold, cache)
        # Everything has been read by now, and nothing has been written yet.
        hashes = hashes_after_reading(run, self.inputs.parcellations, self.inputs.before, bold_hash)
        for parcellation, outputs, tables, facts in prepared:
            digest = input_hash(run, parcellation, strategy, extraction, hashes)
            _write(outputs, tables, {**facts, "InputHash": digest})
        self._results["timeseries"] = [str(outputs.timeseries) for _, outputs, _, _ in prepared]


@dataclass(frozen=True)
class _Table:
    """A table of a run, as text, and the sidecar that describes its columns (None for the series)."""

    text: str
    description: Mapping[str, Any] | None


def _tables(
    outputs: RunOutputs, parcellation: Parcellation, clean: CleanRun, measures: Sequence[str]
) -> dict[Path, _Table]:
    """Make the tables of a run, the series last."""
    import pandas as pd

    def square(values: npt.NDArray[np.float64]) -> str:
        return table_text(pd.DataFrame(values, columns=list(parcellation.names)))

    tables = {
        outputs.coverage: _Table(table_text(_coverage_table(parcellation, clean)), _COVERAGE_COLUMNS),
        outputs.connectivity: _Table(square(pearson_connectivity(clean.series)), _CONNECTIVITY),
    }
    for measure in measures:
        text = square(shrunk_connectivity(clean.series, measure))
        tables[outputs.relations(measure)] = _Table(text, {**_CONNECTIVITY, **_MEASURES[measure]})
    kept = np.isin(np.arange(clean.framewise_displacement.size), clean.kept).astype(int)
    motion = pd.DataFrame({"framewise_displacement": clean.framewise_displacement, "kept": kept})
    tables[outputs.motion] = _Table(table_text(motion), _MOTION_COLUMNS)
    tables[outputs.timeseries] = _Table(square(clean.series), None)
    return tables


def _write(outputs: RunOutputs, tables: Mapping[Path, _Table], facts: Mapping[str, Any]) -> None:
    """Write the files of a run; at no moment does a sidecar of the series vouch for files that it does not describe."""
    hashes = {path.name: text_hash(table.text) for path, table in tables.items()}
    sidecar, text = outputs.timeseries.with_suffix(".json"), json_text({**facts, OUTPUT_HASHES: hashes})
    if not (sidecar.is_file() and sidecar.read_bytes() == text.encode("utf-8")):
        sidecar.unlink(missing_ok=True)
    for path, table in tables.items():
        write_text(path, table.text)
        if table.description is not None:
            write_json(path.with_suffix(".json"), dict(table.description))
    write_text(sidecar, text)


def _coverage_table(parcellation: Parcellation, clean: CleanRun) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "index": parcellation.labels,
            "name": parcellation.names,
            "network": parcellation.networks,
            "n_voxels": clean.n_voxels,
            "n_covered": clean.n_covered,
            "coverage": clean.coverage,
            "mean": clean.mean,
            "tsnr": clean.tsnr,
            "used": clean.used.astype(int),
        }
    )


_MOTION_COLUMNS = {
    "framewise_displacement": {"Description": "As fMRIPrep computed it; n/a where it is not known.", "Units": "mm"},
    "kept": {"Description": "1 where the volume is part of the series, 0 where it was dropped or censored."},
}

_CONNECTIVITY = {
    "Description": "Pearson correlation between regions; rows in the order of the columns.",
    "RelationshipMeasure": "Pearson correlation",
    "Weighted": True,
    "Directed": False,
    "ValidDiagonal": True,
    "StorageFormat": "Full",
}

_SHRUNK = "from the covariance with the shrinkage of Ledoit and Wolf (2004); rows in the order of the columns."
_MEASURES = {
    "partial-correlation": {
        "Description": f"Correlation of each two regions given all others that are used, {_SHRUNK}",
        "RelationshipMeasure": "partial correlation",
    },
    "covariance": {
        "Description": f"Covariance of the regional series as they are, {_SHRUNK}",
        "RelationshipMeasure": "covariance",
    },
}

_COVERAGE_COLUMNS = {
    "index": {"Description": "Value of the region in the label image."},
    "name": {"Description": "Name of the region, as in the columns of the series."},
    "network": {"Description": "Network or lobe of the region."},
    "n_voxels": {"Description": "Voxels of the region on the run's grid; 0 where it vanishes at this resolution."},
    "n_covered": {"Description": "Those inside the brain mask whose signal is not zero throughout."},
    "coverage": {"Description": "n_covered divided by n_voxels."},
    "mean": {"Description": "Mean of the regional series over the kept volumes, before denoising."},
    "tsnr": {"Description": "Mean divided by standard deviation of the regional series, before denoising."},
    "used": {"Description": "1 where the region is covered well enough and not constant; else its series is n/a."},
}
