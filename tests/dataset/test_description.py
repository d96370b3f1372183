"""The root of the output dataset: the same bytes from every job, and nobody else's dataset is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from bids_neurossm import __version__
from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.output_files import write_atlas
from bids_neurossm.dataset.description import read_description, write_desc_labels, write_description
from bids_neurossm.dataset.outputs import BIDSIGNORE
from bids_neurossm.errors import UsageError
from bids_neurossm.files import shared_files
from bids_neurossm.phenotype.labels import source_datasets, sources_without_place


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_dataset_says_what_it_is_and_where_it_comes_from(tmp_path: Path) -> None:
    write_description(tmp_path / "out", {"fmriprep": tmp_path / "fmri prep"})
    described = read_description(tmp_path / "out")
    link = "../fmri%20prep"
    assert described["DatasetType"] == "derivative"
    assert described["BIDSVersion"] == "1.11.0"
    assert described["GeneratedBy"][0]["Name"] == "bids-neurossm"
    assert described["DatasetLinks"] == {"fmriprep": link}
    assert described["SourceDatasets"] == [{"URL": link}]
    ignored = (tmp_path / "out" / ".bidsignore").read_text().split()
    assert {"*.html", "/models", "/group", "*_timeseries.*", "*_relmat.*", "*_boldmap.*"} <= set(ignored)
    assert not [line for line in ignored if line.endswith("/")]


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("study/derivatives/fmriprep", "../fmriprep"),
        ("study", "../.."),
        ("study/sourcedata/raw 1", "../../sourcedata/raw%201"),
        ("other/raw", None),
        (".", None),
    ],
)
def test_a_neighbour_is_linked_and_anything_else_is_only_named(tmp_path: Path, source: str, link: str | None) -> None:
    out = tmp_path / "study" / "derivatives" / "ours"
    write_description(out, {"raw": tmp_path / source})
    described = read_description(out)
    assert described["DatasetLinks"] == ({"raw": link} if link else {})
    assert described["SourceDatasets"] == [{"URL": link} if link else {"Name": "raw"}]
    assert sources_without_place(out) == ([] if link else ["raw"])
    found = [folder.resolve() for folder in source_datasets(out)]
    assert set(found) == ({(tmp_path / source).resolve()} if link else set())


def test_a_link_never_leads_over_the_folder_of_all_homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OUT_DIR right in a home: its grandparent holds the homes of others."""
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    out = tmp_path / "home" / "me" / "out"
    write_description(out, {"theirs": tmp_path / "home" / "bob" / "ds", "mine": tmp_path / "home" / "me" / "ds"})
    assert read_description(out)["DatasetLinks"] == {"mine": "../ds"}


def test_absolute_links_of_an_earlier_version_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "out"
    write_description(out, {})
    path = out / "dataset_description.json"
    described = read_description(out)
    described["DatasetLinks"] = {
        "far": (tmp_path / "far").as_uri(),
        "near": (tmp_path / "a" / "near").as_uri(),
        "web": "https://openneuro.org/datasets/ds000030",
    }
    path.write_text(json.dumps(described))
    write_description(out, {"new": tmp_path / "a" / "b" / "new"})
    described = read_description(out)
    assert described["DatasetLinks"] == {
        "near": "../../near",
        "new": "../new",
        "web": "https://openneuro.org/datasets/ds000030",
    }
    assert {"Name": "far"} in described["SourceDatasets"]
    assert str(tmp_path) not in path.read_text()


def test_bidsignore_is_extended_and_loses_no_line(tmp_path: Path) -> None:
    """As version 0.1.0 wrote it, with a line that the user added."""
    (tmp_path / ".bidsignore").write_text("# mine\n/extra\n*.html\n/models\n/quality.tsv")
    write_description(tmp_path, {})
    lines = (tmp_path / ".bidsignore").read_text().splitlines()
    assert lines[:5] == ["# mine", "/extra", "*.html", "/models", "/quality.tsv"]
    assert set(BIDSIGNORE) <= set(lines)
    assert len(lines) == len(set(lines))
    before = (tmp_path / ".bidsignore").stat().st_mtime_ns
    write_description(tmp_path, {})
    assert (tmp_path / ".bidsignore").stat().st_mtime_ns == before


def test_two_jobs_write_the_same_bytes(tmp_path: Path) -> None:
    write_description(tmp_path / "out", {"fmriprep": tmp_path / "a"})
    first = content_of(tmp_path / "out")
    write_description(tmp_path / "out", {"fmriprep": tmp_path / "a"})
    assert content_of(tmp_path / "out") == first


def test_a_second_level_adds_its_sources_and_keeps_an_edited_readme(tmp_path: Path) -> None:
    write_description(tmp_path / "out", {"fmriprep": tmp_path / "a"})
    (tmp_path / "out" / "README.md").write_text("mine")
    write_description(tmp_path / "out", {"raw": tmp_path / "b"})
    assert set(read_description(tmp_path / "out")["DatasetLinks"]) == {"fmriprep", "raw"}
    assert len(read_description(tmp_path / "out")["SourceDatasets"]) == 2
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_the_dataset_of_another_program_is_left_alone(tmp_path: Path) -> None:
    text = json.dumps({"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]})
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(UsageError, match="already holds a dataset by fMRIPrep"):
        write_description(tmp_path, {})
    assert content_of(tmp_path) == {"dataset_description.json": text.encode()}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(UsageError, match=r"dataset_description.json"):
        read_description(tmp_path)


def test_no_description_is_an_empty_one(tmp_path: Path) -> None:
    assert read_description(tmp_path) == {}


def test_desc_labels_are_explained_and_added_to(tmp_path: Path) -> None:
    write_desc_labels(tmp_path, {"mine": "My strategy."})
    write_desc_labels(tmp_path, {"other": "n/a"})
    table = pd.read_csv(tmp_path / "descriptions.tsv", sep="\t", keep_default_na=False)
    meaning = dict(zip(table["desc_id"], table["description"], strict=True))
    assert meaning["desc-mine"] == "My strategy."
    assert meaning["desc-other"] == "n/a"
    assert {"desc-none", "desc-simple", "desc-top25", "desc-dominantpathway"} <= set(meaning)
    assert list(meaning) == sorted(meaning)


def test_an_atlas_is_written_once_with_its_facts(tmp_path: Path) -> None:
    atlas = load_parcellation("HarvardOxford")
    write_atlas(tmp_path, [atlas])
    folder = tmp_path / "tpl-MNI152NLin6Asym"
    image = nib.load(folder / "tpl-MNI152NLin6Asym_atlas-HarvardOxford_scale-48_res-02_dseg.nii.gz")
    labels, affine, _ = atlas.image()
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)
    np.testing.assert_array_equal(image.affine, affine)
    sidecar = json.loads((folder / "tpl-MNI152NLin6Asym_atlas-HarvardOxford_scale-48_res-02_dseg.json").read_text())
    assert sidecar["SourceSHA256"] == atlas.sha256
    assert sidecar["Resolution"] == {"02": "2x2x2 mm"}
    assert "MNI152NLin6Asym" in sidecar["SpatialReference"]
    table = pd.read_csv(folder / "tpl-MNI152NLin6Asym_atlas-HarvardOxford_scale-48_dseg.tsv", sep="\t")
    assert tuple(table["name"]) == atlas.names
    assert json.loads((tmp_path / "atlas-HarvardOxford_description.json").read_text())["Name"]
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    write_atlas(tmp_path, [atlas])
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_version_with_the_same_format_goes_on(tmp_path: Path) -> None:
    """0.1.0 did not state a format: it is the first."""
    write_description(tmp_path, {"fmriprep": tmp_path / "a"})
    path = tmp_path / "dataset_description.json"
    described = json.loads(path.read_text().replace(__version__, "0.0.0"))
    assert described.pop("RecordFormat") == 1
    path.write_text(json.dumps(described))
    write_description(tmp_path, {"raw": tmp_path / "b"})
    described = read_description(tmp_path)
    assert described["GeneratedBy"] == [{"Name": "bids-neurossm", "Version": __version__}]
    assert described["RecordFormat"] == 1
    assert set(described["DatasetLinks"]) == {"fmriprep", "raw"}


def test_records_of_another_format_are_refused_until_told_to_take_over(tmp_path: Path) -> None:
    write_description(tmp_path, {"fmriprep": tmp_path / "a"})
    path = tmp_path / "dataset_description.json"
    path.write_text(path.read_text().replace('"RecordFormat": 1', '"RecordFormat": 2').replace(__version__, "0.9.0"))
    with pytest.raises(UsageError) as caught:
        write_description(tmp_path, {"raw": tmp_path / "b"})
    assert str(caught.value) == (
        f"The records in {tmp_path} have format 2 (bids-neurossm 0.9.0), this version writes format 1: its series and "
        "models have to be computed again. Give another OUT_DIR, or --overwrite, which computes again what the command "
        "asks for."
    )
    assert set(read_description(tmp_path)["DatasetLinks"]) == {"fmriprep"}
    write_description(tmp_path, {"raw": tmp_path / "b"}, overwrite=True)
    described = read_description(tmp_path)
    assert described["GeneratedBy"] == [{"Name": "bids-neurossm", "Version": __version__}]
    assert set(described["DatasetLinks"]) == {"fmriprep", "raw"}


def test_a_job_that_read_before_another_wrote_does_not_undo_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other job comes in between what this one has read and what it writes."""
    written = shared_files.write_text
    others = [{"second": "Theirs."}]

    def write_late(path: Path, text: str) -> None:
        if path.name == "descriptions.tsv" and others:
            write_desc_labels(tmp_path, others.pop())
        written(path, text)

    monkeypatch.setattr(shared_files, "write_text", write_late)
    write_desc_labels(tmp_path, {"first": "Mine."})
    meaning = (tmp_path / "descriptions.tsv").read_text().splitlines()
    assert "desc-first\tMine." in meaning
    assert "desc-second\tTheirs." in meaning
