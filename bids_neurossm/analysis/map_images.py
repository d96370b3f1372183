"""One value per region painted into images: voxels, grayordinates, and the vertices of the two hemispheres."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from bids_neurossm.atlas.grayordinates import dense_positions
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.atlas.surface import surface_parcellation
from bids_neurossm.errors import UsageError
from bids_neurossm.files.write import write_json, write_nifti, write_tsv
from bids_neurossm.files.write_surface import LabelColours, write_cifti, write_gifti

#: Scores are float32 with NaN outside, masks uint8 and labels int16 with 0 outside (float32 in CIFTI and func.gii).
Kind = Literal["score", "mask", "labels"]
#: Gives the path of an image from entities that are its own (``hemi`` ...), and from its extension.
Namer = Callable[[Mapping[str, str | None], str], Path]

_TYPES = {"score": np.float32, "mask": np.uint8, "labels": np.int16}
_NOTHING = (1.0, 1.0, 1.0, 0.0)


@dataclass(frozen=True)
class _Canvas:
    """Something to paint on: its own entities, extension of each kind, and the function that writes."""

    entities: Mapping[str, str | None]
    extensions: Mapping[Kind, str]
    write: Callable[[Path, npt.NDArray[Any], str, LabelColours | None], None]
    positions: npt.NDArray[np.int32]
    facts: Mapping[str, Any] = field(default_factory=dict)


class Painter:
    """Paints maps of a parcellation; what it needs of the label image is read once.

    Parameters
    ----------
    parcellation : Parcellation
        Of voxels: one NIfTI image per map, on the grid of the label image. Of grayordinates: one CIFTI-2 file.
    surfaces : bool
        Whether each hemisphere is painted too, as GIFTI: on the surfaces of the grayordinates, or on fsaverage5
        (`bids_neurossm.atlas.surface.surface_parcellation`).

    Attributes
    ----------
    notes : list of str
        Why there are no surfaces, or what is missing on them.
    """

    def __init__(self, parcellation: Parcellation, surfaces: bool = False) -> None:
        self.notes: list[str] = []
        self._canvases = [_grayordinates(parcellation) if parcellation.dense else _volume(parcellation)]
        if surfaces:
            self._canvases += self._surfaces(parcellation)

    def paint(
        self, name: Namer, values: npt.NDArray[Any], kind: Kind, facts: Mapping[str, Any], names: Sequence[str] = ()
    ) -> list[Path]:
        """Write a map with its sidecars.

        Parameters
        ----------
        name : callable
            Gives the path of each image.
        values : ndarray, shape (R,)
            One value per region.
        kind : {"score", "mask", "labels"}
            What they are.
        facts : mapping
            For the sidecars.
        names : sequence of str
            What the labels 0, 1, ... stand for; a table beside the image says so too.

        Returns
        -------
        list of Path
            The images.
        """
        outside = np.nan if kind == "score" else 0
        painted = np.concatenate([[outside], values]).astype(_TYPES[kind])
        colours = _colours(names) if names else None
        paths = []
        for canvas in self._canvases:
            path = name(canvas.entities, canvas.extensions[kind])
            canvas.write(path, painted[canvas.positions], str(facts.get("Description", "")), colours)
            stem = path.name.partition(".")[0]
            write_json(path.with_name(f"{stem}.json"), {**facts, **canvas.facts})
            if names and "hemi" not in canvas.entities:
                write_tsv(path.with_name(f"{stem}.tsv"), pd.DataFrame({"index": range(len(names)), "name": names}))
            paths.append(path)
        return paths

    def _surfaces(self, parcellation: Parcellation) -> list[_Canvas]:
        """Lay the parcellation over the hemispheres, or note why that can not be done."""
        try:
            surface = surface_parcellation(parcellation)
        except UsageError as error:
            self.notes.append(f"No maps on a surface: {error}")
            return []
        absent = len(surface.absent)
        if absent:
            self.notes.append(
                f"{absent} of {surface.n_regions} regions have no vertex on the surface of {surface.space}, and are "
                "missing in the maps on it."
            )
        facts = {"SurfaceMethod": surface.method, "RegionsWithoutVertex": absent, "Density": surface.density}
        place = {"space": surface.space, "res": None, "den": surface.density}
        return [
            _Canvas(
                {**place, "hemi": hemisphere},
                {"score": ".func.gii", "mask": ".func.gii", "labels": ".label.gii"},
                lambda path, values, text, labels, hemisphere=hemisphere: write_gifti(  # type: ignore[misc]
                    path, values, hemisphere, text, labels
                ),
                positions,
                facts,
            )
            for hemisphere, positions in surface.hemispheres.items()
        ]


def _volume(parcellation: Parcellation) -> _Canvas:
    _, affine, header = parcellation.image()

    def write(path: Path, values: npt.NDArray[Any], text: str, labels: LabelColours | None) -> None:
        write_nifti(path, values, affine, header)

    extensions: dict[Kind, str] = {"score": ".nii.gz", "mask": ".nii.gz", "labels": ".nii.gz"}
    return _Canvas({}, extensions, write, parcellation.positions())


def _grayordinates(parcellation: Parcellation) -> _Canvas:
    positions, axis = dense_positions(parcellation)

    def write(path: Path, values: npt.NDArray[Any], text: str, labels: LabelColours | None) -> None:
        write_cifti(path, values, axis, text, labels)

    extensions: dict[Kind, str] = {"score": ".dscalar.nii", "mask": ".dscalar.nii", "labels": ".dlabel.nii"}
    return _Canvas({}, extensions, write, positions)


def _colours(names: Sequence[str]) -> LabelColours:
    """Give each label a hue of its own; the first one, where there is none, is clear."""
    hues = [colorsys.hsv_to_rgb(place / max(len(names) - 1, 1), 0.75, 0.85) for place in range(len(names) - 1)]
    return [(names[0], _NOTHING), *((name, (*hue, 1.0)) for name, hue in zip(names[1:], hues, strict=True))]
