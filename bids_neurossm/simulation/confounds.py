"""Simulated confounds with the columns of fMRIPrep, and the noise that all simulated signals are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd


def autoregressive(
    n_volumes: int, n_series: int, coefficient: float, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Unit-variance AR(1) noise, the simplest process with the smoothness of BOLD."""
    from scipy.signal import lfilter

    burn_in = 50
    noise = rng.normal(0, np.sqrt(1 - coefficient**2), (n_volumes + burn_in, n_series))
    return np.asarray(lfilter([1.0], [1.0, -coefficient], noise, axis=0)[burn_in:])


def simulate_confounds(
    n_volumes: int, repetition_time: float, rng: np.random.Generator, n_dummy: int = 0
) -> pd.DataFrame:
    """Make a table with the columns that fMRIPrep 23 writes.

    Parameters
    ----------
    n_volumes : int
        Rows.
    repetition_time : float
        Seconds, for the cosine regressors of a 128 s high-pass.
    rng : Generator
        Source of randomness.
    n_dummy : int
        Volumes marked as not in a steady state.

    Returns
    -------
    DataFrame
        Derivatives are NaN in the first row, as fMRIPrep writes them.
    """
    import pandas as pd

    columns: dict[str, npt.NDArray[Any]] = {}
    motion = np.cumsum(rng.normal(0, [0.02] * 3 + [0.0003] * 3, (n_volumes, 6)), axis=0)
    nuisance = autoregressive(n_volumes, 3, 0.6, rng) * [6, 8, 4] + [900, 1100, 1000]
    for name, values in zip(("csf", "white_matter", "global_signal"), nuisance.T, strict=True):
        columns |= _expanded(name, values)
    axes = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
    for name, values in zip(axes, motion.T, strict=True):
        columns |= _expanded(name, values)
    steps = np.abs(np.diff(motion, axis=0)) * [1, 1, 1, 50, 50, 50]
    columns["framewise_displacement"] = np.concatenate([[np.nan], steps.sum(axis=1)])
    columns["std_dvars"] = np.concatenate([[np.nan], rng.normal(1, 0.1, n_volumes - 1)])
    for order in range(int(2 * n_volumes * repetition_time / 128)):
        columns[f"cosine{order:02d}"] = np.cos(np.pi * (np.arange(n_volumes) + 0.5) * (order + 1) / n_volumes)
    for index in range(n_dummy):
        columns[f"non_steady_state_outlier{index:02d}"] = np.eye(n_volumes, dtype=int)[index]
    return pd.DataFrame(columns)


def _expanded(name: str, values: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    derivative = np.concatenate([[np.nan], np.diff(values)])
    return {
        name: values,
        f"{name}_derivative1": derivative,
        f"{name}_power2": values**2,
        f"{name}_derivative1_power2": derivative**2,
    }
