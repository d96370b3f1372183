"""Brain maps: maximum projections on a glass brain above axial slices.

Nilearn's plot of one glass brain takes more than a second, and a report of seven classes holds dozens; here a map is
brought once onto a 2 mm display grid from which projections and slices are both cut. The outlines are nilearn's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from nibabel.filebasedimages import ImageFileError
from nilearn.datasets import load_mni152_template
from nilearn.plotting.glass_brain import plot_brain_schematics
from scipy.ndimage import map_coordinates

from bids_neurossm.errors import RunError
from bids_neurossm.reports.canvas import CATEGORIES, FAINT, MAGNITUDE, SIGNED, Picture, new_figure, picture, themed

_ORIGIN = np.array([-90.0, -126.0, -72.0])
_SHAPE = (91, 109, 91)
_STEP = 2.0
SLICES = (-24, -12, 0, 12, 24, 36, 48, 60)

# Heights in inches; places are computed here, as matplotlib's own layout takes seconds for a dozen axes.
_WIDTH = 5.0
_TITLE = 0.19
_GLASS = 1.80
_SLICE = 1.44
_BAR = 0.55
_LEGEND_LINE = 0.2


@dataclass(frozen=True)
class MapStyle:
    """How one kind of map is drawn.

    Parameters
    ----------
    title, unit : str
        Heading; what the colours measure.
    kind : {"magnitude", "signed", "labels"}
        Zero to maximum; symmetric about zero; one colour per label.
    names : dict of int to str
        Names of the labels, for ``labels``.
    tones : dict of str to str
        Colour of each name; a name without one takes the next of the palette.
    """

    title: str
    unit: str
    kind: str = "magnitude"
    names: dict[int, str] = field(default_factory=dict)
    tones: dict[str, str] = field(default_factory=dict)

    def tone(self, label: int) -> str:
        """Return the colour of a label."""
        return self.tones.get(self.names.get(label, ""), CATEGORIES[(label - 1) % len(CATEGORIES)])


def on_display_grid(path: Path, order: int = 0) -> np.ndarray:
    """Sample a map on the display grid.

    Parameters
    ----------
    path : Path
        NIfTI of three dimensions in an MNI space, in any orientation.
    order : int
        0 takes the nearest voxel, 1 interpolates.

    Returns
    -------
    ndarray, shape (91, 109, 91), float64
        First axis left to right, then posterior to anterior, then inferior to superior; NaN outside the map.

    Raises
    ------
    RunError
        If the file can not be read or is not of three dimensions.
    """
    try:
        image: Any = nib.load(path)
        data = np.asarray(image.dataobj, dtype=np.float64)
    except (OSError, ValueError, EOFError, ImageFileError) as error:
        raise RunError(f"{path} is not a readable NIfTI image ({error}); delete it and run again.") from error
    if data.ndim != 3:
        raise RunError(f"{path} has {data.ndim} dimensions, a map of 3 is expected; delete it and run again.")
    return _sampled(data, np.asarray(image.affine), order)


def _sampled(data: np.ndarray, affine: np.ndarray, order: int) -> np.ndarray:
    inverse = np.linalg.inv(affine)
    axes = [_ORIGIN[i] + _STEP * np.arange(_SHAPE[i]) for i in range(3)]
    points = np.stack(np.meshgrid(*axes, indexing="ij")).reshape(3, -1)
    voxels = inverse[:3, :3] @ points + inverse[:3, 3:]
    result = map_coordinates(data, voxels, order=order, mode="constant", cval=np.nan)
    return np.asarray(result).reshape(_SHAPE)


@lru_cache(maxsize=1)
def _template() -> np.ndarray:
    """Return the anatomical background that nilearn ships, 0 to 1, NaN outside the brain."""
    image: Any = load_mni152_template(resolution=1)
    background = _sampled(np.asarray(image.dataobj, dtype=np.float64), np.asarray(image.affine), 1)
    share = np.asarray(background / np.nanmax(background))
    share[~(share > 0.05)] = np.nan
    return share


@lru_cache(maxsize=3)
def _outline(view: str, width: float, height: float, extent: tuple[float, float, float, float]) -> np.ndarray:
    """Draw the glass brain's outline of a view once, as an image that is laid over every map.

    Hundreds of curves are drawn in a second and laid over a map as an image in milliseconds.
    """
    figure = Figure(figsize=(width, height), facecolor="none")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
    axes.set_axis_off()
    plot_brain_schematics(axes, view)
    for patch in axes.patches:
        # A mid grey is seen on a white page and on a black one.
        patch.set(fill=False, edgecolor="#80868e", linewidth=0.7)
    axes.set(xlim=extent[:2], ylim=extent[2:])
    figure.set_dpi(220)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def _scale(values: np.ndarray, style: MapStyle) -> tuple[Any, Any]:
    """Choose colours and their range for the shown values."""
    shown = values[np.isfinite(values) & (values != 0)]
    top = float(np.abs(shown).max()) if shown.size else 1.0
    if style.kind == "signed":
        return SIGNED, Normalize(-top, top)
    if style.kind == "labels":
        count = max([1, *style.names])
        return ListedColormap([style.tone(label + 1) for label in range(count)]), Normalize(0.5, count + 0.5)
    return MAGNITUDE, Normalize(0, top)


def _project(values: np.ndarray, axis: int) -> np.ndarray:
    """Keep the value of largest magnitude along an axis, NaN where there is none."""
    filled = np.where(np.isfinite(values), values, 0.0)
    where = np.abs(filled).argmax(axis=axis)
    taken: np.ndarray = np.take_along_axis(filled, np.expand_dims(where, axis), axis).squeeze(axis)
    return np.where(taken != 0, taken, np.nan)


def _lay(axes: Any, image: np.ndarray, left: float, top: float, width: float, height: float, **look: Any) -> Any:
    """Lay an image at a place in inches; the first axis of a map runs to the right, its second upwards."""
    return axes.imshow(image, origin="lower", extent=(left, left + width, top + height, top), aspect="auto", **look)


def _draw_glass(axes: Any, values: np.ndarray, look: dict[str, Any]) -> None:
    views = (("x", 0, (1, 2), "from the right"), ("y", 1, (0, 2), "from the back"), ("z", 2, (0, 1), "from above"))
    inches = _GLASS / (_STEP * _SHAPE[1])
    left = 0.1
    for view, axis, kept, name in views:
        low = [_ORIGIN[i] - _STEP / 2 for i in kept]
        size = [_STEP * _SHAPE[i] for i in kept]
        extent = (low[0], low[0] + size[0], low[1], low[1] + size[1])
        place = (left, _TITLE + _GLASS - size[1] * inches, size[0] * inches, size[1] * inches)
        _lay(axes, _project(values, axis).T, *place, **look)
        _lay(axes, _outline(view, place[2], place[3], extent)[::-1], *place, interpolation="antialiased")
        axes.text(left + place[2] / 2, 0.14, name, ha="center", fontsize=8)
        left += place[2] + 0.02


def _draw_slices(axes: Any, top: float, values: np.ndarray, look: dict[str, Any]) -> Any:
    """Draw two rows of four slices, each row as one strip; 160 mm are 1.2 inches."""
    drawn = None
    background = _template()
    shown = np.where(values != 0, values, np.nan)
    for row in range(2):
        heights = SLICES[4 * row : 4 * row + 4]
        indices = [round((z - _ORIGIN[2]) / _STEP) for z in heights]
        place = (0.1, top + row * (_SLICE + _TITLE) + _TITLE, 4.8, _SLICE)
        below, above = (
            np.concatenate([volume[5:85, 7:103, index] for index in indices]).T for volume in (background, shown)
        )
        _lay(axes, below, *place, cmap="gray", vmin=0, vmax=1.35)
        drawn = _lay(axes, above, *place, alpha=0.92, **look)
        for column, z in enumerate(heights):
            text = f"z = {z} mm".replace("-", "−")
            axes.text(0.1 + 1.2 * (column + 0.5), place[1] - 0.05, text, ha="center", fontsize=8)
    axes.text(0.1, top + _TITLE + _SLICE, "L", fontsize=8)
    axes.text(1.3, top + _TITLE + _SLICE, "R", fontsize=8, ha="right")
    return drawn


def brain_map(values: np.ndarray, style: MapStyle, caption: str) -> Picture:
    """Draw one map: three glass-brain views (not for label maps) above eight axial slices.

    Parameters
    ----------
    values : ndarray, shape (91, 109, 91)
        What `on_display_grid` returns; NaN and 0 are not drawn.
    style : MapStyle
        What it shows.
    caption : str
        Caption with n.
    """
    cmap, norm = _scale(values, style)
    look = {"cmap": cmap, "norm": norm}
    glass = style.kind != "labels"
    bar = style.kind in ("magnitude", "signed")
    present = set(np.unique(values[np.isfinite(values)]))
    keys = [Patch(color=style.tone(label), label=name) for label, name in style.names.items() if label in present]
    top = _TITLE + _GLASS if glass else 0.0
    below = top + 2 * (_TITLE + _SLICE)
    extra = _BAR if bar else _LEGEND_LINE * (-(-len(keys) // 3)) + 0.15 if keys else 0.0
    with themed():
        figure = new_figure(_WIDTH, below + extra, layout=None)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        if glass:
            _draw_glass(axes, values, look)
        drawn = _draw_slices(axes, top, values, look)
        axes.set(xlim=(0, _WIDTH), ylim=(below + extra, 0))
        if bar:
            place = figure.add_axes((0.2, (extra - 0.18) / (below + extra), 0.6, 0.1 / (below + extra)))
            figure.colorbar(drawn, cax=place, orientation="horizontal", label=style.unit).outline.set_edgecolor(FAINT)
        elif keys:
            figure.legend(handles=keys, loc="lower center", ncols=3, borderaxespad=0.1)
        return picture(figure, f"{style.title}, {_describe(values, style, glass)}.", caption)


def _describe(values: np.ndarray, style: MapStyle, glass: bool) -> str:
    """Say in words what the picture shows, for its alternative text."""
    shown = values[np.isfinite(values) & (values != 0)]
    views = "three glass-brain projections and eight axial slices" if glass else "eight axial slices"
    if not shown.size:
        return f"{views}, no voxel is marked"
    if style.kind == "labels":
        return f"{views}, {shown.size * _STEP**3 / 1000:.0f} cubic centimetres are marked"
    return f"{views}, {style.unit} between {shown.min():.3g} and {shown.max():.3g}"
