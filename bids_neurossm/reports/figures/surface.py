"""Maps on the inflated cortex, seen from four sides.

The mesh (fsaverage5, as nilearn ships it) is brought onto pixels once per process; after that a map is a look-up of a
few milliseconds, so that a report of seven classes can show all of them. A pixel takes the value that the map has
between the white and the pial surface under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np

from bids_neurossm.reports.figures.display_grid import grid_index, nilearn_file

#: Side and view of each picture, in the order in which they are laid out, two by two.
VIEWS = (("left", "lateral"), ("right", "lateral"), ("left", "medial"), ("right", "medial"))

#: Pixels: 2 per mm of the inflated surface.
_PER_MM = 2.0
HEIGHT, WIDTH = 312, 460

#: Where between white (0) and pial (1) surface a map is looked up, the middle of the cortex first.
_DEPTHS = (0.5, 0.25, 0.75, 0.0, 1.0)


@dataclass(frozen=True)
class View:
    """One hemisphere from one side, on pixels.

    Parameters
    ----------
    places : ndarray of int32, shape (D, H, W)
        Flat index into the display grid at each depth; -1 beside the brain.
    shade : ndarray, shape (H, W)
        Brightness of the bare surface, 0 to 1, NaN beside the brain.
    """

    places: np.ndarray
    shade: np.ndarray

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Return the values of a map under each pixel, NaN where it has none; 0 counts as none."""
        flat = values.ravel()
        found = np.full(self.shade.shape, np.nan, dtype=np.float32)
        for places in self.places:
            missing = np.isnan(found) & (places >= 0)
            taken = flat[places[missing]]
            found[missing] = np.where(taken == 0, np.nan, taken)
        return found


@lru_cache(maxsize=6)
def _mesh(kind: str, side: str) -> tuple[np.ndarray, np.ndarray]:
    image: Any = nib.load(nilearn_file("datasets", "data", "fsaverage5", f"{kind}_{side}.gii.gz"))
    return np.asarray(image.darrays[0].data, dtype=np.float64), np.asarray(image.darrays[1].data, dtype=np.int64)


@lru_cache(maxsize=1)
def views() -> tuple[View, ...]:
    """Return the four views of `VIEWS`."""
    found = []
    for side, seen in VIEWS:
        inflated, faces = _mesh("infl", side)
        pial, _ = _mesh("pial", side)
        white, _ = _mesh("white", side)
        image: Any = nib.load(nilearn_file("datasets", "data", "fsaverage5", f"sulc_{side}.gii.gz"))
        depth = np.asarray(image.darrays[0].data, dtype=np.float64)
        found.append(_view(inflated, faces, pial, white, depth, (side == "left") == (seen == "lateral")))
    return tuple(found)


def _view(
    inflated: np.ndarray, faces: np.ndarray, pial: np.ndarray, white: np.ndarray, sulcus: np.ndarray, from_left: bool
) -> View:
    """Bring one hemisphere onto pixels.

    Parameters
    ----------
    inflated, pial, white : ndarray, shape (V, 3)
        Coordinates of the vertices in mm.
    faces : ndarray, shape (F, 3)
        Vertices of each triangle.
    sulcus : ndarray, shape (V,)
        Depth, positive in sulci.
    from_left : bool
        Whether one looks to the right.
    """
    # Seen from the left, anterior lies to the left and what is further left lies nearer.
    sign = -1.0 if from_left else 1.0
    across, up, near = inflated[:, 1] * sign, inflated[:, 2], inflated[:, 0] * sign
    column = (across - (across.min() + across.max()) / 2) * _PER_MM + WIDTH / 2
    row = HEIGHT / 2 - (up - (up.min() + up.max()) / 2) * _PER_MM
    triangle, weights, pixel = _rasterise(column, row, near, faces)
    corners = faces[triangle]
    places = np.full((len(_DEPTHS), HEIGHT * WIDTH), -1, dtype=np.int32)
    for place, share in enumerate(_DEPTHS):
        vertices = white + share * (pial - white)
        places[place, pixel] = grid_index(np.einsum("nk,nkd->nd", weights, vertices[corners]))
    light = _light(inflated, faces, sign)
    # Sulci are drawn darker, so that the eye finds its way.
    bare = np.where(np.einsum("nk,nk->n", weights, sulcus[corners]) > 0, 0.62, 0.80)
    shade = np.full(HEIGHT * WIDTH, np.nan, dtype=np.float32)
    shade[pixel] = bare * np.einsum("nk,nk->n", weights, light[corners])
    return View(places.reshape(-1, HEIGHT, WIDTH), shade.reshape(HEIGHT, WIDTH))


def _rasterise(
    column: np.ndarray, row: np.ndarray, near: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the foremost triangle at each pixel, with the weights of its corners.

    Returns
    -------
    triangle : ndarray, shape (N,)
        Index into `faces`.
    weights : ndarray, shape (N, 3)
        Barycentric coordinates.
    pixel : ndarray, shape (N,)
        Flat index of the pixel.
    """
    x, y, z = column[faces], row[faces], near[faces]
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    # Rows run downwards, so a triangle that faces the eye has a negative area; the others are never seen.
    usable = np.flatnonzero(area < -1e-9)
    left, top = np.ceil(x.min(axis=1)).astype(int), np.ceil(y.min(axis=1)).astype(int)
    across = np.floor(x.max(axis=1)).astype(int) - left
    down = np.floor(y.max(axis=1)).astype(int) - top
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    for step_down in range(int(down.max()) + 1):
        rows = usable[down[usable] >= step_down]
        for step_across in range(int(across[rows].max(initial=-1)) + 1):
            which = rows[across[rows] >= step_across]
            px, py = left[which] + step_across, top[which] + step_down
            first = (x[which, 1] - px) * (y[which, 2] - py) - (x[which, 2] - px) * (y[which, 1] - py)
            second = (x[which, 2] - px) * (y[which, 0] - py) - (x[which, 0] - px) * (y[which, 2] - py)
            weights = np.stack([first, second], axis=1) / area[which, None]
            weights = np.column_stack([weights, 1 - weights.sum(axis=1)])
            inside = (weights >= 0).all(axis=1) & (px >= 0) & (px < WIDTH) & (py >= 0) & (py < HEIGHT)
            kept, weights = which[inside], weights[inside]
            found.append((kept, weights, (py * WIDTH + px)[inside], (weights * z[kept]).sum(axis=1)))
    triangle, weights, pixel, height = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((height, pixel))
    last = np.append(pixel[order][1:] != pixel[order][:-1], True)
    foremost = order[last]
    return triangle[foremost], weights[foremost], pixel[foremost]


def _light(vertices: np.ndarray, faces: np.ndarray, sign: float) -> np.ndarray:
    """Return how bright each vertex is under a lamp beside the eye, .55 to 1."""
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    lamp = np.array([sign, 0.25 * sign, 0.45])
    facing = np.clip(normals @ (lamp / np.linalg.norm(lamp)), 0, 1)
    return np.asarray(0.55 + 0.45 * facing)


def paint(view: View, colours: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Lay the colours of a map over the shaded surface, borders between values a little darker.

    Parameters
    ----------
    view : View
        Where.
    colours : ndarray, shape (H, W, 4)
        Colour under each pixel, 0 to 1; used where `values` is not NaN.
    values : ndarray, shape (H, W)
        What `View.look_up` gave.

    Returns
    -------
    ndarray of uint8, shape (H, W, 4)
        Transparent beside the brain.
    """
    # Thirty-two shades look smooth and compress to half of what a continuous light does.
    shade = np.round(view.shade * 32) / 32
    bare = np.repeat(np.nan_to_num(shade)[..., None], 3, axis=2)
    shown = ~np.isnan(values)
    level = np.clip(shade / 0.80, 0, 1)
    tint = colours[..., :3] * (0.5 + 0.5 * np.nan_to_num(level))[..., None]
    image = np.where(shown[..., None], tint, bare)
    marked = np.nan_to_num(values, nan=-1e9)
    edge = np.zeros(values.shape, dtype=bool)
    edge[:, 1:] |= marked[:, 1:] != marked[:, :-1]
    edge[1:] |= marked[1:] != marked[:-1]
    image = np.where((edge & shown)[..., None], image * 0.78, image)
    beside = np.isnan(view.shade)
    alpha = np.where(beside, 0.0, 1.0)
    return np.round(np.concatenate([image, alpha[..., None]], axis=2) * 255).astype(np.uint8)
