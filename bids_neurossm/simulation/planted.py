"""A small dataset with planted regions and time scales.

Every participant does two tasks. During the n-back, a set of regions follows slow blocks; during the flanker task,
another set alternates fast. Which regions, which time scale and how strongly is planted, and written to
``planted_truth.json``, so that it can be looked for afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas.catalogue import load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import NoInputError, UsageError
from bids_neurossm.files.json_files import read_json_object
from bids_neurossm.files.write import write_json
from bids_neurossm.simulation.confounds import autoregressive, simulate_confounds
from bids_neurossm.simulation.painting import Grid, paint_run

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
    truth = _plan(labels, repetition_time, effect)
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
            entities = {"sub": label, "task": task, "space": truth.space}
            paint_run(out, entities, series, parcellation, grid, mask, confounds, repetition_time, rng)
    write_json(out / "planted_truth.json", asdict(truth))
    return truth


def _plan(labels: Sequence[str], repetition_time: float, effect: float) -> PlantedTruth:
    """Decide what is planted, and which runs have a flaw."""
    return PlantedTruth(
        atlas="HarvardOxford",
        space="MNI152NLin6Asym",
        regions={"nback": list(N_BACK_REGIONS), "flanker": list(FLANKER_REGIONS)},
        period={"nback": 56.0, "flanker": 3 * repetition_time},
        strength={"nback": 0.9 * effect, "flanker": 0.45 * effect},
        dead_region={"run": f"sub-{labels[1]}_task-flanker", "region": "Frontal_Orbital_Cortex"},
        short_run=f"sub-{labels[2]}_task-nback",
    )


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
    background = autoregressive(n_volumes, parcellation.n_regions, 0.5, rng)
    shared = autoregressive(n_volumes, 3, 0.5, rng) @ rng.normal(0, 0.3, (3, parcellation.n_regions))
    fluctuation = background + shared
    time = np.arange(n_volumes) * repetition_time
    for name in truth.regions[task]:
        phase = rng.uniform(0, 0.15)
        wave = np.sin(2 * np.pi * (time / truth.period[task] + phase))
        fluctuation[:, parcellation.names.index(name)] += np.sqrt(2) * strength * wave
    return 1000 + 10 * fluctuation


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
    return PlantedTruth(**read_json_object(Path(dataset) / "planted_truth.json", NoInputError))
