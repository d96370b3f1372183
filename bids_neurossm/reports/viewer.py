"""What the interactive viewer is fed with: an anatomy, the atlas, and the numbers behind the maps, packed into text.

The page holds everything, so that it works from a file without a network. A map is not an image here but one number
per region, as in the region table: fifty maps cost no more than one.
"""

from __future__ import annotations

import base64
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps

from bids_neurossm.reports.figures.canvas import MAGNITUDE, SIGNED
from bids_neurossm.reports.figures.display_grid import ORIGIN, SHAPE, STEP, background, on_display_grid
from bids_neurossm.reports.packing import packed


def find_labels(out_dir: Path, name: str) -> Path | None:
    """Find the label image of the atlas that a file name speaks of.

    Parameters
    ----------
    out_dir : Path
        Output dataset.
    name : str
        Name with ``space-``, ``atlas-``, ``seg-``, ``scale-`` entities.

    Returns
    -------
    Path or None
        ``tpl-<S>/tpl-<S>_atlas-..._dseg.nii.gz``; None where the series came without an atlas image, or lie on
        grayordinates.
    """
    entities = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    wanted = {key: entities[key] for key in ("atlas", "seg", "scale") if key in entities}
    space = entities.get("space")
    if space is None or "atlas" not in wanted:
        return None
    for path in sorted((out_dir / f"tpl-{space}").glob(f"tpl-{space}_atlas-*_dseg.nii.gz")):
        found = dict(part.split("-", 1) for part in path.name.split("_") if "-" in part)
        if {key: found[key] for key in ("atlas", "seg", "scale") if key in found} == wanted:
            return path
    return None


def label_grid(path: Path) -> np.ndarray:
    """Return the labels of an atlas on the display grid, shape (91, 109, 91), int32; 0 outside the regions."""
    labels: np.ndarray = np.nan_to_num(on_display_grid(path)).round().astype(np.int32)
    return labels


def viewer_data(labels: np.ndarray, regions: pd.DataFrame, layers: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Gather what the viewer needs.

    Parameters
    ----------
    labels : ndarray, shape (91, 109, 91)
        What `label_grid` returns.
    regions : DataFrame
        One row per region: ``index``, ``name``, ``network``.
    layers : list of dict
        What can be shown: ``group`` and ``name`` for the two choices, ``kind`` (``magnitude``, ``signed``,
        ``labels``), ``unit``, ``values`` (one per region, None where missing), and for labels ``names`` and ``tones``.

    Returns
    -------
    dict or None
        Ready for JSON; None without a layer or where no region lies on the grid.
    """
    index = regions["index"].to_numpy(dtype=np.int64)
    lookup = np.zeros(max(int(labels.max()), int(index.max(initial=0))) + 1, dtype=np.uint16)
    lookup[index[index < len(lookup)]] = np.arange(1, len(index) + 1)[index < len(lookup)]
    places = lookup[labels]
    if not layers or not places.any():
        return None
    anatomy = np.nan_to_num(background())
    # 63 shades of grey are as good to the eye as 255, and compress to half.
    grey = (np.round(anatomy / anatomy.max() * 63) * 4).astype(np.uint8)
    return {
        "shape": list(SHAPE),
        "origin": [float(value) for value in ORIGIN],
        "step": STEP,
        "anatomy": packed(grey),
        "labels": packed(places),
        "names": [str(name) for name in regions["name"]],
        "networks": [str(name) for name in regions.get("network", pd.Series("", regions.index)).fillna("")],
        "centres": _centres(places, len(index)),
        "layers": layers,
        "colours": {"magnitude": _table(MAGNITUDE), "signed": _table(SIGNED)},
    }


def _centre(voxels: np.ndarray) -> list[int] | None:
    """Return the voxel of a region nearest to its centre of mass; of one that spans the midline, of its left half."""
    if not len(voxels):
        return None
    left = voxels[:, 0] < SHAPE[0] // 2
    if 0.3 < left.mean() < 0.7:
        voxels = voxels[left]
    middle = voxels.mean(axis=0)
    return [int(value) for value in voxels[((voxels - middle) ** 2).sum(axis=1).argmin()]]


def _centres(places: np.ndarray, count: int) -> list[list[int] | None]:
    voxels = np.argwhere(places > 0)
    owner = places[tuple(voxels.T)]
    order = np.argsort(owner, kind="stable")
    voxels, owner = voxels[order], owner[order]
    bounds = np.searchsorted(owner, np.arange(1, count + 2))
    return [_centre(voxels[start:stop]) for start, stop in itertools.pairwise(bounds)]


def _table(name: str) -> str:
    colours = (colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    return base64.b64encode(colours.tobytes()).decode("ascii")
