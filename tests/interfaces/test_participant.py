"""The steps of a run hand on the hash of what was read, so that no image is read twice."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.config import Extraction, Selection
from bids_neurossm.dataset.bold_run import BoldRun
from bids_neurossm.dataset.query import find_bold_runs
from bids_neurossm.errors import RunError
from bids_neurossm.files import hashing
from bids_neurossm.files.hashing import known_hash
from bids_neurossm.interfaces.inputs import input_hashes
from bids_neurossm.interfaces.participant import DenoiseSeries, ExtractParcels, WriteDerivatives
from bids_neurossm.interfaces.records import read_records
from bids_neurossm.interfaces.resume import input_hash, read_sidecar
from bids_neurossm.signal.strategy import load_strategy
from bids_neurossm.simulation import simulate_derivatives


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fewest participants that can be simulated."""
    folder = tmp_path_factory.mktemp("simulated") / "fmriprep"
    simulate_derivatives(folder, n_participants=3)
    return folder


@pytest.fixture
def run(dataset: Path) -> BoldRun:
    return find_bold_runs(dataset, Selection(participant_label=("01",), task_id=("nback",)))[0]


@pytest.fixture
def parcellation() -> Parcellation:
    return load_parcellation("HarvardOxford", "MNI152NLin6Asym")


def extract(run: BoldRun, parcellation: Parcellation, folder: Path, cache: Path) -> str:
    """Run the first step and give the hash that it hands on."""
    folder.mkdir()
    interface = ExtractParcels(
        run=run, parcellations=[parcellation], unit="run", records=str(folder), hash_cache=str(cache)
    )
    return str(interface.run(cwd=str(folder)).outputs.bold_hash)


def test_extraction_hands_on_the_hash_of_the_image_and_remembers_it(
    run: BoldRun, dataset: Path, parcellation: Parcellation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "hashes"
    expected = hashlib.sha256(run.bold.read_bytes()).hexdigest()
    settings = (parcellation, load_strategy("simple"), Extraction())
    hashes = input_hashes(run, None)
    by_reading = input_hash(run, *settings, hashes)
    assert extract(run, parcellation, tmp_path / "first", cache) == expected
    assert known_hash(run.bold, cache) == expected
    whole = hashing._sha256

    def refused(path: Path) -> str:
        assert path != run.bold, "the image is read once more"
        return whole(path)

    monkeypatch.setattr(hashing, "_sha256", refused)
    assert input_hash(run, *settings, input_hashes(run, cache)) == by_reading
    assert input_hash(run, *settings, {**hashes, run.bold: expected}) == by_reading
    # A second atlas that is added later on finds the hash of the first time.
    monkeypatch.setattr("bids_neurossm.interfaces.participant.FileDigest", None)
    assert extract(run, parcellation, tmp_path / "second", cache) == expected


def test_another_image_under_the_same_name_is_another_input(
    run: BoldRun, dataset: Path, parcellation: Parcellation
) -> None:
    settings = (parcellation, load_strategy("simple"), Extraction())
    hashes = input_hashes(run, None)
    assert input_hash(run, *settings, {**hashes, run.bold: "0" * 64}) != input_hash(run, *settings, hashes)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_mask_that_is_replaced_while_its_run_is_read_fails_the_run_before_anything_is_written(
    run: BoldRun, parcellation: Parcellation, tmp_path: Path, replaced: bool
) -> None:
    own, strategy, extraction = copied(run, tmp_path / "inputs"), load_strategy("none"), Extraction()
    common = {"run": own, "unit": "run", "records": str(tmp_path / "records")}
    for name in ("extract", "denoise", "write"):
        (tmp_path / name).mkdir()
    read = ExtractParcels(parcellations=[parcellation], **common).run(cwd=str(tmp_path / "extract")).outputs
    cleaning = DenoiseSeries(parcels=read.parcels, strategy=strategy, extraction=extraction, **common)
    clean = cleaning.run(cwd=str(tmp_path / "denoise")).outputs.clean
    assert own.mask is not None
    if replaced:
        status = own.mask.stat()
        content = bytearray(own.mask.read_bytes())
        content[4] ^= 1  # the time in the header of a gzip file: size and voxels stay
        own.mask.write_bytes(content)
        os.utime(own.mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    write = WriteDerivatives(
        parcellations=[parcellation],
        clean=clean,
        before=read.before,
        bold_hash=read.bold_hash,
        strategy=strategy,
        extraction=extraction,
        out_dir=str(tmp_path / "out"),
        **common,
    )
    if not replaced:
        (table,) = write.run(cwd=str(tmp_path / "write")).outputs.timeseries
        sidecar = read_sidecar(Path(table))
        assert sidecar["InputHash"] == input_hash(own, parcellation, strategy, extraction, input_hashes(own, None))
        assert sidecar["OutputHashes"][Path(table).name] == hashlib.sha256(Path(table).read_bytes()).hexdigest()
        return
    with pytest.raises(RunError, match=r"brain_mask\.nii\.gz changed while the run was being read"):
        write.run(cwd=str(tmp_path / "write"))
    assert not (tmp_path / "out").exists()
    (record,) = read_records(tmp_path / "records")
    assert record.exit_code == 1


def copied(run: BoldRun, folder: Path) -> BoldRun:
    """Copy the files of a run, so that they can be changed."""
    files = {name: getattr(run, name) for name in ("bold", "mask", "confounds")}
    folder.mkdir()
    return replace(run, dataset=folder, **{name: Path(shutil.copy(path, folder)) for name, path in files.items()})
