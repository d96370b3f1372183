"""Atlases by name and by file: which file is taken, in which space, and what is refused."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.small_runs import dangle, point, write_atlas

from bids_neurossm.atlas import load_parcellation
from bids_neurossm.atlas.catalogue import atlas_entities, known_atlases
from bids_neurossm.errors import ResourceMissingError, UsageError

C2009, ASYM6 = "MNI152NLin2009cAsym", "MNI152NLin6Asym"


@pytest.fixture
def atlases(shared_data: Path) -> Path:
    return shared_data / "atlases"


@pytest.fixture
def _minimal_home(templateflow_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))


@pytest.mark.usefixtures("_minimal_home")
class TestSchaefer:
    def test_a_minimal_templateflow_home_is_enough(self, templateflow_home: Path) -> None:
        atlas = load_parcellation("Schaefer400", C2009)
        assert atlas.space == C2009
        assert atlas.image_file.parent == templateflow_home / f"tpl-{C2009}"
        assert atlas.labels == tuple(range(1, 401))
        assert dict(atlas.entities) == {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "400"}
        assert atlas.facts["doi"] == "10.1093/cercor/bhx179"

    def test_without_a_space_it_is_the_one_of_2009c(self) -> None:
        assert load_parcellation("Schaefer400").space == C2009

    @pytest.mark.parametrize("parcels", [100, 400])
    def test_the_files_of_cbig_serve_6asym(self, atlases: Path, parcels: int) -> None:
        atlas = load_parcellation(f"Schaefer{parcels}", ASYM6, atlas_dir=atlases)
        assert atlas.space == ASYM6
        assert atlas.image_file.name == f"Schaefer2018_{parcels}Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
        assert atlas.n_regions == parcels

    def test_the_files_of_cbig_never_serve_2009c(self, atlases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import templateflow.api

        monkeypatch.setattr(templateflow.api, "get", lambda *_, **__: [])
        with pytest.raises(ResourceMissingError, match=r"desc-100Parcels7Networks_dseg\.nii\.gz is missing"):
            load_parcellation("Schaefer100", C2009, atlas_dir=atlases)

    def test_a_client_that_returns_nothing_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import templateflow.api

        monkeypatch.setattr(templateflow.api, "get", lambda *_, **__: [])
        with pytest.raises(ResourceMissingError, match=f"tpl-{ASYM6}_res-02_.*400Parcels.* is missing"):
            load_parcellation("Schaefer400", ASYM6)

    def test_native_space_is_refused(self) -> None:
        with pytest.raises(UsageError, match=f"exists in {C2009} and {ASYM6}, not in T1w"):
            load_parcellation("Schaefer400", "T1w")


def test_an_empty_stub_of_templateflow_is_a_missing_resource_with_the_remedy(
    templateflow_home: Path, tmp_path: Path
) -> None:
    """In a process of its own: TemplateFlow's client fixes its home when it is imported."""
    home = tmp_path / "home"
    shutil.copytree(templateflow_home, home, copy_function=shutil.copyfile)
    for folder in (home, *home.iterdir()):
        folder.chmod(stat.S_IRWXU)
    image = next(home.glob("*/*_dseg.nii.gz"))
    image.write_bytes(b"")
    code = (
        "from bids_neurossm.atlas import load_parcellation\n"
        "from bids_neurossm.errors import ResourceMissingError\n"
        "try:\n    load_parcellation('Schaefer400')\n"
        "except ResourceMissingError as error:\n    print(error.exit_code, error)\n"
    )
    unreachable = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **unreachable, "TEMPLATEFLOW_HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"4 {image} is empty and could not be downloaded")
    assert "`bids-neurossm-fetch DIR` and set TEMPLATEFLOW_HOME" in done.stdout
    assert "--atlas-dir" in done.stdout


class TestAal3:
    @pytest.mark.parametrize("space", [C2009, ASYM6, None])
    def test_it_is_allowed_over_either_space(self, atlases: Path, space: str | None) -> None:
        atlas = load_parcellation("AAL3", space, atlas_dir=atlases)
        assert atlas.any_space
        assert atlas.space == "MNIColin27"
        assert atlas.n_regions == 166
        assert dict(atlas.entities) == {"atlas": "AAL3v2", "scale": "166"}

    def test_where_nilearn_unpacked_it(self, atlases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path / "nilearn" / "aal_3v2" / "AAL3"
        shutil.copytree(atlases / "aal3", folder, copy_function=shutil.copyfile)
        monkeypatch.setenv("NILEARN_DATA", str(tmp_path / "nilearn"))
        monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path / "none"))
        assert load_parcellation("AAL3", ASYM6).image_file == folder / "AAL3v1.nii"

    def test_without_it_the_places_and_the_remedy_are_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HOME", "NILEARN_DATA", "NILEARN_SHARED_DATA", "TEMPLATEFLOW_HOME"):
            monkeypatch.setenv(name, str(tmp_path))
        with pytest.raises(ResourceMissingError, match=r"of a licence.*bids-neurossm-fetch.*--atlas-dir") as caught:
            load_parcellation("AAL3", ASYM6)
        assert str(tmp_path / "aal_3v2" / "AAL3") in str(caught.value)


class TestFiles:
    def test_a_file_of_cbig_is_understood_by_its_name(self, atlases: Path) -> None:
        file = atlases / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
        atlas = load_parcellation(file, ASYM6)
        assert atlas.space == ASYM6
        assert dict(atlas.entities) == {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "100"}
        assert atlas.table_file.name == "Schaefer2018_100Parcels_7Networks_order.txt"
        assert atlas_entities(str(file)) == dict(atlas.entities)

    def test_a_space_that_differs_from_the_runs_is_refused(self, atlases: Path) -> None:
        file = atlases / "Schaefer2018_100Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
        with pytest.raises(UsageError, match=f"drawn in {ASYM6}, the runs are in {C2009}.*--space {ASYM6}"):
            load_parcellation(file, C2009)

    def test_the_200_parcels_of_neuroparc_want_their_table_beside_them(self, atlases: Path, tmp_path: Path) -> None:
        name = "Schaefer200_space-MNI152NLin6_res-2x2x2.nii.gz"
        with pytest.raises(UsageError, match=r"no label table stands beside it; .*res-2x2x2.tsv is expected"):
            load_parcellation(atlases / name)
        shutil.copyfile(atlases / name, tmp_path / name)
        rows = "".join(f"{index}\tregion{index}\n" for index in range(1, 201))
        (tmp_path / "Schaefer200.tsv").write_text("index\tname\n" + rows)
        atlas = load_parcellation(tmp_path / name, ASYM6)
        assert (atlas.space, atlas.n_regions) == (ASYM6, 200)

    def test_a_name_without_space_asks_for_it(self, atlases: Path) -> None:
        file = atlases / "aal3" / "AAL3v1.nii"
        with pytest.raises(UsageError, match="its name does not say its space; add --atlas-space"):
            load_parcellation(file)
        atlas = load_parcellation(file, ASYM6, atlas_space=ASYM6)
        assert (atlas.space, atlas.n_regions, atlas.entities["scale"]) == (ASYM6, 166, "166")

    def test_a_label_that_the_table_does_not_name_is_refused(self, tmp_path: Path) -> None:
        image = tmp_path / f"tpl-{ASYM6}_atlas-mine_dseg.nii.gz"
        nib.save(nib.Nifti1Image(np.arange(8, dtype=np.int16).reshape(2, 2, 2), np.eye(4)), image)
        (tmp_path / f"tpl-{ASYM6}_atlas-mine_dseg.tsv").write_text("index\tname\n1\tA\n2\tB\n")
        with pytest.raises(UsageError, match=r"has 5 label\(s\) that .* does not name, the first is 3"):
            load_parcellation(image)

    def test_an_absent_file_is_a_usage_error(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="there is no such file"):
            load_parcellation(tmp_path / "atlas.nii.gz")


class TestNames:
    def test_harvard_oxford_needs_no_download_and_is_in_6asym(self) -> None:
        atlas = load_parcellation("HarvardOxford", ASYM6)
        assert (atlas.space, atlas.n_regions) == (ASYM6, 48)
        with pytest.raises(UsageError, match="millimetres apart"):
            load_parcellation("HarvardOxford", C2009)

    @pytest.mark.parametrize(
        ("name", "entities"),
        [
            ("Schaefer400", {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "400"}),
            ("schaefer1000", {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "1000"}),
            ("Schaefer2018_200Parcels_17Networks", {"atlas": "Schaefer2018", "seg": "17Networks", "scale": "200"}),
            ("Schaefer400_17Networks", {"atlas": "Schaefer2018", "seg": "17Networks", "scale": "400"}),
            ("AAL3", {"atlas": "AAL3v2", "scale": "166"}),
            ("HarvardOxford", {"atlas": "HarvardOxford", "scale": "48"}),
        ],
    )
    def test_names_tell_the_entities_without_any_image(self, name: str, entities: dict[str, str]) -> None:
        assert atlas_entities(name) == entities

    @pytest.mark.parametrize("name", ["Schaefer", "Schaefer450", "Schaefer1100", "Schaefer400_9Networks", "AAL", ""])
    def test_other_names_are_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="is not known; give Schaefer400"):
            load_parcellation(name)

    def test_the_catalogue_says_licence_and_source_of_each(self) -> None:
        for facts in known_atlases().values():
            assert {"title", "pattern", "source", "spaces", "license", "citation", "doi"} <= set(facts)


class TestTheTableOfALabelImage:
    """It is found by the entities of its name, as TemplateFlow and XCP-D leave the resolution out of it."""

    def image(self, folder: Path, name: str, **options: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        image = write_atlas(folder, "plain", **options)
        (folder / "plain.tsv").rename(folder / "table.tsv")
        return image.rename(folder / f"{name}.nii.gz")

    @pytest.mark.parametrize(
        ("name", "table"),
        [
            ("tpl-MNI152NLin6Asym_res-02_atlas-Boxes_dseg", "tpl-MNI152NLin6Asym_atlas-Boxes_dseg.tsv"),
            ("atlas-Boxes_space-MNI152NLin6Asym_res-01_dseg", "atlas-Boxes_dseg.tsv"),
            ("atlas-Boxes_space-MNI152NLin6Asym_dseg", "space-MNI152NLin6Asym_atlas-Boxes_dseg.tsv"),
        ],
    )
    def test_it_may_leave_resolution_and_space_out(self, tmp_path: Path, name: str, table: str) -> None:
        image = self.image(tmp_path, name)
        (tmp_path / "table.tsv").rename(tmp_path / table)
        atlas = load_parcellation(image, "MNI152NLin6Asym")
        assert atlas.names == tuple(f"box{label}" for label in range(1, 9))
        assert dict(atlas.entities) == {"atlas": "Boxes", "scale": "8"}

    def test_templateflows_own_image_is_called_as_by_its_name(self, templateflow_home: Path) -> None:
        folder = templateflow_home / "tpl-MNI152NLin2009cAsym"
        atlas = load_parcellation(next(folder.glob("*res-02*400Parcels7Networks_dseg.nii.gz")), "MNI152NLin2009cAsym")
        assert dict(atlas.entities) == {"atlas": "Schaefer2018", "seg": "7Networks", "scale": "400"}
        assert atlas.names[0] == "7Networks_LH_Vis_1"

    def test_content_that_was_not_fetched_is_not_absent(self, tmp_path: Path) -> None:
        image = self.image(tmp_path, "tpl-MNI152NLin6Asym_res-02_atlas-Boxes_dseg")
        table = tmp_path / "tpl-MNI152NLin6Asym_atlas-Boxes_dseg.tsv"
        (tmp_path / "table.tsv").rename(table)
        dangle(table)
        with pytest.raises(ResourceMissingError, match=rf"datalad get {table}"):
            load_parcellation(image, "MNI152NLin6Asym")
        point(image)
        with pytest.raises(ResourceMissingError, match=rf"datalad get {image}"):
            load_parcellation(image, "MNI152NLin6Asym")


def test_a_label_image_without_orientation_is_refused(tmp_path: Path) -> None:
    image = write_atlas(tmp_path, oriented=False)
    with pytest.raises(
        UsageError, match=r"states no orientation: both sform and qform are 0.*fslorient.*--allow-missing"
    ):
        load_parcellation(image, "MNI152NLin6Asym")
    assert load_parcellation(image, "MNI152NLin6Asym", allow_missing_orientation=True).n_regions == 8
