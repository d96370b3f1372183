"""The participant level with components that ICA-AROMA left: found, used, told; and missed where they are missing."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.signal.ica_aroma import Components, without_noise
from bids_neurossm.signal.parcels import parcel_means


@pytest.fixture(scope="module")
def dataset(simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One participant; the components are there for one of the two runs, whose header has another repetition time."""
    dataset = tmp_path_factory.mktemp("aroma") / "fmriprep"
    shutil.copytree(simulated / "sub-01", dataset / "sub-01")
    shutil.copy(simulated / "dataset_description.json", dataset)
    func = dataset / "sub-01" / "func"
    table = next(func.glob("*nback*confounds*.tsv"))
    n_volumes = len(pd.read_csv(table, sep="\t"))
    mixing = np.random.default_rng(0).normal(size=(n_volumes, 9))
    mixing[:2] = 0
    np.savetxt(func / "sub-01_task-nback_desc-MELODIC_mixing.tsv", mixing, delimiter="\t")
    (func / "sub-01_task-nback_AROMAnoiseICs.csv").write_text("1,4,9\n")
    image = next(func.glob("*nback*bold.nii.gz"))
    content = bytearray(gzip.decompress(image.read_bytes()))
    content[92:96] = struct.pack("<f", 3.0)  # pixdim[4]
    image.write_bytes(gzip.compress(bytes(content), compresslevel=1))
    return dataset


def test_components_and_matrices_of_a_run(command: Any, dataset: Path, tmp_path: Path) -> None:
    options = ["--atlas", "HarvardOxford", "--connectivity", "partial-correlation", "covariance"]
    done = command(dataset, tmp_path, "participant", *options, "--denoise", "ica_aroma_nonaggressive")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 of 2 runs done" in done.stdout
    (failed,) = [line for line in done.stdout.splitlines() if line.startswith("failed")]
    assert "sub-01_task-flanker" in failed
    assert "no *_desc-MELODIC_mixing.tsv" in failed
    stem = "sub-01_task-nback_space-MNI152NLin6Asym_atlas-HarvardOxford_scale-48_stat"
    func = tmp_path / "sub-01" / "func"
    series = func / f"{stem}-mean_desc-icaaromanonaggressive_timeseries.tsv"
    facts = json.loads(series.with_suffix(".json").read_text())
    assert facts["NoiseComponents"] == ["aroma_motion_01", "aroma_motion_04", "aroma_motion_09"]
    assert facts["RepetitionTime"] == 2.0
    assert "claims a repetition time of 3 s, its sidecar 2 s" in " ".join(facts["Warnings"])
    assert any(name.endswith("desc-MELODIC_mixing.tsv") for name in facts["Sources"])
    assert facts["DegreesOfFreedomLost"] == len(facts["ConfoundColumns"]) + 3 + 2
    for measure in ("pearsoncorrelation", "partialcorrelation", "covariance"):
        matrix = pd.read_csv(func / f"{stem}-{measure}_desc-icaaromanonaggressive_relmat.tsv", sep="\t")
        assert matrix.shape == (48, 48)
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-7)
    with (tmp_path / "quality.tsv").open() as stream:
        (row,) = csv.DictReader(stream, delimiter="\t")
    assert (row["run"], row["strategy"], row["n_warnings"]) == ("sub-01_task-nback", "icaaromanonaggressive", "1")

    # The same series, by hand from the means.
    source = dataset / "sub-01" / "func"
    atlas = load_parcellation("HarvardOxford", "MNI152NLin6Asym")
    (raw,) = parcel_means(next(source.glob("*nback*bold.nii.gz")), [atlas], next(source.glob("*nback*mask.nii.gz")))
    table = pd.read_csv(next(source.glob("*nback*confounds*.tsv")), sep="\t")
    noise = np.isin(np.arange(9), [0, 3, 8])
    components = Components(np.loadtxt(source / "sub-01_task-nback_desc-MELODIC_mixing.tsv"), noise)
    cosines = table[[name for name in table if name.startswith("cosine")]].to_numpy()
    trend = np.column_stack([np.ones(len(raw)), np.arange(len(raw))])
    tissue = without_noise(table[["csf", "white_matter"]].to_numpy(), components)
    design = np.column_stack([trend, cosines, tissue])[2:]
    cleaned = without_noise(raw, components)[2:]
    expected = cleaned - design @ np.linalg.lstsq(design, cleaned, rcond=None)[0]
    found = pd.read_csv(series, sep="\t").to_numpy()
    # Detrending before the regression is not the same as with it, by very little.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
