"""Maps on glass brains, slices and the cortex: scales, projections, and what is said of them in words."""

from __future__ import annotations

import numpy as np
import pytest

from bids_neurossm.reports.figures.brain import MapStyle, _project, _scale, brain_map, surface_map
from bids_neurossm.reports.figures.canvas import CATEGORIES
from bids_neurossm.reports.figures.display_grid import SHAPE


@pytest.fixture
def values() -> np.ndarray:
    """One litre of 0.25, and one voxel of -0.5."""
    filled = np.full(SHAPE, np.nan, dtype=np.float32)
    filled[20:70, 30:80, 20:70] = 0.25
    filled[30, 40, 40] = -0.5
    return filled


@pytest.mark.parametrize(
    ("style", "low", "high"),
    [
        (MapStyle("a", "x"), 0, 0.5),
        (MapStyle("a", "x", "signed"), -0.5, 0.5),
        (MapStyle("a", "x", "signed", top=2.0), -2, 2),
        (MapStyle("a", "x", "labels", {1: "raw", 2: "difference"}), 0.5, 2.5),
    ],
)
def test_colours_span_what_is_shown(values: np.ndarray, style: MapStyle, low: float, high: float) -> None:
    _, norm = _scale(values, style)
    assert (norm.vmin, norm.vmax) == (low, high)


def test_a_label_has_the_colour_of_its_name_and_else_one_of_the_palette() -> None:
    style = MapStyle("a", "x", "labels", {1: "raw", 2: "difference"}, {"raw": "#112233"})
    assert (style.tone(1), style.tone(2)) == ("#112233", CATEGORIES[1])


def test_a_projection_keeps_the_largest_magnitude_with_its_sign() -> None:
    column = np.array([[[0.2], [-0.7], [np.nan], [0.5]], [[0.0], [np.nan], [0.0], [0.0]]])
    found = _project(column, 1)
    assert found[0].tolist() == [-0.7]
    assert np.isnan(found[1]).all()


def test_what_a_map_shows_is_said_in_words(values: np.ndarray) -> None:
    style = MapStyle("Map of x", "score", "signed")
    assert brain_map(values, style, "n = 1").alt == (
        "Map of x, three glass-brain projections and eight axial slices, score between -0.5 and 0.25."
    )
    assert surface_map(values, style, "n = 1").alt == (
        "Map of x, four views of the inflated cortex, score between -0.5 and 0.25."
    )
    labels = MapStyle("Top quarter", "", "labels", {1: "CPA"})
    marked = np.where(np.isfinite(values), 1.0, 0.0)
    assert (
        brain_map(marked, labels, "n = 1").alt == "Top quarter, eight axial slices, 1000 cubic centimetres are marked."
    )
    assert brain_map(np.zeros(SHAPE), labels, "n = 1").alt == "Top quarter, eight axial slices, no voxel is marked."
