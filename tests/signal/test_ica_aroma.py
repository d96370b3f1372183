"""Taking noise components out of regional means is taking them out of every voxel, and only their own part goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nilearn.interfaces.fmriprep import load_confounds_strategy
from nilearn.maskers import NiftiLabelsMasker
from nilearn.signal import clean

from bids_neurossm.atlas.parcellation import Parcellation
from bids_neurossm.errors import RunError, UsageError
from bids_neurossm.signal.confounds import load_confounds
from bids_neurossm.signal.denoise import degrees_of_freedom, denoise
from bids_neurossm.signal.ica_aroma import ComponentFiles, Components, read_components, without_noise
from bids_neurossm.signal.parcels import parcel_means
from bids_neurossm.signal.strategy import Strategy, load_strategy

RealTable = Callable[..., Path]
T, C, SKIPPED = 90, 12, 3
NOISE = (1, 4, 5, 9)


def mixing_matrix(seed: int = 0) -> np.ndarray:
    """Smooth time courses that are correlated with each other, as those of MELODIC are in regional means."""
    rng = np.random.default_rng(seed)
    mixing = np.cumsum(rng.normal(size=(T, C)), axis=0) + rng.normal(size=(T, 1)) * 3
    mixing = (mixing - mixing[SKIPPED:].mean(axis=0)) / mixing[SKIPPED:].std(axis=0)
    mixing[:SKIPPED] = 0  # fMRIPrep pads what MELODIC did not see
    return mixing


@pytest.fixture
def files(tmp_path: Path) -> ComponentFiles:
    """As fMRIPrep writes them: tabs without names, and numbers from one on one line."""
    np.savetxt(tmp_path / "sub-01_task-rest_desc-MELODIC_mixing.tsv", mixing_matrix(), delimiter="\t")
    (tmp_path / "sub-01_task-rest_AROMAnoiseICs.csv").write_text(",".join(str(index + 1) for index in NOISE))
    return ComponentFiles(*sorted(tmp_path.iterdir(), reverse=True))


@pytest.fixture
def components(files: ComponentFiles) -> Components:
    return read_components(files, None, T, "x")


def test_the_means_are_those_of_an_image_cleaned_voxel_by_voxel(components: Components, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(C, 6 * 6 * 4)) * 20
    voxels = 1000 + mixing_matrix() @ weights + rng.normal(size=(T, 144)) * 10
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    image = nib.Nifti1Image(voxels.T.reshape(6, 6, 4, T), affine)
    nib.save(image, tmp_path / "bold.nii.gz")
    labels = nib.Nifti1Image(np.arange(144).reshape(6, 6, 4).astype(np.int16) // 24, affine)
    nib.save(labels, tmp_path / "labels.nii.gz")
    # Voxel by voxel, all components in one fit, as fsl_regfilt does it.
    seen = slice(SKIPPED, None)
    design = np.column_stack([np.ones(T - SKIPPED), mixing_matrix()[seen]])
    fitted = np.linalg.lstsq(design, voxels[seen], rcond=None)[0][1:]
    cleaned = voxels.copy()
    cleaned[seen] -= mixing_matrix()[seen][:, NOISE] @ fitted[list(NOISE)]
    masker = NiftiLabelsMasker(labels, standardize=None)
    expected = masker.fit_transform(nib.Nifti1Image(cleaned.T.reshape(6, 6, 4, T), affine))

    atlas = Parcellation(
        {"atlas": "X"},
        "X",
        tmp_path / "labels.nii.gz",
        tmp_path / "x.tsv",
        (1, 2, 3, 4, 5),
        tuple("ABCDE"),
        ("n/a",) * 5,
    )
    (means,) = parcel_means(tmp_path / "bold.nii.gz", [atlas])
    np.testing.assert_allclose(without_noise(means, components), expected, rtol=1e-7)
    assert np.abs(expected - means)[SKIPPED:].max() > 5


def test_what_noise_shares_with_signal_stays(components: Components) -> None:
    mixing = mixing_matrix()
    signal = mixing[:, [0]]
    # A pure signal component is correlated with the noise, and nothing of it is taken.
    assert abs(np.corrcoef(signal[SKIPPED:, 0], mixing[SKIPPED:, NOISE[0]])[0, 1]) > 0.05
    np.testing.assert_allclose(without_noise(signal, components), signal, atol=1e-9)
    noise = 7 + mixing[:, [NOISE[0]]]
    np.testing.assert_allclose(without_noise(noise, components)[SKIPPED:], 7, atol=1e-9)
    np.testing.assert_array_equal(without_noise(noise, components)[:SKIPPED], noise[:SKIPPED])
    nothing = replace(components, noise=np.zeros(C, dtype=bool))
    np.testing.assert_array_equal(without_noise(noise, nothing), noise)


def staged(table: Path) -> ComponentFiles:
    """Components around the noise that the real table holds: signal is random, noise stands at its number."""
    content = pd.read_csv(table, sep="\t")
    named = [name for name in content if name.startswith("aroma_motion_")]
    numbers = [int(name.rpartition("_")[2]) for name in named]
    mixing = np.random.default_rng(3).normal(size=(len(content), max(numbers) + 2))
    mixing[:, [number - 1 for number in numbers]] = content[named]
    path = table.with_name("sub-01_task-rest_desc-MELODIC_mixing.tsv")
    np.savetxt(path, mixing, delimiter="\t")
    return ComponentFiles(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["1.4", "20.0", "20.2"])
def test_the_whole_strategy_on_real_tables(real_table: RealTable, version: str) -> None:
    """Cleaned means, then tissue signals that were cleaned alike, with cosines, as nilearn regresses them."""
    table, n_volumes = real_table(version, repeated=6), 180
    files = staged(table)
    strategy = load_strategy("ica_aroma_nonaggressive")
    confounds = load_confounds(table, strategy, n_volumes, component_files=files)
    assert confounds.components is not None
    n_noise = sum("aroma" in name for name in pd.read_csv(table, sep="\t", nrows=1))
    assert confounds.components.noise.sum() == n_noise > 10
    assert not any("aroma" in name for name in confounds.columns)
    series = 1000 + np.cumsum(np.random.default_rng(0).normal(size=(n_volumes, 5)), axis=0)
    found = denoise(series, np.ones(5, dtype=bool), confounds, strategy, 1.0)

    content = pd.read_csv(table, sep="\t")
    mixing = np.loadtxt(files.mixing)
    noise = [index for index in range(mixing.shape[1]) if f"aroma_motion_{index + 1:02d}" in content]
    signals = np.column_stack([series, content[["csf", "white_matter"]]])
    fitted = np.linalg.lstsq(np.column_stack([np.ones(n_volumes), mixing]), signals, rcond=None)[0][1:]
    signals = signals - mixing[:, noise] @ fitted[noise]
    cosines = content[[name for name in content if name.startswith("cosine")]].to_numpy()
    kept = confounds.kept
    expected = clean(
        signals[kept, :5],
        confounds=np.column_stack([cosines, signals[:, 5:]])[kept],
        detrend=True,
        standardize=None,
        filter=False,
        t_r=1.0,
    )
    np.testing.assert_allclose(found.series, expected, atol=1e-6)
    without = replace(confounds, components=None)
    assert degrees_of_freedom(without, strategy, 1.0) - found.degrees_of_freedom == n_noise
    assert not np.allclose(denoise(series, np.ones(5, dtype=bool), without, strategy, 1.0).series, found.series)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["1.4", "20.0", "20.2", "21.0"])
def test_the_smoothed_image_is_cleaned_by_nilearns_own_preset(real_table: RealTable, version: str) -> None:
    table = real_table(version, repeated=4)
    image = table.with_name("sub-01_task-rest_space-MNI152NLin6Asym_desc-smoothAROMAnonaggr_bold.nii.gz")
    expected, sample_mask = load_confounds_strategy(str(image), "ica_aroma")
    strategy = load_strategy("ica_aroma_full")
    confounds = load_confounds(table, strategy, 120)
    assert strategy.image == "smoothAROMAnonaggr"
    assert sorted(confounds.columns) == sorted(expected.columns)
    np.testing.assert_array_equal(confounds.regressors, expected[list(confounds.columns)].to_numpy())
    np.testing.assert_array_equal(confounds.kept, np.arange(120) if sample_mask is None else sample_mask)


def test_the_list_of_noise_is_taken_where_there_is_no_table_of_it(files: ComponentFiles) -> None:
    found = read_components(files, None, T, "x")
    assert np.flatnonzero(found.noise).tolist() == list(NOISE)
    assert found.names == ("aroma_motion_02", "aroma_motion_05", "aroma_motion_06", "aroma_motion_10")
    files.noise.write_text("\n")  # ICA-AROMA found none
    assert not read_components(files, None, T, "x").noise.any()


def columns_of(mixing: np.ndarray, *indices: int) -> pd.DataFrame:
    return pd.DataFrame({f"aroma_motion_{index + 1:02d}": mixing[:, index] for index in indices})


@pytest.mark.parametrize(
    ("change", "content", "message"),
    [
        (
            lambda files: replace(files, mixing=None),
            None,
            "no .*MELODIC_mixing.tsv .* --denoise mine needs; run fMRIPrep",
        ),
        (lambda files: replace(files, noise=None), pd.DataFrame({"csf": [0.0]}), "nothing says which components"),
        (lambda files: files.noise.write_text("4,99"), None, "has 12 components, and number 99 is called noise"),
        (lambda files: files.noise.write_text("0"), None, "is called noise"),
        (lambda files: files.noise.write_text("four"), None, "is not a list of component numbers"),
        (lambda files: files.mixing.write_text("1\t2\n3\n"), None, "is not a readable table of components"),
        (lambda files: files.mixing.write_text("1\t2\n3\t4\n"), None, "has 2 rows, the image has 90 volumes"),
        (lambda files: np.savetxt(files.mixing, np.full((T, C), np.nan)), None, "holds no time courses"),
        (lambda files: np.savetxt(files.mixing, np.ones((T, T))), None, "holds no time courses"),
        (lambda files: files, columns_of(mixing_matrix(), 1, 4), "are not the noise components of"),
        (lambda files: files, columns_of(mixing_matrix(7), *NOISE), "are not the noise components of"),
    ],
)
def test_components_of_another_run_or_none_are_refused(
    files: ComponentFiles, change: Callable[[ComponentFiles], Any], content: pd.DataFrame | None, message: str
) -> None:
    changed = change(files)
    with pytest.raises(RunError, match=message):
        read_components(changed if isinstance(changed, ComponentFiles) else files, content, T, "mine")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"NonAggressive": "tedana"}, '"NonAggressive" is \'tedana\'; "ica_aroma" is known'),
        ({"Image": "smooth"}, "\"Image\" is 'smooth'; known are"),
        ({"NonAggressive": "ica_aroma", "Image": "smoothAROMAnonaggr"}, "components out twice"),
        ({"NonAggressive": "ica_aroma", "Confounds": ["aroma_motion_*"]}, "components out twice"),
        (
            {"Image": "smoothAROMAnonaggr", "Confounds": {"nilearn": {"strategy": ["ica_aroma"]}}},
            "components out twice",
        ),
    ],
)
def test_noise_is_taken_out_once(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message):
        load_strategy(str(tmp_path / "mine.json"))


def test_a_strategy_of_noise_components_alone(files: ComponentFiles, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({"NonAggressive": "ica_aroma", "Detrend": False}))
    strategy: Strategy = load_strategy(str(tmp_path / "mine.json"))
    table = tmp_path / "confounds.tsv"
    columns_of(mixing_matrix(), *NOISE).to_csv(table, sep="\t", index=False)
    confounds = load_confounds(table, strategy, T, component_files=files)
    series = np.random.default_rng(0).normal(size=(T, 3))
    usable = np.array([True, True, False])
    found = denoise(series, usable, confounds, strategy, 2.0)
    assert confounds.components is not None
    np.testing.assert_allclose(found.series[:, :2], without_noise(series, confounds.components)[:, :2])
    assert np.isnan(found.series[:, 2]).all()
