"""The three steps of a run: extract parcels, denoise, write the derivatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import TraitedSpec, traits

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.outputs import RunOutputs
from bids_neurossm.dataset.query import BoldRun, repetition_time
from bids_neurossm.dataset.write import write_json, write_tsv
from bids_neurossm.interfaces.base import RecordingInputSpec, RecordingInterface
from bids_neurossm.interfaces.provenance import run_sidecar
from bids_neurossm.interfaces.resume import input_hash
from bids_neurossm.signal.confounds import load_confounds
from bids_neurossm.signal.denoise import CleanSeries, denoise
from bids_neurossm.signal.parcels import ParcelSeries, parcel_series
from bids_neurossm.signal.quality import RegionQuality, pearson_connectivity, region_quality
from bids_neurossm.signal.strategy import Strategy


class ExtractParcelsInputSpec(RecordingInputSpec):
    """A run and the parcellations to lay over it."""

    run = traits.Instance(BoldRun, mandatory=True, desc="image, mask and confounds")
    parcellations = traits.List(traits.Instance(Parcellation), mandatory=True, desc="all taken in one pass")


class ExtractParcelsOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Regional means."""

    parcels = traits.Str(desc="npz with series, n_voxels and n_covered for each parcellation")


class ExtractParcels(RecordingInterface):
    """Average an image over the regions of several parcellations, in one streamed pass."""

    input_spec = ExtractParcelsInputSpec
    output_spec = ExtractParcelsOutputSpec

    def _work(self, cwd: Path) -> None:
        run: BoldRun = self.inputs.run
        found = parcel_series(run.bold, self.inputs.parcellations, run.mask)
        arrays: dict[str, npt.NDArray[Any]] = {}
        for index, each in enumerate(found):
            arrays |= {
                f"series{index}": each.series,
                f"voxels{index}": each.n_voxels,
                f"covered{index}": each.n_covered,
            }
        np.savez(cwd / "parcels.npz", allow_pickle=False, **arrays)
        self._results["parcels"] = str(cwd / "parcels.npz")


class DenoiseSeriesInputSpec(RecordingInputSpec):
    """Regional means and how to clean them."""

    run = traits.Instance(BoldRun, mandatory=True)
    parcels = traits.Str(mandatory=True, desc="npz of ExtractParcels")
    n_parcellations = traits.Int(mandatory=True)
    dataset = traits.Str(mandatory=True, desc="root of the input dataset")
    strategy = traits.Instance(Strategy, mandatory=True)
    extraction = traits.Instance(Extraction, mandatory=True)


class DenoiseSeriesOutputSpec(TraitedSpec):  # type: ignore[misc]
    """Clean series with everything that the sidecars say of them."""

    clean = traits.Str(desc="npz with clean series, quality and volumes kept")


class DenoiseSeries(RecordingInterface):
    """Judge the regions and regress the confounds out of those that can be used."""

    input_spec = DenoiseSeriesInputSpec
    output_spec = DenoiseSeriesOutputSpec

    def _work(self, cwd: Path) -> None:
        run: BoldRun = self.inputs.run
        extraction: Extraction = self.inputs.extraction
        strategy: Strategy = self.inputs.strategy
        seconds = repetition_time(run.bold, Path(self.inputs.dataset))
        arrays: dict[str, npt.NDArray[Any]] = {}
        with np.load(self.inputs.parcels, allow_pickle=False) as stored:
            parcels = [
                ParcelSeries(stored[f"series{index}"], stored[f"voxels{index}"], stored[f"covered{index}"])
                for index in range(self.inputs.n_parcellations)
            ]
        confounds = load_confounds(
            run.confounds, strategy, parcels[0].series.shape[0], extraction.dummy_scans, extraction.fd_threshold
        )
        for index, each in enumerate(parcels):
            quality = region_quality(each, confounds.kept, extraction.min_coverage)
            clean = denoise(each.series, quality.used, confounds, strategy, seconds)
            arrays |= _packed(index, each, quality, clean)
        arrays["kept"] = confounds.kept
        arrays["displacement"] = (
            np.full(parcels[0].series.shape[0], np.nan)
            if confounds.framewise_displacement is None
            else confounds.framewise_displacement
        )
        arrays["counts"] = np.array([confounds.n_dummy, confounds.n_censored])
        arrays["columns"] = np.array(confounds.columns, dtype=np.str_)
        np.savez(cwd / "clean.npz", allow_pickle=False, **arrays)
        self._results["clean"] = str(cwd / "clean.npz")


def _packed(
    index: int, parcels: ParcelSeries, quality: RegionQuality, clean: CleanSeries
) -> dict[str, npt.NDArray[Any]]:
    return {
        f"series{index}": clean.series,
        f"segments{index}": np.array(clean.segments, dtype=np.int64).reshape(-1, 2),
        f"degrees{index}": np.array(clean.degrees_of_freedom),
        f"voxels{index}": parcels.n_voxels,
        f"covered{index}": parcels.n_covered,
        f"coverage{index}": quality.coverage,
        f"mean{index}": quality.mean,
        f"tsnr{index}": quality.tsnr,
        f"used{index}": quality.used,
    }


class WriteDerivativesInputSpec(RecordingInputSpec):
    """Clean series and where they go."""

    run = traits.Instance(BoldRun, mandatory=True)
    clean = traits.Str(mandatory=True, desc="npz of DenoiseSeries")
    parcellations = traits.List(traits.Instance(Parcellation), mandatory=True)
    strategy = traits.Instance(Strategy, mandatory=True)
    extraction = traits.Instance(Extraction, mandatory=True)
    dataset = traits.Str(mandatory=True, desc="root of the input dataset")
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
        written = []
        with np.load(self.inputs.clean, allow_pickle=False) as stored:
            arrays = dict(stored)
        for index, parcellation in enumerate(self.inputs.parcellations):
            outputs = RunOutputs(
                Path(self.inputs.out_dir),
                self.inputs.run.entities,
                parcellation.entities,
                self.inputs.strategy.name,
            )
            written.append(str(self._write(outputs, parcellation, index, arrays)))
        self._results["timeseries"] = written

    def _write(
        self, outputs: RunOutputs, parcellation: Parcellation, index: int, arrays: dict[str, npt.NDArray[Any]]
    ) -> Path:
        run: BoldRun = self.inputs.run
        extraction: Extraction = self.inputs.extraction
        cache = Path(self.inputs.hash_cache) if self.inputs.hash_cache else None
        digest = input_hash(run, Path(self.inputs.dataset), parcellation, self.inputs.strategy, extraction, cache)
        series = arrays[f"series{index}"]
        names = list(parcellation.names)
        write_tsv(outputs.coverage, _coverage_table(parcellation, index, arrays))
        write_json(outputs.coverage.with_suffix(".json"), _COVERAGE_COLUMNS)
        write_tsv(outputs.connectivity, pd.DataFrame(pearson_connectivity(series), columns=names))
        write_json(
            outputs.connectivity.with_suffix(".json"),
            {
                "Description": "Pearson correlation between regions; rows in the order of the columns.",
                "RelationshipMeasure": "Pearson correlation",
                "Weighted": True,
                "Directed": False,
                "ValidDiagonal": True,
                "StorageFormat": "Full",
            },
        )
        n_volumes = arrays["displacement"].size
        kept = np.isin(np.arange(n_volumes), arrays["kept"]).astype(int)
        write_tsv(outputs.motion, pd.DataFrame({"framewise_displacement": arrays["displacement"], "kept": kept}))
        write_tsv(outputs.timeseries, pd.DataFrame(series, columns=names))
        write_json(
            outputs.timeseries.with_suffix(".json"),
            run_sidecar(
                run,
                Path(self.inputs.dataset),
                parcellation,
                self.inputs.strategy,
                extraction,
                index,
                arrays,
                digest,
            ),
        )
        return outputs.timeseries


def _coverage_table(parcellation: Parcellation, index: int, arrays: dict[str, npt.NDArray[Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "index": parcellation.labels,
            "name": parcellation.names,
            "network": parcellation.networks,
            "n_voxels": arrays[f"voxels{index}"],
            "n_covered": arrays[f"covered{index}"],
            "coverage": arrays[f"coverage{index}"],
            "mean": arrays[f"mean{index}"],
            "tsnr": arrays[f"tsnr{index}"],
            "used": arrays[f"used{index}"].astype(int),
        }
    )


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
