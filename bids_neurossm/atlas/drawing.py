"""The identity of an atlas: the places of its regions, independent of the file that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Drawing:
    """Where the regions of an atlas are drawn.

    Parameters
    ----------
    space : str
        Of the label image.
    resolution : str
        Its voxel size in mm, ``2x2x2``; empty for grayordinates.
    sha256 : str
        Hash of the regions of all voxels and the affine: the same for every file with the same content.
    """

    space: str
    resolution: str
    sha256: str

    def conflicts_with(self, other: Drawing) -> bool:
        """Tell whether two drawings place regions differently; across spaces or resolutions nothing is compared."""
        comparable = (self.space, self.resolution) == (other.space, other.resolution)
        return comparable and self.sha256 != other.sha256

    def facts(self) -> dict[str, str]:
        """Return what records hold of it."""
        return {"Space": self.space, "Resolution": self.resolution, "LabelsSHA256": self.sha256}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Drawing | None:
        """Read what a record holds of a drawing; None where it holds nothing, as those by 0.1.0."""
        values = [record.get(name) for name in ("Space", "Resolution", "LabelsSHA256")]
        return cls(*map(str, values)) if all(isinstance(value, str) for value in values) else None


def labels_hash(positions: npt.NDArray[np.int32], affine: npt.NDArray[np.float64]) -> str:
    """Hash the region of every voxel, (X, Y, Z), and the affine, (4, 4), to a thousandth of a millimetre."""
    digest = hashlib.sha256(f"{positions.shape}".encode())
    digest.update(np.ascontiguousarray(positions, dtype="<i4").tobytes())
    digest.update((np.round(affine, 3) + 0.0).astype("<f8").tobytes())  # no negative zeros
    return digest.hexdigest()
