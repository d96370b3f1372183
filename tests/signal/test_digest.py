"""The hash of an image, taken while its volumes are read."""

from __future__ import annotations

import gzip
import hashlib
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.signal.digest import FileDigest
from bids_neurossm.signal.stream import read_header, volumes


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(params=["bold.nii", "bold.nii.gz"])
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two megabytes, more than is read at a time."""
    path = tmp_path / str(request.param)
    data = np.random.default_rng(0).standard_normal((40, 40, 40, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2, 2, 1])), path)
    return path


def test_it_is_the_hash_of_the_file_as_it_stands_on_disk(image: Path) -> None:
    digest = FileDigest()
    plain = [volume.copy() for volume in volumes(image, read_header(image))]
    hashed = [volume.copy() for volume in volumes(image, read_header(image), digest=digest)]
    np.testing.assert_array_equal(hashed, plain)
    assert digest.value == sha256(image)


def test_members_and_padding_of_a_gzip_file_count(image: Path) -> None:
    path = image.with_name("members.nii.gz")
    content = gzip.decompress(image.read_bytes()) if image.suffix == ".gz" else image.read_bytes()
    half = len(content) // 2
    path.write_bytes(gzip.compress(content[:half], 1) + gzip.compress(content[half:], 9) + b"\0" * 5000)
    digest = FileDigest()
    assert sum(1 for _ in volumes(path, read_header(path), digest=digest)) == 8
    assert digest.value == sha256(path)


def test_what_the_reader_leaves_is_hashed_too(image: Path) -> None:
    digest = FileDigest()
    with digest.reading(image) as stream:
        assert stream.read(100) == image.read_bytes()[:100]
        assert digest.value is None
    assert digest.value == sha256(image)


def test_there_is_no_hash_of_a_file_that_was_not_read_to_its_end(image: Path) -> None:
    digest = FileDigest()
    stream = volumes(image, read_header(image), digest=digest)
    next(stream)
    stream.close()
    assert digest.value is None
    assert not [thread for thread in threading.enumerate() if thread.name in ("digest", "volumes")]


def test_there_is_no_hash_of_a_damaged_file(image: Path) -> None:
    digest, header = FileDigest(), read_header(image)
    image.write_bytes(image.read_bytes()[:-1000])
    with pytest.raises(RunError, match="is damaged"):
        list(volumes(image, header, digest=digest))
    assert digest.value is None
    assert not [thread for thread in threading.enumerate() if thread.name in ("digest", "volumes")]
