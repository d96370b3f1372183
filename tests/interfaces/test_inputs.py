"""Inputs that change while they are read fail their run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.errors import RunError
from bids_neurossm.files.sidecar_hashes import text_hash
from bids_neurossm.interfaces.inputs import hashes_after_reading, input_hashes, states_before_reading


def read_after(run: BoldRun, before: Mapping[str, str]) -> dict[Path, str]:
    return hashes_after_reading(run, (), before, text_hash("bold.nii.gz"))


def test_inputs_that_stayed_the_same_have_the_hashes_that_a_plan_computes(run: BoldRun) -> None:
    before = states_before_reading(run, ())
    assert read_after(run, before) == input_hashes(run, None)
    assert len(before) == 3


def test_an_input_that_was_replaced_while_it_was_read_fails_the_run(run: BoldRun) -> None:
    before = states_before_reading(run, ())
    assert run.mask is not None
    run.mask.write_text("mask.nii.GZ")  # of the same size
    with pytest.raises(RunError, match=r"mask\.nii\.gz changed while the run was being read, so its series were not"):
        read_after(run, before)


def test_an_image_that_was_written_while_it_was_read_fails_the_run(run: BoldRun) -> None:
    before = states_before_reading(run, ())
    run.bold.write_text("bold.nii.gz, and more")
    with pytest.raises(RunError, match=r"bold\.nii\.gz changed while"):
        read_after(run, before)


def test_a_sidecar_that_appeared_or_a_file_that_disappeared_fails_the_run(run: BoldRun) -> None:
    before = states_before_reading(run, ())
    assert run.confounds is not None
    sidecar = run.confounds.with_suffix(".json")
    sidecar.write_text("{}")
    with pytest.raises(RunError, match=r"confounds\.json changed"):
        read_after(run, before)
    sidecar.unlink()
    run.confounds.unlink()
    with pytest.raises(RunError, match=r"confounds\.tsv changed"):
        read_after(run, before)


def test_a_run_without_mask_and_confounds_has_one_input(run: BoldRun) -> None:
    alone = replace(run, mask=None, confounds=None)
    assert list(states_before_reading(alone, ())) == [str(run.bold)]
