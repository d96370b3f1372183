"""An fMRIPrep-like dataset whose truth is known: for the demo, for tests, and for teaching.

Every participant does two tasks. During the n-back, a set of regions follows slow blocks; during the flanker task,
another set alternates fast. Which regions, which time scale and how strongly is planted, and written to
``planted_truth.json``, so that it can be looked for afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.catalogue import load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.dataset.names import build_name
from bids_neurossm.dataset.write import replacing, write_json, write_nifti, write_tsv
from bids_neurossm.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

#: Regions of the Harvard-Oxford atlas that carry the planted signals. They are a positive control: the literature on
#: the two tasks differs there, so that a sound analysis finds the regions and agrees with the literature.
N_BACK_REGIONS = (
    *("Middle_Frontal_Gyrus", "Angular_Gyrus", "Parahippocampal_Gyrus_anterior", "Parahippocampal_Gyrus_posterior"),
    *("Middle_Temporal_Gyrus_posterior", "Temporal_Occipital_Fusiform"),
)
FLANKER_REGIONS = (
    *("Cingulate_Gyrus_anterior", "Supplementary_Motor_Area", "Precentral_Gyrus", "Postcentral_Gyrus"),
    *("Supramarginal_Gyrus_anterior", "Insular_Cortex"),
)


@dataclass(frozen=True)
class Grid:
    """A voxel grid: shape (X, Y, Z) and the affine that turns voxel indices into mm."""

    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlantedTruth:
    """What a simulated dataset holds.

    Parameters
    ----------
    atlas, space : str
        Atlas whose regions were painted, and the space of the images.
    regions : mapping of str to list of str
        Task to the names of the regions that carry its signal.
    period : mapping of str to float
        Task to the period of its signal, in seconds.
    strength : mapping of str to float
        Task to the standard deviation of its signal, in units of the region's own fluctuation.
    dead_region : mapping
        The run with a region without signal, and the region.
    short_run : str
        The run that is too short to be used.
    """

    atlas: str
    space: str
    regions: Mapping[str, list[str]]
    period: Mapping[str, float]
    strength: Mapping[str, float]
    dead_region: Mapping[str, str]
    short_run: str


def simulate_derivatives(
    out_dir: str | Path,
    n_participants: int = 24,
    n_volumes: int = 160,
    repetition_time: float = 2.0,
    effect: float = 1.0,
    seed: int = 42,
) -> PlantedTruth:
    """Write a small dataset of fMRIPrep derivatives with planted regions and time scales.

    Parameters
    ----------
    out_dir : path-like
        Where the dataset is written.
    n_participants : int
        Each does an n-back and a flanker task; at least 3.
    n_volumes : int
        Volumes per run, the first two of them not in a steady state.
    repetition_time : float
        Seconds.
    effect : float
        Factor on the strength of the planted signals, which varies between participants by a third besides; 0 plants
        nothing, so that there is nothing to be found.
    seed : int
        The same seed gives the same bytes.

    Returns
    -------
    PlantedTruth

    Raises
    ------
    UsageError
        If there are fewer than 3 participants.

    Notes
    -----
    Images are on a 4 mm grid in MNI152NLin6Asym, int16, non-zero inside the brain mask of NiMARE's template.
    """
    if n_participants < 3:
        raise UsageError(
            f"A simulation needs at least 3 participants, one with each flaw; {n_participants} were asked for."
        )
    out = Path(out_dir)
    parcellation = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    grid, mask = _four_millimetre_brain()
    rng = np.random.default_rng(seed)
    labels = [f"{index:02d}" for index in range(1, n_participants + 1)]
    truth = PlantedTruth(
        atlas="HarvardOxford",
        space="MNI152NLin6Asym",
        regions={"nback": list(N_BACK_REGIONS), "flanker": list(FLANKER_REGIONS)},
        period={"nback": 56.0, "flanker": 3 * repetition_time},
        strength={"nback": 0.9 * effect, "flanker": 0.45 * effect},
        dead_region={"run": f"sub-{labels[1]}_task-flanker", "region": "Frontal_Orbital_Cortex"},
        short_run=f"sub-{labels[2]}_task-nback",
    )
    _write_description(out)
    for label in labels:
        vigour = 1 + rng.normal(0, 1 / 3)
        for task in ("nback", "flanker"):
            name = f"sub-{label}_task-{task}"
            length = 40 if name == truth.short_run else n_volumes
            strength = truth.strength[task] * vigour
            series = _task_series(task, truth, parcellation, length, repetition_time, strength, rng)
            confounds = simulate_confounds(length, repetition_time, rng, n_dummy=2)
            if name == truth.dead_region["run"]:
                series[:, parcellation.names.index(truth.dead_region["region"])] = 0
            paint_run(
                out,
                {"sub": label, "task": task, "space": truth.space},
                series,
                parcellation,
                grid,
                mask,
                confounds,
                repetition_time,
                rng,
            )
    write_json(out / "planted_truth.json", asdict(truth))
    return truth


def _task_series(
    task: str,
    truth: PlantedTruth,
    parcellation: Parcellation,
    n_volumes: int,
    repetition_time: float,
    strength: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Regional series around 1000 with 1 % fluctuation; the task's regions carry its rhythm."""
    background = _autoregressive(n_volumes, parcellation.n_regions, 0.5, rng)
    shared = _autoregressive(n_volumes, 3, 0.5, rng) @ rng.normal(0, 0.3, (3, parcellation.n_regions))
    fluctuation = background + shared
    time = np.arange(n_volumes) * repetition_time
    for name in truth.regions[task]:
        phase = rng.uniform(0, 0.15)
        wave = np.sin(2 * np.pi * (time / truth.period[task] + phase))
        fluctuation[:, parcellation.names.index(name)] += np.sqrt(2) * strength * wave
    return 1000 + 10 * fluctuation


def _autoregressive(
    n_volumes: int, n_series: int, coefficient: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Unit-variance AR(1) noise, the simplest process with the smoothness of BOLD."""
    from scipy.signal import lfilter

    burn_in = 50
    noise = rng.normal(0, np.sqrt(1 - coefficient**2), (n_volumes + burn_in, n_series))
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, axis=0)[burn_in:])


def simulate_confounds(
    n_volumes: int, repetition_time: float, rng: np.random.Generator, n_dummy: int = 0
) -> pd.DataFrame:
    """Make a table with the columns that fMRIPrep 23 writes.

    Parameters
    ----------
    n_volumes : int
        Rows.
    repetition_time : float
        Seconds, for the cosine regressors of a 128 s high-pass.
    rng : Generator
        Source of randomness.
    n_dummy : int
        Volumes marked as not in a steady state.

    Returns
    -------
    DataFrame
        Derivatives are NaN in the first row, as fMRIPrep writes them.
    """
    import pandas as pd

    columns: dict[str, npt.NDArray[Any]] = {}
    motion = np.cumsum(rng.normal(0, [0.02] * 3 + [0.0003] * 3, (n_volumes, 6)), axis=0)
    nuisance = _autoregressive(n_volumes, 3, 0.6, rng) * [6, 8, 4] + [900, 1100, 1000]
    for name, values in zip(("csf", "white_matter", "global_signal"), nuisance.T, strict=True):
        columns |= _expanded(name, values)
    axes = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
    for name, values in zip(axes, motion.T, strict=True):
        columns |= _expanded(name, values)
    steps = np.abs(np.diff(motion, axis=0)) * [1, 1, 1, 50, 50, 50]
    columns["framewise_displacement"] = np.concatenate([[np.nan], steps.sum(axis=1)])
    columns["std_dvars"] = np.concatenate([[np.nan], rng.normal(1, 0.1, n_volumes - 1)])
    for order in range(int(2 * n_volumes * repetition_time / 128)):
        columns[f"cosine{order:02d}"] = np.cos(np.pi * (np.arange(n_volumes) + 0.5) * (order + 1) / n_volumes)
    for index in range(n_dummy):
        columns[f"non_steady_state_outlier{index:02d}"] = np.eye(n_volumes, dtype=int)[index]
    return pd.DataFrame(columns)


def _expanded(name: str, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    derivative = np.concatenate([[np.nan], np.diff(values)])
    return {
        name: values,
        f"{name}_derivative1": derivative,
        f"{name}_power2": values**2,
        f"{name}_derivative1_power2": derivative**2,
    }


def paint_run(
    dataset: Path,
    entities: Mapping[str, str],
    series: npt.NDArray[np.float64],
    parcellation: Parcellation,
    grid: Grid,
    mask: npt.NDArray[np.bool_],
    confounds: pd.DataFrame | None,
    repetition_time: float,
    rng: np.random.Generator,
    voxel_noise: float = 15.0,
    dtype: str = "int16",
) -> Path:
    """Paint regional series into an image, and write it as fMRIPrep would.

    Parameters
    ----------
    dataset : Path
        Root of the derivatives.
    entities : mapping
        ``sub``, ``task``, ``space`` and others that name the run.
    series : ndarray, shape (T, R)
        Value of every region in every volume.
    parcellation : Parcellation
        Whose regions are painted, laid over `grid` by nearest neighbour.
    grid : Grid
        Of the image.
    mask : ndarray of bool, shape (X, Y, Z)
        Brain mask; outside it voxels are 0.
    confounds : DataFrame or None
        One row per volume; None leaves the table away.
    repetition_time : float
        Seconds.
    rng : Generator
        Source of the voxel noise.
    voxel_noise : float
        Its standard deviation.
    dtype : str
        ``int16`` or ``float32``.

    Returns
    -------
    Path
        The image.
    """
    folder = dataset / f"sub-{entities['sub']}" / (f"ses-{entities['ses']}" if "ses" in entities else "") / "func"
    bold = folder / build_name({**entities, "desc": "preproc"}, "bold", ".nii.gz")
    n_dummy = 0
    if confounds is not None:
        n_dummy = sum(str(name).startswith("non_steady_state_outlier") for name in confounds)
        source = {name: value for name, value in entities.items() if name not in ("space", "res")}
        write_tsv(folder / build_name({**source, "desc": "confounds"}, "timeseries", ".tsv"), confounds)
    placed = parcellation.on_grid(grid.shape, grid.affine).ravel(order="F")
    voxels = np.flatnonzero(mask.ravel(order="F"))
    regions = placed[voxels] - 1
    # A voxel of the brain that belongs to no region still has a signal of its own.
    level = np.where(regions >= 0, 0.0, 1000.0)
    _write_volumes(bold, grid, len(series), repetition_time, dtype)(
        _volume(voxels, regions, level, row, index < n_dummy, voxel_noise, grid, dtype, rng)
        for index, row in enumerate(series)
    )
    write_nifti(
        folder / build_name({**entities, "desc": "brain"}, "mask", ".nii.gz"), mask.astype(np.uint8), grid.affine
    )
    sidecar = {"RepetitionTime": repetition_time, "TaskName": entities["task"], "SkullStripped": False}
    write_json(bold.with_name(bold.name.replace(".nii.gz", ".json")), sidecar)
    return bold


def _volume(
    voxels: npt.NDArray[np.int64],
    regions: npt.NDArray[np.int32],
    level: npt.NDArray[np.float64],
    row: npt.NDArray[np.float64],
    dummy: bool,
    voxel_noise: float,
    grid: Grid,
    dtype: str,
    rng: np.random.Generator,
) -> npt.NDArray[Any]:
    values = level + np.where(regions >= 0, row[regions], 0.0)
    alive = values != 0
    values[alive] += rng.standard_normal(int(alive.sum()), dtype=np.float32) * voxel_noise
    if dummy:
        values *= 1.3  # before the magnetisation settles, everything is brighter
    volume = np.zeros(int(np.prod(grid.shape)), dtype=dtype)
    volume[voxels] = np.rint(values) if dtype == "int16" else values
    return volume


def _write_volumes(path: Path, grid: Grid, n_volumes: int, repetition_time: float, dtype: str) -> Any:
    """Give a function that writes volumes one by one into a gzipped NIfTI image."""
    import nibabel as nib
    from isal import igzip

    header = nib.Nifti1Header()
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape((*grid.shape, n_volumes))
    header.set_qform(grid.affine, 4)
    header.set_sform(grid.affine, 4)
    header.set_zooms((*np.linalg.norm(grid.affine[:3, :3], axis=0), repetition_time))
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"

    def write(stream_of_volumes: Any) -> None:
        with (
            replacing(path) as temporary,
            temporary.open("wb") as raw,
            # No name and no time in the gzip header: the same seed gives the same bytes.
            igzip.IGzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=1) as stream,
        ):
            stream.write(header.binaryblock + b"\0" * 4)
            for volume in stream_of_volumes:
                stream.write(volume.tobytes())

    return write


def _four_millimetre_brain() -> tuple[Grid, npt.NDArray[np.bool_]]:
    """NiMARE's MNI152NLin6Asym brain mask on a 4 mm grid."""
    import nibabel as nib
    from nilearn.image import resample_img

    spec = find_spec("nimare")
    assert spec is not None
    assert spec.submodule_search_locations
    templates = Path(next(iter(spec.submodule_search_locations))) / "resources" / "templates"
    source: Any = nib.load(templates / "tpl-MNI152NLin6Asym_res-02_desc-brain_mask.nii.gz")
    affine = np.array([[4.0, 0, 0, -90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1]])
    shape = (46, 55, 46)
    mask = resample_img(
        source, affine, shape, interpolation="nearest", force_resample=True, copy_header=True
    ).get_fdata()
    return Grid(shape, affine), mask > 0


def _write_description(out: Path) -> None:
    write_json(
        out / "dataset_description.json",
        {
            "Name": "Simulated fMRIPrep derivatives with a planted truth",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "bids-neurossm simulate_derivatives", "Description": "Simulated, not measured."}],
        },
    )


def read_truth(dataset: str | Path) -> PlantedTruth:
    """Read back what `simulate_derivatives` planted."""
    return PlantedTruth(**json.loads((Path(dataset) / "planted_truth.json").read_text(encoding="utf-8")))
