"""Studies are read whole, in one space, or not at all."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from nimare.utils import tal2mni

from bids_neurossm.errors import ResourceMissingError, UsageError
from bids_neurossm.reference.studies import Studies, load_neurosynth, load_nimare_task_studies

STEM = "data-neurosynth_version-7"


@pytest.fixture
def small_copy(shared_data: Path, tmp_path: Path) -> Path:
    """NiMARE's 20 studies in the Neurosynth format, writable."""
    for path in (shared_data / "nimare").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


def test_shipped_studies_are_500_n_back_and_406_flanker_analyses(task_studies: Studies) -> None:
    assert task_studies.terms == ("n-back", "flanker")
    assert task_studies.term_weights is not None
    carried = task_studies.term_weights.toarray() > 0.001
    assert carried.sum(axis=0).tolist() == [500, 406]
    assert not carried.all(axis=1).any()
    assert len(task_studies.peaks) == 9492
    assert task_studies.has_peaks.all()
    assert sum(task_studies.spaces.values()) == 906
    assert any("working memory" in title.lower() for title in task_studies.titles)


def test_shipped_studies_missing_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("nimare.utils.get_resource_path", lambda: str(tmp_path))
    with pytest.raises(ResourceMissingError, match=r"nback_vs_flanker.*missing or damaged"):
        load_nimare_task_studies()


def test_neurosynth_is_read_whole(neurosynth: Studies) -> None:
    assert len(neurosynth) == 14_371
    assert len(neurosynth.peaks) == 507_891
    assert neurosynth.spaces == {"MNI": 10_204, "TAL": 2_335, "UNKNOWN": 1_832}
    assert neurosynth.topic_weights is not None
    assert neurosynth.topic_weights.shape == (14_371, 50)
    assert neurosynth.term_weights is None
    assert "working memory" in neurosynth.terms


def test_the_folder_above_serves_as_well(shared_data: Path, neurosynth: Studies) -> None:
    assert load_neurosynth(shared_data).content_hash == neurosynth.content_hash


def test_term_weights_are_used_where_they_are(small_copy: Path) -> None:
    studies = load_neurosynth(small_copy)
    assert studies.term_weights is not None
    assert studies.term_weights.shape == (20, 100)
    assert studies.topic_weights is None


def test_talairach_peaks_are_converted_and_unknown_ones_are_not(small_copy: Path) -> None:
    plain = load_neurosynth(small_copy)
    metadata = small_copy / f"{STEM}_metadata.tsv.gz"
    text = gzip.decompress(metadata.read_bytes()).decode().split("\n")
    first, second = plain.ids[0], plain.ids[1]
    for index, line in enumerate(text):
        if line.startswith((first, second)):
            text[index] = line.replace("\tMNI\t", "\tTAL\t" if line.startswith(first) else "\tUNKNOWN\t", 1)
    metadata.write_bytes(gzip.compress("\n".join(text).encode()))
    changed = load_neurosynth(small_copy)
    in_first = plain.peak_study == 0
    np.testing.assert_allclose(changed.peaks[in_first], tal2mni(plain.peaks[in_first]))
    np.testing.assert_array_equal(changed.peaks[~in_first], plain.peaks[~in_first])
    assert changed.spaces["TAL"] == plain.spaces.get("TAL", 0) + 1
    assert changed.content_hash != plain.content_hash


@pytest.mark.parametrize("name", ["coordinates.tsv.gz", "metadata.tsv.gz", "vocab-terms_vocabulary.txt"])
def test_a_missing_file_is_named_with_what_is_expected(small_copy: Path, name: str) -> None:
    (small_copy / f"{STEM}_{name}").unlink()
    with pytest.raises(ResourceMissingError, match=rf"{name}: there is no such file; expected is"):
        load_neurosynth(small_copy)


@pytest.mark.parametrize(
    "name",
    ["coordinates.tsv.gz", "metadata.tsv.gz", "vocab-terms_source-abstract_type-tfidf_features.npz"],
)
@pytest.mark.parametrize("damage", ["truncated", "empty", "not what its name says", "one byte changed"])
def test_a_damaged_file_is_named_with_what_is_expected(small_copy: Path, name: str, damage: str) -> None:
    path = small_copy / f"{STEM}_{name}"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:middle],
            "empty": b"",
            "not what its name says": b"<html>404</html>",
            "one byte changed": content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :],
        }[damage]
    )
    with pytest.raises(ResourceMissingError, match=rf"{name}: .*expected is"):
        load_neurosynth(small_copy)


def test_peaks_of_a_study_without_metadata_are_refused(small_copy: Path) -> None:
    path = small_copy / f"{STEM}_coordinates.tsv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress((text.rstrip("\n") + "\n77\t1\t1\t1\t0\t0\t0\n").encode()))
    with pytest.raises(ResourceMissingError, match="study 77 has peaks but no metadata"):
        load_neurosynth(small_copy)


def test_a_subset_keeps_peaks_with_their_study(task_studies: Studies) -> None:
    wanted = np.zeros(len(task_studies), dtype=bool)
    wanted[[3, 500]] = True
    subset = task_studies.subset(wanted)
    assert subset.ids == (task_studies.ids[3], task_studies.ids[500])
    for new, old in enumerate((3, 500)):
        np.testing.assert_array_equal(
            subset.peaks[subset.peak_study == new], task_studies.peaks[task_studies.peak_study == old]
        )


def test_peaks_out_of_order_are_refused() -> None:
    with pytest.raises(UsageError, match="order of the studies"):
        Studies(("a", "b"), ("", ""), np.zeros((2, 3)), np.array([1, 0]), "made up")
