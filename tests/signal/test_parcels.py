"""Mean series of regions, in one pass over an image."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.small_runs import SPACE as SMALL_SPACE
from helpers.small_runs import add_run, write_atlas
from helpers.small_runs import save as save_image

from bids_neurossm.atlas import Parcellation, load_parcellation
from bids_neurossm.errors import RunError
from bids_neurossm.signal.parcels import ParcelSeries, parcel_means, parcel_series

SHAPE, N_VOLUMES = (12, 10, 8), 11
AFFINE = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])


def write_image(
    path: Path,
    values: np.ndarray,
    affine: np.ndarray = AFFINE,
    slope: float = 1.0,
    intercept: float = 0.0,
) -> Path:
    """Write stored values as they are; nibabel would choose scale factors and byte order itself."""
    header = nib.Nifti1Header(endianness=">" if values.dtype.byteorder == ">" else "<")
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    header.set_sform(affine, 4)
    header.set_qform(affine, 4)
    header.set_slope_inter(slope, intercept)
    header["magic"], header["vox_offset"] = b"n+1", 352
    content = header.binaryblock + b"\0" * 4 + values.tobytes(order="F")
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def blocks(shape: tuple[int, int, int] = SHAPE, edge: int = 3) -> np.ndarray:
    """Labels in blocks with gaps between the numbers, 0 at one face of the grid."""
    x, y, z = np.meshgrid(*(np.arange(size) // edge for size in shape), indexing="ij")
    labels = 1 + 2 * (x + 4 * y + 16 * z)
    labels[0] = 0
    return labels.astype(np.int16)


def parcellation_of(
    path: Path, labels: np.ndarray, affine: np.ndarray = AFFINE, extra: tuple[int, ...] = ()
) -> Parcellation:
    nib.save(nib.Nifti1Image(labels, affine), path)
    known = tuple(sorted({*np.unique(labels[labels > 0]).tolist(), *extra}))
    names = tuple(f"region{label}" for label in known)
    return Parcellation({"atlas": "Blocks"}, "MNI152NLin6Asym", path, path, known, names, ("n/a",) * len(known))


@pytest.fixture
def parcellation(tmp_path: Path) -> Parcellation:
    return parcellation_of(tmp_path / "atlas.nii.gz", blocks())


def means_of(data: np.ndarray, labels: np.ndarray, covered: np.ndarray, known: tuple[int, ...]) -> np.ndarray:
    """Say what is expected in the plainest way, in double precision."""
    columns = []
    for label in known:
        inside = (labels == label) & covered
        columns.append(data[inside].mean(axis=0) if inside.any() else np.full(data.shape[-1], np.nan))
    return np.stack(columns, axis=1)


def noise(dtype: str = "<f4", scale: float = 20.0) -> np.ndarray:
    values = np.random.default_rng(0).normal(1000, scale, (*SHAPE, N_VOLUMES))
    return values.clip(1, 250 if np.dtype(dtype).itemsize == 1 else None).astype(dtype)


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.125, -40.0), (-2.0, 3.5)])
@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i2", "<i4", ">u2", "<f4", ">f4", "<f8", ">f8"])
def test_means_are_those_of_double_precision(
    tmp_path: Path, parcellation: Parcellation, dtype: str, slope: float, intercept: float, extension: str
) -> None:
    stored = noise(dtype)
    bold = write_image(tmp_path / f"bold{extension}", stored, slope=slope, intercept=intercept)
    (found,) = parcel_means(bold, [parcellation])
    real = stored.astype(np.float64) * slope + intercept
    expected = means_of(real, blocks(), np.ones(SHAPE, dtype=bool), parcellation.labels)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_several_parcellations_in_one_pass_equal_each_alone(tmp_path: Path, parcellation: Parcellation) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", noise())
    coarse = parcellation_of(tmp_path / "coarse.nii", blocks(edge=5))
    # The third cuts across the regions of both others, so that there are many small cells.
    third = parcellation_of(tmp_path / "third.nii", (np.arange(np.prod(SHAPE)) % 7).reshape(SHAPE).astype(np.uint8))
    together = parcel_series(bold, [parcellation, coarse, third], None)
    for each, found in zip((parcellation, coarse, third), together, strict=True):
        (alone,) = parcel_series(bold, [each], None)
        np.testing.assert_allclose(found.series, alone.series, rtol=1e-12)
        np.testing.assert_array_equal(found.n_voxels, alone.n_voxels)
        np.testing.assert_array_equal(found.n_covered, alone.n_covered)
    assert parcel_series(bold, [], None) == []


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf, -np.inf])
def test_voxels_without_signal_are_left_out(tmp_path: Path, parcellation: Parcellation, nothing: float) -> None:
    values = noise()
    outside = np.random.default_rng(1).random(SHAPE) < 0.3
    values[outside] = nothing
    labels = blocks()
    values[labels == 7] = nothing
    (found,) = parcel_series(write_image(tmp_path / "bold.nii.gz", values), [parcellation], None)
    covered = ~outside & (labels != 7)
    np.testing.assert_allclose(
        found.series, means_of(values.astype(np.float64), labels, covered, parcellation.labels), rtol=1e-9
    )
    dead = parcellation.labels.index(7)
    assert np.isnan(found.series[:, dead]).all()
    assert found.n_covered[dead] == 0
    assert found.n_voxels[dead] > 0
    np.testing.assert_array_equal(
        found.n_covered, [(covered & (labels == label)).sum() for label in parcellation.labels]
    )


def test_both_infinities_throughout_raise_no_warning(tmp_path: Path, parcellation: Parcellation) -> None:
    values = noise()
    values[4, 4, 4], values[4, 4, 5] = np.inf, -np.inf
    with np.errstate(all="raise"):
        (found,) = parcel_series(write_image(tmp_path / "bold.nii", values), [parcellation], None)
    assert (found.n_voxels - found.n_covered).sum() == 2
    assert np.isfinite(found.series).all()


def test_a_voxel_that_is_zero_at_times_has_signal(tmp_path: Path, parcellation: Parcellation) -> None:
    values = noise()
    values[5, 5, 5, :-1] = 0
    (found,) = parcel_series(write_image(tmp_path / "bold.nii.gz", values), [parcellation], None)
    np.testing.assert_array_equal(found.n_covered, found.n_voxels)
    expected = means_of(values.astype(np.float64), blocks(), np.ones(SHAPE, dtype=bool), parcellation.labels)
    np.testing.assert_allclose(found.series, expected, rtol=1e-9)


@pytest.mark.parametrize("rest", [1000.0, 0.0])
def test_a_voxel_that_is_not_finite_at_times_is_damage(tmp_path: Path, parcellation: Parcellation, rest: float) -> None:
    values = noise()
    values[5, 5, 5] = rest
    values[5, 5, 5, 3] = np.nan
    bold = write_image(tmp_path / "bold.nii.gz", values)
    with pytest.raises(RunError, match=r"1 voxels .*first in volume 4") as caught:
        parcel_series(bold, [parcellation], None)
    assert str(bold) in str(caught.value)


def test_what_is_not_finite_outside_the_atlas_does_not_matter(tmp_path: Path, parcellation: Parcellation) -> None:
    values = noise()
    values[0, :, :, 2] = np.nan
    (found,) = parcel_series(write_image(tmp_path / "bold.nii.gz", values), [parcellation], None)
    assert np.isfinite(found.series).all()


def test_the_zero_of_scaled_whole_numbers_is_no_signal(tmp_path: Path, parcellation: Parcellation) -> None:
    """In single precision, -32768 x slope + intercept misses zero by some 1e-5."""
    slope = float(np.float32(0.0123))
    intercept = float(np.float32(32768 * 0.0123))
    stored = np.random.default_rng(0).integers(-3000, 3000, (*SHAPE, N_VOLUMES)).astype("<i2")
    outside = np.random.default_rng(1).random(SHAPE) < 0.3
    stored[outside] = -32768
    bold = write_image(tmp_path / "bold.nii.gz", stored, slope=slope, intercept=intercept)
    (found,) = parcel_series(bold, [parcellation], None)
    real = stored * slope + intercept
    np.testing.assert_allclose(found.series, means_of(real, blocks(), ~outside, parcellation.labels), rtol=1e-9)


def test_values_too_large_to_be_summed_are_damage(tmp_path: Path, parcellation: Parcellation) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", np.full((*SHAPE, 3), 1e308))
    with pytest.raises(RunError, match="too large"):
        parcel_series(bold, [parcellation], None)


@pytest.mark.parametrize("trailing", [(), (1,)])
def test_the_brain_mask_decides_what_is_covered(
    tmp_path: Path, parcellation: Parcellation, trailing: tuple[int, ...]
) -> None:
    values, mask = noise(), np.random.default_rng(2).random(SHAPE) < 0.6
    mask[blocks() == 9] = False
    bold = write_image(tmp_path / "bold.nii.gz", values)
    mask_file = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(mask.astype(np.uint8).reshape(*SHAPE, *trailing), AFFINE), mask_file)
    (found,) = parcel_series(bold, [parcellation], mask_file)
    expected = means_of(values.astype(np.float64), blocks(), mask, parcellation.labels)
    np.testing.assert_allclose(found.series, expected, rtol=1e-9)
    assert np.isnan(found.series[:, parcellation.labels.index(9)]).all()
    assert found.coverage.max() <= 1
    np.testing.assert_allclose(found.coverage, found.n_covered / found.n_voxels)


@pytest.mark.parametrize("wrong", ["shape", "affine", "empty", "truncated", "text", "missing", "colour"])
def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path, parcellation: Parcellation, wrong: str) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", noise())
    mask_file = tmp_path / "mask.nii.gz"
    shape = (12, 10, 9) if wrong == "shape" else SHAPE
    mask: np.ndarray[Any, Any] = np.full(shape, wrong != "empty", dtype=np.uint8)
    if wrong == "colour":
        mask = np.zeros(shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    affine = AFFINE + (np.eye(4, k=3) * 2 if wrong == "affine" else 0)
    nib.save(nib.Nifti1Image(mask, affine), mask_file)
    if wrong == "truncated":
        mask_file.write_bytes(mask_file.read_bytes()[:60])
    if wrong == "text":
        mask_file.write_text("no image")
    if wrong == "missing":
        mask_file.unlink()
    with pytest.raises(RunError) as caught:
        parcel_series(bold, [parcellation], mask_file)
    assert str(mask_file) in str(caught.value)


def test_a_region_that_is_not_in_the_image_is_nan(tmp_path: Path) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", noise())
    parcellation = parcellation_of(tmp_path / "atlas.nii.gz", blocks(), extra=(500, 900))
    (found,) = parcel_series(bold, [parcellation], None)
    assert np.isnan(found.series[:, -2:]).all()
    np.testing.assert_array_equal(found.n_voxels[-2:], 0)
    np.testing.assert_array_equal(found.coverage[-2:], 0)


def test_an_atlas_that_misses_the_image_gives_nan_only(tmp_path: Path) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", noise())
    far = AFFINE + np.eye(4, k=3) * 5000
    (found,) = parcel_series(bold, [parcellation_of(tmp_path / "atlas.nii.gz", blocks(), far)], None)
    assert np.isnan(found.series).all()


def test_memory_does_not_grow_with_the_number_of_volumes(tmp_path: Path) -> None:
    labels = np.ones((40, 40, 40), dtype=np.int16)
    parcellation = parcellation_of(tmp_path / "atlas.nii", labels)
    peaks = {}
    for n_volumes in (10, 100):
        bold = write_image(tmp_path / "bold.nii", np.ones((40, 40, 40, n_volumes), dtype=np.int16))
        parcel_series(bold, [parcellation], None)
        tracemalloc.start()
        parcel_series(bold, [parcellation], None)
        peaks[n_volumes] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[100] - peaks[10] < labels.nbytes  # ninety more volumes would be ninety times that


def test_only_an_atlas_on_another_grid_needs_nilearn(tmp_path: Path, parcellation: Parcellation) -> None:
    bold = write_image(tmp_path / "bold.nii.gz", noise())
    program = (
        "import sys; from bids_neurossm.atlas import load_parcellation;"
        "from bids_neurossm.signal.parcels import parcel_means;"
        f"atlas = load_parcellation({str(parcellation.image_file)!r}, atlas_space='MNI152NLin6Asym');"
        f"parcel_means({str(bold)!r}, [atlas]);"
        "print(*sorted({'nilearn', 'sklearn', 'torch', 'matplotlib', 'numba'} & set(sys.modules)))"
    )
    rows = [
        "index\tname",
        *(f"{label}\t{name}" for label, name in zip(parcellation.labels, parcellation.names, strict=True)),
    ]
    (tmp_path / "atlas.tsv").write_text("\n".join(rows))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# Against nilearn, with real atlases.


def masker_means(labels: Path, bold: Path, mask: Path | None = None) -> tuple[np.ndarray, list[int]]:
    from nilearn.maskers import NiftiLabelsMasker

    masker = NiftiLabelsMasker(labels, mask_img=mask, resampling_target="data", keep_masked_labels=False)
    means = masker.fit_transform(bold)
    return np.asarray(means), [int(label) for label in masker.labels_[1:]]


def assert_like_nilearn(found: np.ndarray, parcellation: Parcellation, means: np.ndarray, labels: list[int]) -> None:
    columns = [parcellation.labels.index(label) for label in labels]
    np.testing.assert_allclose(found[:, columns], means, rtol=1e-5)
    others = np.setdiff1d(np.arange(parcellation.n_regions), columns)
    assert np.isnan(found[:, others]).all()


def brain_image(path: Path, shape: tuple[int, int, int], affine: np.ndarray, n_volumes: int = 3) -> Path:
    values = np.random.default_rng(0).normal(1000, 50, (*shape, n_volumes)).astype("<f4")
    return write_image(path, values, affine)


def test_schaefer400_on_its_own_grid_equals_nilearn(
    tmp_path: Path, templateflow_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    parcellation = load_parcellation("Schaefer400", "MNI152NLin2009cAsym")
    labels, affine, _ = parcellation.image()
    bold = brain_image(tmp_path / "bold.nii", labels.shape, affine)
    (found,) = parcel_means(bold, [parcellation])
    assert_like_nilearn(found, parcellation, *masker_means(parcellation.image_file, bold))


def test_an_atlas_stored_right_to_left_is_laid_over_a_grid_stored_left_to_right(
    tmp_path: Path, shared_data: Path
) -> None:
    file = shared_data / "atlases" / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
    parcellation = load_parcellation(file)
    labels, affine, _ = parcellation.image()
    assert nib.aff2axcodes(affine) == ("L", "A", "S")
    ras = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    bold = brain_image(tmp_path / "bold.nii", labels.shape, ras)
    (found,) = parcel_means(bold, [parcellation])
    assert_like_nilearn(found, parcellation, *masker_means(file, bold))
    # The same in other words: mirrored labels over the stored voxels.
    data = np.asarray(nib.load(bold).dataobj, dtype=np.float64)
    expected = means_of(data, labels[::-1], np.ones(labels.shape, dtype=bool), parcellation.labels)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("atlas", ["Schaefer400", "AAL3"])
def test_a_two_millimetre_atlas_on_a_four_millimetre_grid_equals_nilearn(
    tmp_path: Path, shared_data: Path, atlas: str
) -> None:
    folder = shared_data / "atlases"
    file = folder / "Schaefer2018_400Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
    parcellation = (
        load_parcellation(file) if atlas == "Schaefer400" else load_parcellation(atlas, atlas_dir=folder / "aal3")
    )
    shape, affine = (46, 55, 46), np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [-90, -126, -72]
    bold = brain_image(tmp_path / "bold.nii.gz", shape, affine)
    x, y, z = np.indices(shape)
    mask = ((x - 22) / 18) ** 2 + ((y - 27) / 22) ** 2 + ((z - 22) / 16) ** 2 < 1
    mask_file = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), mask_file)
    (found,) = parcel_means(bold, [parcellation], mask_file)
    assert_like_nilearn(found, parcellation, *masker_means(parcellation.image_file, bold, mask_file))


class TestOrientation:
    """Where both form codes are 0, nibabel makes an affine up: left and right are a guess."""

    def series(self, tmp_path: Path, oriented: bool, mask_oriented: bool = True, **options: Any) -> list[ParcelSeries]:
        atlas = load_parcellation(write_atlas(tmp_path), SMALL_SPACE)
        files = add_run(tmp_path / "ds", "sub-01_task-rest", oriented=oriented)
        if mask_oriented != oriented:
            save_image(files["mask"], np.asarray(nib.load(files["mask"]).dataobj), mask_oriented)
        return parcel_series(files["bold"], [atlas], files["mask"], **options)

    def test_an_image_without_one_is_refused_with_the_remedy(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"preproc_bold\.nii\.gz states no orientation: both sform and qform are 0"):
            self.series(tmp_path, oriented=False)

    def test_so_is_a_mask(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"brain_mask\.nii\.gz states no orientation: .*--allow-missing-orientation"):
            self.series(tmp_path, oriented=True, mask_oriented=False)

    def test_one_of_the_two_codes_is_enough(self, tmp_path: Path) -> None:
        files = add_run(tmp_path / "ds", "sub-01_task-rest")
        image = nib.load(files["bold"])
        image.set_sform(None, 0)
        nib.save(image, tmp_path / "qform_bold.nii.gz")
        atlas = load_parcellation(write_atlas(tmp_path), SMALL_SPACE)
        (found,) = parcel_series(tmp_path / "qform_bold.nii.gz", [atlas], None)
        assert found.n_covered.tolist() == [120] * 8

    def test_it_can_be_allowed(self, tmp_path: Path) -> None:
        (found,) = self.series(tmp_path, oriented=False, mask_oriented=False, allow_missing_orientation=True)
        assert found.n_voxels.tolist() == [120] * 8
        assert found.n_covered.tolist() != [72, 120] * 4  # other places than the atlas says: hence the warning

    def test_a_mask_without_one_is_then_laid_on_voxel_by_voxel(self, tmp_path: Path) -> None:
        (found,) = self.series(tmp_path, oriented=True, mask_oriented=False, allow_missing_orientation=True)
        assert found.n_covered.tolist() == [72, 120] * 4
