"""Small sound files of every binary format that is read, for changing them at random."""

from __future__ import annotations

import io
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis
from safetensors.numpy import save
from scipy.io import savemat

SERIES = np.arange(48.0).reshape(12, 4)
RECORDS = [
    {"roiTimeseries": SERIES + number, "pheno": {"subjectId": f"s{number}", "gender": number}} for number in (0, 1)
]


def _written(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def npz() -> list[bytes]:
    """Archives, stored and deflated."""
    return [_written(lambda s, save=save: save(s, a=SERIES, b=SERIES[:6])) for save in (np.savez, np.savez_compressed)]


def npy() -> list[bytes]:
    """An array, a stack, records in a pickle."""
    records = np.array(RECORDS, dtype=object)
    arrays = (SERIES, np.stack([SERIES, SERIES]), records)
    return [_written(lambda s, array=array: np.save(s, array, allow_pickle=True)) for array in arrays]


def pickles() -> list[bytes]:
    """Records, arrays and a data frame in several protocols."""
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]})
    contents = (RECORDS, {"a": SERIES, "b": SERIES}, frame)
    return [pickle.dumps(content, protocol) for content in contents for protocol in (0, 2, 4, 5)]


def torch_files() -> list[bytes]:
    """Files of ``torch.save``, as archives and in the format before 1.6."""
    records = [{**each, "roiTimeseries": torch.tensor(each["roiTimeseries"])} for each in RECORDS]
    return [
        _written(lambda s, new=new: torch.save(records, s, _use_new_zipfile_serialization=new)) for new in (True, False)
    ]


def matlab() -> list[bytes]:
    """Matrices, cells and structures, compressed or not."""
    cells = np.empty(2, dtype=object)
    cells[:] = [SERIES, SERIES]
    contents = ({"x": SERIES}, {"x": cells, "n": "name"}, {"s": {"x": SERIES}, "y": SERIES})
    return [
        _written(lambda s, c=content, d=deflated: savemat(s, c, do_compression=d))
        for content in contents
        for deflated in (False, True)
    ]


def checkpoint() -> tuple[bytes, bytes]:
    """Tensors and settings of a small model."""
    from bids_neurossm.checkpoint_format import CheckpointMetadata
    from bids_neurossm.models import NeuroSSM, NeuroSSMConfig
    from bids_neurossm.training.checkpoint_tensors import save_checkpoint

    config = {"n_regions": 3, "n_outputs": 2, "width": 4, "state": 2, "scales": [1]}
    model = NeuroSSM(NeuroSSMConfig(**{**config, "scales": (1,)}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        save_checkpoint(
            path, model.state_dict(), CheckpointMetadata(config, "dx", "class", ("a", "b"), ("A", "B", "C"), window=20)
        )
        return path.read_bytes(), path.with_suffix(".toml").read_bytes()


def baselines() -> list[tuple[bytes, bytes]]:
    """Tensors and settings of baselines; as 0.1.0 wrote them, without a hash of the settings in the tensors."""
    from bids_neurossm.checkpoint_format import CheckpointMetadata, write_checkpoint

    names = ["a", "b"]
    linear = {"coefficients": np.zeros((1, 3)), "intercepts": np.zeros(1)}
    combat = {f"combat_{name}": np.ones((1, 3)) for name in ("centre", "spread", "shift", "stretch")}
    number = {"median": 1.0, "mean": 1.0, "sd": 1.0, "flag": False}
    fitted = {"penalty": 1.0, "weighted": False}
    codes = {"codes": {"age": number, "sex": {"values": names}}, "wanted": names}
    written: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("majority", {"scores": np.zeros(2)}, {}),
        ("covariates", linear, {**fitted, **codes}),
        ("pearson-connectivity", linear | combat, {**fitted, "sites": ["x"], "harmonise": "combat"}),
        ("tangent-connectivity", {**linear, "whitening": np.eye(2)}, fitted),
        ("multiscale-tangent", {**linear, "whitening": np.eye(2)[None]}, {**fitted, "scales": [1], "sizes": [1.0]}),
    )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        for family, arrays, state in written:
            write_checkpoint(
                path, arrays, CheckpointMetadata(state, "dx", "class", ("a", "b"), ("A", "B"), family=family)
            )
            found.append((save(arrays), path.with_suffix(".toml").read_bytes()))
    return found


def cells() -> list[bytes]:
    """Write the results of a cell with and without maps."""
    from bids_neurossm.analysis.cells import Cell, CellKey

    maps = {"pathways": np.array(["a", "b"]), "scores": np.zeros((4, 2))}
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for attribution in ({}, maps):
            cell = Cell(CellKey("neurossm", 1, 1), "digest", np.arange(4), np.zeros((4, 2)), attribution, 3)
            cell.save(Path(folder) / "cell.npz")
            found.append((Path(folder) / "cell.npz").read_bytes())
    return found


def dense_labels() -> bytes:
    """Write a CIFTI-2 label image."""
    axis = BrainModelAxis.from_surface(np.arange(10), 10, "CortexLeft")
    labels = LabelAxis(["x"], [{0: ("none", (0, 0, 0, 0)), 1: ("A", (1, 0, 0, 1)), 2: ("B", (0, 1, 0, 1))}])
    image = Cifti2Image(np.arange(10)[None] % 3 * 1.0, (labels, axis), nib.Nifti2Header())
    image.update_headers()
    return bytes(image.to_bytes())
