"""Maps on surfaces, written whole or not at all: CIFTI-2 on grayordinates, GIFTI on one hemisphere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bids_neurossm.files.write import write_bytes

#: Name and colour (red, green, blue, opacity) of each label, from 0 on.
LabelColours = Sequence[tuple[str, tuple[float, float, float, float]]]

_STRUCTURES = {"L": "CortexLeft", "R": "CortexRight"}


def write_cifti(path: Path, values: npt.NDArray[Any], axis: Any, name: str, labels: LabelColours | None = None) -> None:
    """Write one map on grayordinates.

    Parameters
    ----------
    path : Path
        Ends in ``.dscalar.nii``, or in ``.dlabel.nii`` where there are labels.
    values : ndarray, shape (G,)
        One value per grayordinate; stored as float32.
    axis : BrainModelAxis
        Which vertex or voxel each of them is.
    name : str
        Of the map.
    labels : sequence of (name, colour), optional
        What the whole numbers from 0 on stand for.
    """
    from nibabel.cifti2 import Cifti2Image, LabelAxis, ScalarAxis

    maps = LabelAxis([name], [dict(enumerate(labels))]) if labels else ScalarAxis([name])
    image = Cifti2Image(np.asarray(values, dtype=np.float32)[np.newaxis], (maps, axis))
    image.update_headers()
    write_bytes(path, image.to_bytes())


def write_gifti(
    path: Path, values: npt.NDArray[Any], hemisphere: str, name: str, labels: LabelColours | None = None
) -> None:
    """Write one map on the vertices of a hemisphere.

    Parameters
    ----------
    path : Path
        Ends in ``.func.gii`` or ``.shape.gii``, or in ``.label.gii`` where there are labels.
    values : ndarray, shape (V,)
        One value per vertex; stored as float32, labels as int32.
    hemisphere : {"L", "R"}
        Which.
    name : str
        Of the map.
    labels : sequence of (name, colour), optional
        What the whole numbers from 0 on stand for.
    """
    from nibabel.gifti import GiftiDataArray, GiftiImage, GiftiLabel, GiftiLabelTable, GiftiMetaData

    kind, intent = (np.int32, "NIFTI_INTENT_LABEL") if labels else (np.float32, "NIFTI_INTENT_NONE")
    data = np.asarray(values).astype(kind)
    array = GiftiDataArray(data, intent=intent, meta=GiftiMetaData({"Name": name}))
    image = GiftiImage(darrays=[array], meta=GiftiMetaData({"AnatomicalStructurePrimary": _STRUCTURES[hemisphere]}))
    if labels:
        table = GiftiLabelTable()
        for key, (text, (red, green, blue, opacity)) in enumerate(labels):
            entry = GiftiLabel(key, red, green, blue, opacity)
            entry.label = text
            table.labels.append(entry)
        image.labeltable = table
    write_bytes(path, image.to_bytes())
