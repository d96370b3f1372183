"""Drawing one figure and turning it into a self-contained picture that follows the reader's light or dark page."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cycler import cycler
from matplotlib import rc_context
from matplotlib.figure import Figure

# Matplotlib wants fixed colours; these two stand for the page's own ink and are exchanged in the finished SVG.
INK = "#010203"
FAINT = "#010204"

# Okabe and Ito's colours, without black and yellow: told apart by colour-blind readers, legible on white and on black.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#7A5195")

MAGNITUDE = "viridis"
SIGNED = "PuOr_r"

# What may not stand in a data address or in an HTML attribute.
_ENCODED = str.maketrans({character: f"%{ord(character):02X}" for character in "%#<>\"'&{}|\\^`"} | {"\n": " "})

_THEME = """<style>
:root { --ink: #1d2530; --faint: #c9d0d8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ed; --faint: #47515d; } }
@media print { :root { --ink: #1d2530; --faint: #c9d0d8; } }
</style>"""


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Parameters
    ----------
    source : str
        ``data:`` address.
    alt : str
        What the figure shows, for those who can not see it.
    caption : str
        What it means, with n.
    width, height : int
        Natural size in CSS pixels.
    title : str
        Short heading above the figure; may be empty.
    """

    source: str
    alt: str
    caption: str
    width: int
    height: int
    title: str = ""

    @property
    def wide(self) -> bool:
        """Whether the figure is scrolled rather than shrunk on a narrow screen."""
        return self.width > 620


@contextlib.contextmanager
def themed() -> Iterator[None]:
    """Draw with the look of the reports; matplotlib's settings are put back afterwards."""
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "bids-neurossm",
        # Region names may hold a dollar sign: nothing that comes from data is read as mathematics.
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 8,
        "legend.frameon": False,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.7,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=CATEGORIES),
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "figure.facecolor": "none",
        "image.interpolation": "nearest",
    }
    with rc_context(settings):
        yield


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Any:
    """Make a figure of this size in inches that belongs to nobody's global state."""
    return Figure(figsize=(width, height), layout=layout)


def picture(figure: Any, alt: str, caption: str, dpi: int = 144, title: str = "") -> Picture:
    """Turn a drawn figure into a picture.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Drawn inside `themed`.
    alt, caption, title : str
        Plain text; it is escaped where it is put into the page.
    dpi : int
        Resolution of the raster parts.
    """
    buffer = io.BytesIO()
    # Without a date the same data give the same bytes.
    figure.savefig(buffer, format="svg", dpi=dpi, transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue().decode("utf-8")
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    opening = svg.index(">", svg.index("<svg")) + 1
    svg = svg[svg.index("<svg") : opening] + _THEME + svg[opening:]
    # Percent-encoding leaves the base64 of the raster parts as it is; base64 over base64 would add a third.
    encoded = svg.translate(_ENCODED)
    width, height = figure.get_size_inches()
    return Picture(
        f"data:image/svg+xml;charset=utf-8,{encoded}", alt, caption, round(width * 96), round(height * 96), title
    )
