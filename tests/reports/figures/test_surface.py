"""Maps on the cortex."""

from __future__ import annotations

import numpy as np

from bids_neurossm.reports.figures import surface
from bids_neurossm.reports.figures.display_grid import ORIGIN, SHAPE, STEP


def test_left_is_left_and_front_is_front_on_the_cortex() -> None:
    grid = np.stack(np.meshgrid(*(ORIGIN[i] + STEP * np.arange(SHAPE[i]) for i in range(3)), indexing="ij"))
    halves = np.where(grid[0] < 0, 1.0, 2.0).astype(np.float32)
    fronts = np.where(grid[1] > -18, 1.0, 2.0).astype(np.float32)
    for view, (side, seen) in zip(surface.views(), surface.VIEWS, strict=True):
        shown = view.look_up(halves)
        inside = ~np.isnan(view.shade)
        assert inside.sum() > 40_000
        # Between the hemispheres the cortex lies within a voxel of the midline, and the mesh a little across it.
        assert (shown[inside] == (1 if side == "left" else 2)).mean() > 0.9
        columns = np.broadcast_to(np.arange(inside.shape[1]), inside.shape)
        front = columns[inside & (view.look_up(fronts) == 1)].mean()
        back = columns[inside & (view.look_up(fronts) == 2)].mean()
        # The left hemisphere from outside looks to the left, as does the right one from between.
        assert (front < back) == ((side == "left") == (seen == "lateral"))


def test_a_map_without_a_value_leaves_the_cortex_grey() -> None:
    view = surface.views()[0]
    nothing = np.full(view.shade.shape, np.nan, dtype=np.float32)
    image = surface.paint(view, np.ones((*view.shade.shape, 4)), nothing)
    inside = image[..., 3] == 255
    assert (image[inside][:, 0] == image[inside][:, 2]).all()
    assert set(np.unique(image[..., 3])) == {0, 255}
