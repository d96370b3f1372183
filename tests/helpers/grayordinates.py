"""Small CIFTI-2 files with the structure of the real ones: two cortices without medial wall, subcortical voxels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis, SeriesAxis

VERTICES = 32492
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
SHAPE = (91, 109, 91)
CORTEX = {"CIFTI_STRUCTURE_CORTEX_LEFT": 2796, "CIFTI_STRUCTURE_CORTEX_RIGHT": 2776}  # vertices of the medial wall
NUCLEI = {"CIFTI_STRUCTURE_THALAMUS_LEFT": (52, 50, 40), "CIFTI_STRUCTURE_AMYGDALA_RIGHT": (33, 60, 28)}


def brain_models(medial_wall: bool = False, nuclei: bool = True, vertices: int = VERTICES, shift: int = 0) -> Any:
    """Give the axis of grayordinates: 59,412 vertices (all with `medial_wall`) and 2 x 27 voxels."""
    parts = []
    for name, n_wall in CORTEX.items():
        mask = np.ones(vertices, dtype=bool)
        if not medial_wall:
            mask[1000 : 1000 + n_wall] = False
        parts.append(BrainModelAxis.from_mask(mask, name))
    if nuclei:
        for name, corner in NUCLEI.items():
            mask = np.zeros(SHAPE, dtype=bool)
            mask[tuple(slice(start + shift, start + shift + 3) for start in corner)] = True
            parts.append(BrainModelAxis.from_mask(mask, name, affine=AFFINE))
    axis = parts[0]
    for part in parts[1:]:
        axis = axis + part
    return axis


def write_labels(path: Path, labels: np.ndarray, names: dict[int, str], axis: Any) -> Path:
    """Write a ``.dlabel.nii``."""
    table = {0: ("???", (0.0, 0.0, 0.0, 0.0))} | {label: (name, (1.0, 0, 0, 1)) for label, name in names.items()}
    maps = LabelAxis(["parcels"], [table])
    save(Cifti2Image(labels[np.newaxis].astype(np.float32), (maps, axis)), path)
    return path


def write_scalars(path: Path, values: np.ndarray, axis: Any) -> Path:
    """Write a ``.dscalar.nii`` with one map for each row."""
    maps = ScalarAxis([f"map {index}" for index in range(len(values))])
    save(Cifti2Image(values.astype(np.float32), (maps, axis)), path)
    return path


def write_series(path: Path, series: np.ndarray, axis: Any, seconds: float = 2.0) -> Path:
    """Write a ``.dtseries.nii`` from an array of T by G."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save(Cifti2Image(series.astype(np.float32), (SeriesAxis(0, seconds, len(series)), axis)), path)
    return path


def save(image: Any, path: Path) -> None:
    image.update_headers()
    nib.save(image, path)


def striped(axis: Any, n_regions: int) -> np.ndarray:
    """Label whole cortices in stripes of vertex numbers, the first nucleus with the next label, the rest with 0."""
    labels = np.zeros(len(axis), dtype=int)
    for hemisphere, name in enumerate(CORTEX):
        of_it = axis.name == name
        half = n_regions // 2
        labels[of_it] = 1 + hemisphere * half + axis.vertex[of_it] * half // VERTICES
    labels[axis.name == next(iter(NUCLEI))] = n_regions + 1
    return labels
