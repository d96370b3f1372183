"""Simulated confounds, and the noise that signals are made of."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bids_neurossm.simulation import simulate_confounds
from bids_neurossm.simulation.confounds import autoregressive

TR = 2.0


def test_confounds_have_the_columns_of_fmriprep_23() -> None:
    table = simulate_confounds(100, TR, np.random.default_rng(0), n_dummy=2)
    assert len(table) == 100
    for name in ("csf", "white_matter", "global_signal", "trans_x", "rot_z"):
        parts = (name, f"{name}_derivative1", f"{name}_power2", f"{name}_derivative1_power2")
        assert set(parts) <= set(table)
        np.testing.assert_allclose(table[f"{name}_power2"], table[name] ** 2)
        assert np.isnan(table[f"{name}_derivative1"][0])
        np.testing.assert_allclose(table[f"{name}_derivative1"][1:], np.diff(table[name]))
    steady = [name for name in table if name.startswith("non_steady_state_outlier")]
    assert [int(np.flatnonzero(table[name])[0]) for name in steady] == [0, 1]
    assert pd.isna(table["framewise_displacement"][0])
    assert (table["framewise_displacement"][1:] >= 0).all()
    cosines = table[[name for name in table if name.startswith("cosine")]].to_numpy()
    assert cosines.shape[1] == int(2 * 100 * TR / 128)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(cosines.shape[1]) * 50, atol=1e-9)


def test_noise_has_unit_variance_and_the_correlation_from_one_volume_to_the_next_that_was_asked_for() -> None:
    noise = autoregressive(50_000, 2, 0.5, np.random.default_rng(0))
    assert noise.shape == (50_000, 2)
    np.testing.assert_allclose(noise.var(axis=0), 1, atol=0.03)
    lagged = [np.corrcoef(column[1:], column[:-1])[0, 1] for column in noise.T]
    np.testing.assert_allclose(lagged, 0.5, atol=0.02)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.03
