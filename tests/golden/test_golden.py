"""Changes of the code's shape leave every number as it was, and results on disk are still read and gone on with."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from golden.__main__ import RECORDED, processor, record
from golden.content import differences
from golden.runs import RUNS, extract_small, small, train_small

from bids_neurossm.files.hashing import hash_file

KEPT = Path(__file__).parent / "out_dir.tar.xz"


@pytest.fixture(scope="module")
def recorded() -> Any:
    """What was recorded."""
    return json.loads(gzip.decompress(RECORDED.read_bytes()))


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", RUNS)
def test_every_number_is_as_it_was_recorded(name: str, recorded: Any, shared_data: Path) -> None:
    found = record(name, shared_data)
    assert differences(recorded["runs"][name], found, recorded["processor"] == processor()) == []


@pytest.fixture(scope="module")
def out_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OUT_DIR with the models of both families, made before the code took its present shape."""
    folder = tmp_path_factory.mktemp("kept")
    with tarfile.open(KEPT) as archive:
        archive.extractall(folder, filter="data")
    small(folder)
    return folder


def _state(folder: Path, *patterns: str) -> dict[str, tuple[str, int]]:
    found = [path for pattern in patterns for path in folder.rglob(pattern)]
    assert found
    return {str(path): (hash_file(path), path.stat().st_mtime_ns) for path in found}


def test_checkpoints_on_disk_are_read(out_dir: Path) -> None:
    from bids_neurossm.estimators.load import load_trained

    found = sorted((out_dir / "out" / "models").rglob("*.safetensors"))
    assert len(found) == 6
    for path in found:
        trained = load_trained(path)
        assert trained.model is not None
        assert trained.static is not None
        assert trained.family == {"first": "neurossm", "second": "lmae-rwmoe"}[path.parent.name]


@pytest.mark.exhaustive
def test_models_on_disk_are_not_trained_again(out_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(out_dir, tmp_path / "copy")
    patterns = ("*.safetensors", "models/*/*.toml", "cells/*.npz")
    before = _state(folder / "out", *patterns)
    train_small(folder)
    assert _state(folder / "out", *patterns) == before


@pytest.mark.exhaustive
def test_series_on_disk_are_not_extracted_again(out_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(out_dir, tmp_path / "copy")
    before = _state(folder / "out", "*_timeseries.tsv", "*_timeseries.json")
    extract_small(folder)
    after = _state(folder / "out", "*_timeseries.tsv", "*_timeseries.json")
    if {name: each[0] for name, each in after.items()} != {name: each[0] for name, each in before.items()}:
        pytest.skip("the simulated images have other bytes here, as another zlib or numpy writes them")
    assert after == before
