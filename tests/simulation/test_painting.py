"""Images are painted as fMRIPrep would write them."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.signal.confounds import load_confounds
from bids_neurossm.signal.strategy import load_strategy
from bids_neurossm.simulation import PlantedTruth

T, TR = 84, 2.0  # of the dataset in conftest.py


def test_images_are_what_fmriprep_would_write(runs: dict[str, BoldRun], truth: PlantedTruth) -> None:
    for name, run in runs.items():
        image, mask = nib.load(run.bold), nib.load(run.mask)
        assert image.shape == (*mask.shape, 40 if name == truth.short_run else T)
        np.testing.assert_array_equal(image.affine, mask.affine)
        assert image.get_data_dtype() == np.int16
        assert image.header.get_zooms() == (4, 4, 4, TR)
        assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (4, 4)


def test_there_is_signal_inside_the_brain_and_none_outside(runs: dict[str, BoldRun]) -> None:
    run = runs["sub-01_task-nback"]
    volumes, mask = np.asanyarray(nib.load(run.bold).dataobj), np.asanyarray(nib.load(run.mask).dataobj) > 0
    assert not volumes[~mask].any()
    assert (volumes[mask] > 0).all()


def test_the_first_two_volumes_are_brighter_and_marked(runs: dict[str, BoldRun], series: dict[str, np.ndarray]) -> None:
    for name, run in runs.items():
        confounds = load_confounds(run.confounds, load_strategy("simple"), len(series[name]))
        assert confounds.n_dummy == 2
        alive = series[name][:, np.nan_to_num(series[name]).any(axis=0)]
        assert alive[:2].mean() > 1.2 * alive[2:].mean()
