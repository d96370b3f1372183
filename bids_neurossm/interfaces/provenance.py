"""Sidecars: what a file was made from, with what, and what was left out."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from bids_neurossm import __version__
from bids_neurossm.atlas.orientation import has_orientation
from bids_neurossm.atlas.parcellation import DENSE_EXTENSIONS, Parcellation
from bids_neurossm.config import Extraction
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.files.hashing import hash_content
from bids_neurossm.files.record_format import RECORD_FORMAT
from bids_neurossm.interfaces.arrays import CleanRun
from bids_neurossm.signal.quality import motion_summary
from bids_neurossm.signal.strategy import SMOOTH_AROMA, Strategy

#: Fields of a strategy that are words, or are stated on their own.
_NOT_METHOD = ("name", "description", "citation", "high_pass", "low_pass")


@lru_cache(maxsize=1)
def software_versions() -> dict[str, str]:
    """Versions of this package and of those whose numbers it passes on; nothing is imported for it."""
    versions = {"bids-neurossm": __version__}
    for package in ("torch", "nilearn", "nimare", "numpy", "scikit-learn", "nipype", "pybids", "templateflow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def bids_uri(path: Path, dataset: Path, name: str = "fmriprep") -> str:
    """Name a file of an input dataset as BIDS does."""
    return f"bids:{name}:{path.relative_to(dataset)}"


def run_sidecar(
    run: BoldRun,
    parcellation: Parcellation,
    strategy: Strategy,
    extraction: Extraction,
    clean: CleanRun,
) -> dict[str, Any]:
    """Assemble the sidecar of a run's series, without the hashes of its inputs and outputs.

    Parameters
    ----------
    run, parcellation, strategy, extraction
        What the series were made from.
    clean : CleanRun
        The run after denoising.

    Returns
    -------
    dict
        Ready to be written as JSON.
    """
    seconds = run.repetition_time
    n_dummy, n_censored = int(clean.n_dummy), int(clean.n_censored)
    n_kept, degrees = int(clean.kept.size), int(clean.degrees_of_freedom)
    components = (run.mixing, run.noise_components) if strategy.non_aggressive else ()
    sources = [path for path in (run.bold, run.mask, run.confounds, *components) if path]
    warnings = _warnings(run, parcellation, extraction, clean)
    return {
        "Description": f"Mean over each region of {parcellation.facts.get('title', parcellation.name)}; "
        f"{strategy.description}",
        "Sources": [bids_uri(path, run.dataset) for path in sources],
        "BrainMask": "n/a" if run.dense else run.mask is not None,
        "RepetitionTime": seconds,
        "SamplingFrequency": 1 / seconds,
        "StartTime": n_dummy * seconds,
        "NumberOfVolumes": int(clean.framewise_displacement.size),
        "NumberOfVolumesDropped": n_dummy,
        "NumberOfVolumesCensored": n_censored,
        "NumberOfVolumesKept": n_kept,
        "Segments": clean.segments.tolist(),
        "DegreesOfFreedom": degrees,
        "DegreesOfFreedomLost": n_kept - degrees,
        "DenoisingStrategy": strategy.name,
        "DenoisingDescription": strategy.description,
        "ConfoundColumns": [str(name) for name in clean.columns],
        "NoiseComponents": [str(name) for name in clean.noise_components],
        "Detrend": strategy.detrend,
        "HighPass": strategy.high_pass if strategy.high_pass is not None else "n/a",
        "LowPass": strategy.low_pass if strategy.low_pass is not None else "n/a",
        **_censoring(strategy, extraction),
        **_motion(run, clean),
        "MinimumCoverage": extraction.min_coverage,
        "Atlas": {
            "Name": parcellation.name,
            **{key: str(value) for key, value in parcellation.entities.items()},
            **parcellation.drawing.facts(),
            "SHA256": parcellation.sha256,
            "NumberOfRegions": parcellation.n_regions,
        },
        **_regions(parcellation, clean),
        "Exclusion": exclusion(extraction, clean),
        "Warnings": warnings,
        "RequestedSettings": requested_settings(strategy, extraction),
        "RecordFormat": RECORD_FORMAT,
        "SoftwareVersions": software_versions(),
    }


def requested_settings(strategy: Strategy, extraction: Extraction) -> dict[str, float | str]:
    """Return the settings of a run as they were asked for; what they led to can differ from run to run."""
    method = {name: value for name, value in asdict(strategy).items() if name not in _NOT_METHOD}
    wanted = {
        "DummyScans": "auto" if extraction.dummy_scans is None else extraction.dummy_scans,
        "FramewiseDisplacementThreshold": extraction.fd_threshold,
        "HighPass": strategy.high_pass,
        "LowPass": strategy.low_pass,
        "MinimumCoverage": extraction.min_coverage,
        "MinimumVolumes": extraction.min_volumes,
        "MinimumDegreesOfFreedom": extraction.min_dof,
        "MaximumUncovered": extraction.max_uncovered,
        "StrategyHash": hash_content(method),
    }
    return {name: "n/a" if value is None else value for name, value in wanted.items()}


def _censoring(strategy: Strategy, extraction: Extraction) -> dict[str, float | str]:
    """Say by what rule volumes were dropped: the strategy's own, or that of the command line where it was given."""
    own = strategy.nilearn if strategy.scrubs else {}
    # What nilearn takes where a strategy that scrubs does not say.
    defaults = {"scrub": 5, "fd_threshold": 0.5, "std_dvars_threshold": 1.5} if strategy.scrubs else {}
    rule: dict[str, Any] = {**defaults, **{name: own[name] for name in defaults if name in own}}
    if extraction.fd_threshold is not None:
        rule["fd_threshold"] = extraction.fd_threshold
    return {
        "FramewiseDisplacementThreshold": rule.get("fd_threshold", "n/a"),
        "StandardizedDVARSThreshold": rule.get("std_dvars_threshold", "n/a"),
        "ShortestSegmentKept": rule.get("scrub", "n/a"),
    }


def _regions(parcellation: Parcellation, clean: CleanRun) -> dict[str, Any]:
    """Sum up the quality of the regions."""
    return {
        "MeanCoverage": float(clean.coverage.mean()),
        "MedianTemporalSNR": float(np.median(clean.tsnr[clean.used])) if clean.used.any() else "n/a",
        "NumberOfRegionsUsed": int(clean.used.sum()),
        "RegionsNotUsed": [name for name, used in zip(parcellation.names, clean.used, strict=True) if not used],
    }


def _motion(run: BoldRun, clean: CleanRun) -> dict[str, float | int | str]:
    """Sum up the motion of a run over all its volumes, before any was dropped."""
    motion = motion_summary(run.confounds, int(clean.framewise_displacement.size))
    return {
        "MeanFramewiseDisplacement": _or_na(motion.mean_displacement),
        "MaxFramewiseDisplacement": _or_na(motion.max_displacement),
        "MeanStandardizedDVARS": _or_na(motion.mean_std_dvars),
        "NumberOfOutlierVolumes": motion.n_outliers if motion.n_outliers is not None else "n/a",
    }


def _unoriented(run: BoldRun, parcellation: Parcellation) -> list[str]:
    """Name the images whose orientation is a guess, which --allow-missing-orientation lets pass."""
    atlas = [layer.image_file for layer in parcellation.layers] or [parcellation.image_file]
    files = [*([] if run.dense else [run.bold, *([run.mask] if run.mask else [])]), *atlas]
    names = [path.name for path in files if not path.name.endswith(DENSE_EXTENSIONS) and not has_orientation(path)]
    if not names:
        return []
    return [
        f"No sform and no qform in the header of {', '.join(names)}: the orientation is a guess, left and right may be "
        "exchanged and regions may lie elsewhere."
    ]


def _or_na(value: float) -> float | str:
    return value if np.isfinite(value) else "n/a"


def exclusion(extraction: Extraction, clean: CleanRun) -> dict[str, str] | None:
    """Say why a run should not be analysed, or None.

    Its series are written all the same: a rule may be changed later, and nothing is lost.
    """
    kept, degrees = int(clean.kept.size), int(clean.degrees_of_freedom)
    used = clean.used
    if kept < extraction.min_volumes:
        return {
            "Reason": "too few volumes",
            "Detail": f"{kept} volumes are kept, --min-volumes asks for {extraction.min_volumes}",
        }
    if degrees < extraction.min_dof:
        return {
            "Reason": "too few degrees of freedom",
            "Detail": f"denoising takes {kept - degrees} from the {kept} volumes that are kept and leaves "
            f"{max(degrees, 0)}, --min-dof asks for {extraction.min_dof}",
        }
    unused = 1 - float(used.mean())
    if unused > extraction.max_uncovered:
        return {
            "Reason": "too many regions without signal",
            "Detail": f"{unused:.0%} of the regions can not be used, --max-uncovered allows "
            f"{extraction.max_uncovered:.0%}",
        }
    return None


def _warnings(run: BoldRun, parcellation: Parcellation, extraction: Extraction, clean: CleanRun) -> list[str]:
    found = []
    seconds, claimed = run.repetition_time, float(clean.header_repetition_time)
    if abs(claimed - seconds) > 0.01 * seconds:  # NaN, where the header claims nothing, is not larger
        found.append(
            f"The header of the image claims a repetition time of {claimed:g} s, its sidecar {seconds:g} s: the "
            "sidecar was believed."
        )
    if parcellation.space != run.space:
        found.append(
            f"The atlas is drawn in {parcellation.space} and was laid over {run.space} by its affine alone: regions "
            "can be some millimetres off."
        )
    if run.mask is None and not run.dense:
        found.append("There is no brain mask for the image: voxels count as covered where they are not zero.")
    if extraction.allow_missing_orientation:
        found += _unoriented(run, parcellation)
    again = [str(name) for name in (*clean.columns, *clean.noise_components)]
    if run.entities.get("desc") == SMOOTH_AROMA and any("aroma" in name for name in again):
        found.append(
            "The image is without ICA-AROMA's noise components already; regressing them out of it once more takes "
            "signal that they share with it."
        )
    vanished = int((clean.n_voxels == 0).sum())
    if vanished:
        found.append(f"{vanished} regions have no voxel at the resolution of this run and are n/a.")
    return found
