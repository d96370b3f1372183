"""The series of a run, packed into the page for the series explorer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bids_neurossm.reports.figures.runs import segment_starts, z_scored
from bids_neurossm.reports.packing import packed

#: Standard deviations at the ends of what one byte holds.
_RANGE = 4.0


def explorer_data(
    series: np.ndarray,
    names: Sequence[str],
    networks: Sequence[str],
    repetition_time: float | None,
    segments: Sequence[Sequence[int]],
) -> dict[str, Any] | None:
    """Gather what the explorer needs: z-scored series, one byte per value, which is finer than a pixel.

    Parameters
    ----------
    series : ndarray, shape (T, R)
        Denoised region means, NaN where a region has no signal.
    names, networks : sequence of str, length R
        Of the regions.
    repetition_time : float or None
        Seconds; without it time is counted in volumes.
    segments : sequence of (start, stop)
        Contiguous pieces of the run.

    Returns
    -------
    dict or None
        Ready for JSON; None where no region has a signal.
    """
    scored = z_scored(series)
    used = np.isfinite(scored).any(axis=0)
    if not used.any():
        return None
    steps = np.clip(np.round(np.nan_to_num(scored) / _RANGE * 127), -127, 127)
    codes = np.where(np.isfinite(scored), steps, -128).astype(np.int8)
    return {
        "series": packed(codes),
        "scale": _RANGE / 127,
        "volumes": len(series),
        "step": repetition_time or 1.0,
        "unit": "s" if repetition_time else "volumes",
        "gaps": segment_starts(segments, len(series)),
        "names": list(names),
        "networks": list(networks),
        "used": [bool(value) for value in used],
    }
