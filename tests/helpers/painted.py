"""Derivatives whose answer is known: real series painted into the parcels of a real atlas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.files.write import write_json, write_text
from bids_neurossm.simulation import Grid, paint_run, simulate_confounds

REPETITION_TIME = 2.0


def psychosis_series(shared_data: Path, n_participants: int) -> list[npt.NDArray[np.float64]]:
    """Real series, (T, 400) each, in the order of Schaefer-400 with 7 networks."""
    with np.load(shared_data / "psychosis" / "dt_AROMA_8Phys_bpf_419_ses-1.npz") as stored:
        names = sorted(stored.files)
        arrays = [stored[name] for name in names]
    if len(arrays) == 1:
        arrays = list(arrays[0])
    return [np.asarray(each, dtype=np.float64)[:400].T for each in arrays[:n_participants]]


def schaefer400(templateflow_home: Path) -> Parcellation:
    """Schaefer-400 in MNI152NLin2009cAsym, 2 mm, from the minimal TemplateFlow home."""
    return load_parcellation(
        "Schaefer400", "MNI152NLin2009cAsym", atlas_dir=templateflow_home / "tpl-MNI152NLin2009cAsym"
    )


def paint_psychosis(
    dataset: Path,
    shared_data: Path,
    templateflow_home: Path,
    n_participants: int,
    n_volumes: int,
    dtype: str = "float32",
    regions: Sequence[int] | None = None,
) -> None:
    """Write fMRIPrep-like derivatives of psychosis participants on the grid of the atlas."""
    parcellation = schaefer400(templateflow_home)
    image, affine, _ = parcellation.image()
    grid = Grid((image.shape[0], image.shape[1], image.shape[2]), affine)
    mask = image > 0
    rng = np.random.default_rng(0)
    write_json(
        dataset / "dataset_description.json",
        {
            "Name": "painted",
            "BIDSVersion": "1.9.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.2.0"}],
        },
    )
    rows = ["participant_id\tdx\tage"]
    for number, series in enumerate(psychosis_series(shared_data, n_participants), start=1):
        label = f"{number:02d}"
        confounds = simulate_confounds(n_volumes, REPETITION_TIME, rng, n_dummy=2)
        paint_run(
            dataset,
            {"sub": label, "task": "rest", "space": "MNI152NLin2009cAsym", "res": "2"},
            series[:n_volumes],
            parcellation,
            grid,
            mask,
            confounds,
            REPETITION_TIME,
            rng,
            voxel_noise=2.0,
            dtype=dtype,
        )
        rows.append(f"sub-{label}\t{1 + number % 2}\t{20 + number}")
    write_text(dataset / "participants.tsv", "\n".join(rows) + "\n")
