"""Files of torch.save: tensors come out as arrays, and nothing in the file is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.discovery import find_arrays
from bids_neurossm.roi_arrays.torch_files import LEGACY_MAGIC, load_torch_legacy, load_torch_zip


def _saved(path: Path, content: object, zipped: bool) -> Any:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return load_torch_zip(path) if zipped else load_torch_legacy(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind_come_back(tmp_path, zipped):
    base = torch.arange(24.0, dtype=torch.float64)
    content = {
        **{str(each): torch.arange(6).to(each) for each in (torch.float16, torch.float32, torch.int32, torch.uint8)},
        "truth": torch.tensor([True, False]),
        "number": torch.tensor(3),
        "transposed": torch.arange(6.0).reshape(2, 3).T,
        "a part of a storage": base[4:10].reshape(2, 3),
        "the same storage again": base.reshape(4, 6)[1:3, ::2],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "empty": torch.zeros(0, 3),
    }
    loaded = _saved(tmp_path / "x.save", content, zipped)
    assert loaded.keys() == content.keys()
    for name, tensor in content.items():
        expected = tensor.detach().numpy()
        assert (loaded[name].dtype, loaded[name].shape) == (expected.dtype, expected.shape)
        assert np.array_equal(loaded[name], expected)


def test_an_archive_of_a_big_endian_machine_is_read_right(tmp_path):
    torch.save(torch.arange(3.0), tmp_path / "x.save")
    turned = tmp_path / "y.save"
    with zipfile.ZipFile(tmp_path / "x.save") as archive, zipfile.ZipFile(turned, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            content = b"big" if name.endswith("/byteorder") else content
            content = np.frombuffer(content, "<f4").astype(">f4").tobytes() if name.endswith("/data/0") else content
            other.writestr(name, content)
    assert load_torch_zip(turned).tolist() == [0, 1, 2]


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_that_a_file_says_is_run(tmp_path, zipped):
    path, marker = tmp_path / "x.save", tmp_path / "marker"
    torch.save([_Payload(marker)], path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UsageError, match=rf"asks for {os.system.__module__}\.system") as caught:
        find_arrays(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the attack does run where nothing holds it back


def _archive(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED, numbers: bytes = bytes(8)) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", numbers)
    return path


def _tensor(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, key: str = "0", count: int = 2) -> bytes:
    """Write the pickle of a tensor with sides of one's own choice."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, key, "cpu", count) if isinstance(obj, Storage) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("tensor", "told"),
    [
        (_tensor((10**6, 10**6), (0, 0)), "larger than its storage"),
        (_tensor((2,), (5,)), "larger than its storage"),
        (_tensor((2,), (1,), offset=1), "larger than its storage"),
        (_tensor((2,), (-1,)), "impossible shape"),
        (_tensor((2,), (1, 1)), "impossible shape"),
        (_tensor((2,), (1,), key="../../x"), "a storage outside the file"),
        (_tensor((2,), (1,), count=10**12), "not a readable pickle of arrays"),
        (_tensor((2,), (1,), key="7"), "not a readable pickle of arrays"),
    ],
)
def test_a_tensor_stays_within_its_storage(tmp_path, tensor, told):
    assert load_torch_zip(_archive(tmp_path / "sound.save", _tensor((2,), (1,)))).tolist() == [0, 0]
    with pytest.raises(UsageError, match=told):
        load_torch_zip(_archive(tmp_path / "x.save", tensor))


def test_an_archive_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    path = _archive(tmp_path / "x.save", _tensor((2,), (1,)), zipfile.ZIP_DEFLATED, bytes(10**7))
    with pytest.raises(UsageError, match="compressed members"):
        load_torch_zip(path)


def test_a_file_that_claims_more_numbers_than_it_has_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    head = pickle.dumps(LEGACY_MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    path.write_bytes(head + _tensor((2,), (1,), count=10**10))
    with pytest.raises(UsageError, match="storages that are larger than the file"):
        load_torch_legacy(path)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.complex64])
def test_numbers_of_an_unknown_kind_are_refused_by_name(tmp_path, kind):
    with pytest.raises(UsageError, match=r"asks for torch\.(BFloat16|ComplexFloat)Storage"):
        _saved(tmp_path / "x.save", torch.ones(2, dtype=kind), True)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_short_is_one_clear_refusal(tmp_path, zipped):
    whole = tmp_path / "whole.save"
    records = [{"roiTimeseries": torch.ones(9, 4), "pheno": {"subjectId": 1}}]
    torch.save(records, whole, _use_new_zipfile_serialization=zipped)
    content, rng = whole.read_bytes(), random.Random(0)
    for _ in range(60):
        path = tmp_path / "x.save"
        path.write_bytes(content[: rng.randrange(1, len(content))])
        with pytest.raises(UsageError) as caught:
            find_arrays(path)
        assert str(path) in str(caught.value)
