"""Brain maps: the inflated cortex from four sides; maximum projections on a glass brain above axial slices.

Nilearn's plot of one glass brain takes more than a second, and a report of seven classes holds dozens; here a map is
brought once onto a 2 mm display grid from which projections, slices and surfaces are cut. The outlines are nilearn's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path as Curve
from matplotlib.transforms import Affine2D

from bids_neurossm.reports.figures import surface
from bids_neurossm.reports.figures.canvas import (
    CATEGORIES,
    FAINT,
    MAGNITUDE,
    SIGNED,
    Picture,
    new_figure,
    picture,
    themed,
)
from bids_neurossm.reports.figures.display_grid import ORIGIN, SHAPE, STEP, background, nilearn_file

SLICES = (-24, -12, 0, 12, 24, 36, 48, 60)

# Heights in inches; places are computed here, as matplotlib's own layout takes seconds for a dozen axes.
_WIDTH = 5.0
_TITLE = 0.2
_GLASS = 1.80
_SLICE = 1.44
_BAR = 0.6
_LEGEND_LINE = 0.2
_HEMISPHERE = 2.42

#: Nilearn's drawings: file, and the scale and shift that bring it to mm (`nilearn.plotting.glass_brain`).
_DRAWINGS = {
    "x": ("brain_schematics_side.json", (0.38, 0.38, -108, -70)),
    "y": ("brain_schematics_back.json", (0.39, 0.39, -73, -73)),
    "z": ("brain_schematics_top.json", (0.36, 0.37, -71, -107)),
}


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
    top : float or None
        End of the colour scale; by default the largest value shown.
    """

    title: str
    unit: str
    kind: str = "magnitude"
    names: dict[int, str] = field(default_factory=dict)
    tones: dict[str, str] = field(default_factory=dict)
    top: float | None = None

    def tone(self, label: int) -> str:
        """Return the colour of a label."""
        return self.tones.get(self.names.get(label, ""), CATEGORIES[(label - 1) % len(CATEGORIES)])


@lru_cache(maxsize=3)
def _outline(view: str, width: float, height: float, extent: tuple[float, float, float, float]) -> np.ndarray:
    """Draw the glass brain's outline of a view once, as an image that is laid over every map.

    Hundreds of curves are drawn in a second and laid over a map as an image in milliseconds.
    """
    name, (scale_x, scale_y, shift_x, shift_y) = _DRAWINGS[view]
    content = json.loads(nilearn_file("plotting", "glass_brain_files", name).read_text(encoding="utf-8"))
    to_mm = Affine2D.from_values(scale_x, 0, 0, scale_y, shift_x, shift_y)
    bends = {2: Curve.LINETO, 3: Curve.CURVE3, 4: Curve.CURVE4}
    curves = [
        Curve(to_mm.transform(item["pts"]), [Curve.MOVETO, *[bends[len(item["pts"])]] * (len(item["pts"]) - 1)])
        for path in content["paths"]
        for item in path["items"]
    ]
    figure = Figure(figsize=(width, height), facecolor="none")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), facecolor="none")
    axes.set_axis_off()
    # A mid grey is seen on a white page and on a black one.
    axes.add_collection(PathCollection(curves, facecolors="none", edgecolors="#80868e", linewidths=0.7))
    axes.set(xlim=extent[:2], ylim=extent[2:])
    figure.set_dpi(220)
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def _scale(values: np.ndarray, style: MapStyle) -> tuple[Any, Any]:
    """Choose colours and their range for the shown values."""
    shown = values[np.isfinite(values) & (values != 0)]
    top = style.top or (float(np.abs(shown).max()) if shown.size else 1.0)
    if style.kind == "signed":
        return colormaps[SIGNED], Normalize(-top, top)
    if style.kind == "labels":
        count = max([1, *style.names])
        return ListedColormap([style.tone(label + 1) for label in range(count)]), Normalize(0.5, count + 0.5)
    return colormaps[MAGNITUDE], Normalize(0, top)


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
    inches = _GLASS / (STEP * SHAPE[1])
    left = 0.1
    for view, axis, kept, name in views:
        low = [ORIGIN[i] - STEP / 2 for i in kept]
        size = [STEP * SHAPE[i] for i in kept]
        extent = (low[0], low[0] + size[0], low[1], low[1] + size[1])
        place = (left, _TITLE + _GLASS - size[1] * inches, size[0] * inches, size[1] * inches)
        _lay(axes, _project(values, axis).T, *place, **look)
        _lay(axes, _outline(view, place[2], place[3], extent)[::-1], *place, interpolation="antialiased")
        axes.text(left + place[2] / 2, 0.14, name, ha="center", fontsize=8)
        left += place[2] + 0.02


def _draw_slices(axes: Any, top: float, values: np.ndarray, look: dict[str, Any]) -> Any:
    """Draw two rows of four slices, each row as one strip; 160 mm are 1.2 inches."""
    drawn = None
    below_all = background()
    shown = np.where(values != 0, values, np.nan)
    for row in range(2):
        heights = SLICES[4 * row : 4 * row + 4]
        indices = [round((z - ORIGIN[2]) / STEP) for z in heights]
        place = (0.1, top + row * (_SLICE + _TITLE) + _TITLE, 4.8, _SLICE)
        below, above = (
            np.concatenate([volume[5:85, 7:103, index] for index in indices]).T for volume in (below_all, shown)
        )
        _lay(axes, below, *place, cmap="gray", vmin=0, vmax=1.35)
        drawn = _lay(axes, above, *place, alpha=0.92, **look)
        for column, z in enumerate(heights):
            text = f"z = {z} mm".replace("-", "−")
            axes.text(0.1 + 1.2 * (column + 0.5), place[1] - 0.05, text, ha="center", fontsize=8)
    axes.text(0.1, top + _TITLE + _SLICE, "L", fontsize=8)
    axes.text(1.3, top + _TITLE + _SLICE, "R", fontsize=8, ha="right")
    return drawn


def _draw_surface(axes: Any, values: np.ndarray, cmap: Any, norm: Any) -> None:
    """Lay out the four views two by two, the left hemisphere on the left."""
    height = _HEMISPHERE * surface.HEIGHT / surface.WIDTH
    for place, (view, (side, seen)) in enumerate(zip(surface.views(), surface.VIEWS, strict=True)):
        row, column = divmod(place, 2)
        under = view.look_up(values)
        image = surface.paint(view, cmap(norm(under)), under)
        left, top = 0.05 + column * (_HEMISPHERE + 0.06), _TITLE + row * (height + 0.04)
        extent = (left, left + _HEMISPHERE, top + height, top)
        axes.imshow(image, extent=extent, aspect="auto", interpolation="antialiased")
        if row == 0:
            axes.text(left + _HEMISPHERE / 2, 0.15, f"{side} hemisphere", ha="center", fontsize=11)
        axes.text(left + 0.02, top + height - 0.03, seen, fontsize=10)


def _finish(figure: Any, drawn: Any, style: MapStyle, keys: list[Patch], extra: float, height: float) -> None:
    """Add the colour bar or the legend at the foot of a figure."""
    if style.kind != "labels":
        place = figure.add_axes((0.2, (extra - 0.18) / height, 0.6, 0.1 / height))
        bar = figure.colorbar(drawn, cax=place, orientation="horizontal")
        bar.set_label(style.unit, fontsize=10)
        bar.ax.tick_params(labelsize=9)
        bar.outline.set_edgecolor(FAINT)
        bar.locator = _few_ticks()
        bar.update_ticks()
    elif keys:
        figure.legend(handles=keys, loc="lower center", ncols=3, borderaxespad=0.1, fontsize=9)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _keys(values: np.ndarray, style: MapStyle) -> tuple[list[Patch], float]:
    """Return the legend of what is present, and the height that bar or legend need."""
    if style.kind != "labels":
        return [], _BAR
    present = set(np.unique(values[np.isfinite(values)]))
    keys = [Patch(color=style.tone(label), label=name) for label, name in style.names.items() if label in present]
    return keys, _LEGEND_LINE * (-(-len(keys) // 3)) + 0.15 if keys else 0.0


def surface_map(values: np.ndarray, style: MapStyle, caption: str) -> Picture:
    """Draw one map on the inflated cortex: both hemispheres, from outside and from between them.

    Parameters
    ----------
    values : ndarray, shape (91, 109, 91)
        What `on_display_grid` returns; NaN and 0 are not drawn.
    style : MapStyle
        What it shows.
    caption : str
        Caption with n.
    """
    from matplotlib.cm import ScalarMappable

    cmap, norm = _scale(values, style)

    def draw(axes: Any) -> Any:
        _draw_surface(axes, values, cmap, norm)
        return ScalarMappable(norm, cmap)

    height = _TITLE + 2 * (_HEMISPHERE * surface.HEIGHT / surface.WIDTH + 0.04)
    return _page(values, style, caption, height, draw, "four views of the inflated cortex")


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
    top = _TITLE + _GLASS if glass else 0.0

    def draw(axes: Any) -> Any:
        if glass:
            _draw_glass(axes, values, look)
        return _draw_slices(axes, top, values, look)

    seen = "three glass-brain projections and eight axial slices" if glass else "eight axial slices"
    return _page(values, style, caption, top + 2 * (_TITLE + _SLICE), draw, seen)


def _page(
    values: np.ndarray, style: MapStyle, caption: str, height: float, draw: Callable[[Any], Any], views: str
) -> Picture:
    """Make a figure of a map: what `draw` puts into `height` inches, above its colour bar or legend."""
    keys, extra = _keys(values, style)
    with themed():
        figure = new_figure(_WIDTH, height + extra, layout=None)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        coloured = draw(axes)
        axes.set(xlim=(0, _WIDTH), ylim=(height + extra, 0))
        _finish(figure, coloured, style, keys, extra, height + extra)
        return picture(figure, f"{style.title}, {_describe(values, style, views)}.", caption, title=style.title)


def _describe(values: np.ndarray, style: MapStyle, views: str) -> str:
    """Say in words what the picture shows, for its alternative text."""
    shown = values[np.isfinite(values) & (values != 0)]
    if not shown.size:
        return f"{views}, no voxel is marked"
    if style.kind == "labels":
        return f"{views}, {shown.size * STEP**3 / 1000:.0f} cubic centimetres are marked"
    return f"{views}, {style.unit} between {shown.min():.3g} and {shown.max():.3g}"
