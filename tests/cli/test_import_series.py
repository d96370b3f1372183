"""``bids-neurossm-import``: ROI arrays in, a BIDS derivatives dataset out that the group level reads."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bids_neurossm.cli.import_series import main
from bids_neurossm.cli.run import main as app
from bids_neurossm.config import Selection
from bids_neurossm.dataset.series import find_series, read_regions, read_series, with_sidecars

SERIES = {f"id_{index}": np.random.default_rng(index).normal(size=(30 + index, 4)).astype("f4") for index in range(3)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    np.savez(folder / "site-A.npz", **{key: SERIES[key] for key in ("id_0", "id_1")})
    np.savez(folder / "site-B.npz", id_2=SERIES["id_2"])
    (folder / "participants.tsv").write_text(
        "participant_id\tfile\tdx\tmean_fd\nsub-7\tid_0\tcase\t0.25\n8\tid_1\tcontrol\tn/a\n"
    )
    return folder


def _imported(out: Path) -> dict[str, np.ndarray]:
    files = find_series(out, Selection())
    return {file.entities["sub"]: read_series(file.path, read_regions(file.path)) for file in files}


def _snapshot(out: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(out)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in out.rglob("*")
        if path.is_file()
    }


def test_series_come_back_as_exact_float32_under_the_participants_labels(source, tmp_path, capsys):
    out = tmp_path / "out"
    facts = ["--atlas", "My-Atlas", "--tr", "2", "--space", "MNI152NLin6Asym", "--task", "rest", "--desc", "aroma"]
    assert (
        main(
            [
                str(source),
                str(out),
                *facts,
                "--participants",
                str(source / "participants.tsv"),
                "--id-column",
                "file",
            ]
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "2 participants were matched by the column file of" in told
    assert "1 participant of the series is not in participants.tsv: id_2." in told
    series = _imported(out)
    for label, key in (("7", "id_0"), ("8", "id_1"), ("id2", "id_2")):
        np.testing.assert_array_equal(series[label].astype("f4"), SERIES[key])
    name = "sub-7_task-rest_space-MNI152NLin6Asym_atlas-MyAtlas_scale-4_stat-mean_desc-aroma_timeseries"
    sidecar = json.loads((out / "sub-7" / "func" / f"{name}.json").read_text())
    assert sidecar["RepetitionTime"] == 2
    assert sidecar["MeanFramewiseDisplacement"] == 0.25
    assert sidecar["DenoisingStrategy"] == "aroma"
    assert sidecar["Sources"] == ["bids:source:site-A.npz"]
    assert len(sidecar["SourceSHA256"]) == len(sidecar["InputHash"]) == 64
    table = pd.read_csv(out / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert table["participant_id"].tolist() == ["sub-7", "sub-8"]
    assert table["dx"].tolist() == ["case", "control"]
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {"source": "../source"}
    assert "License" not in description


def test_what_is_not_known_is_left_out(source, tmp_path):
    assert main([str(source), str(tmp_path / "out"), "--task", "rest"]) == 0
    files = with_sidecars(find_series(tmp_path / "out", Selection()))
    assert [file.path.name for file in files] == [
        f"sub-id{index}_task-rest_stat-mean_desc-imported_timeseries.tsv" for index in range(3)
    ]
    assert np.isnan(files[0].repetition_time)
    assert "MeanFramewiseDisplacement" not in files[0].sidecar
    assert read_regions(files[0].path) == ["region-001", "region-002", "region-003", "region-004"]
    assert not (tmp_path / "out" / "participants.tsv").exists()


def test_a_second_import_changes_nothing_and_a_changed_source_is_read_again(source, tmp_path, capsys):
    command = [
        str(source),
        str(tmp_path / "out"),
        "--task",
        "rest",
        "--participants",
        str(source / "participants.tsv"),
        "--id-column",
        "file",
    ]
    assert main(command) == 0
    before = _snapshot(tmp_path / "out")
    capsys.readouterr()
    assert main(command) == 0
    assert "0 runs written, 3 were there already" in capsys.readouterr().out
    after = _snapshot(tmp_path / "out")
    assert {name: content for name, (content, _) in after.items()} == {name: each[0] for name, each in before.items()}
    assert {name for name in after if after[name] != before[name] and "timeseries" in name} == set()
    np.savez(source / "site-B.npz", id_2=SERIES["id_2"] + 1)
    assert main(command) == 0
    assert "1 runs written, 2 were there already" in capsys.readouterr().out
    assert main([*command, "--overwrite"]) == 0
    assert "3 runs written" in capsys.readouterr().out


def test_roi_by_time_is_transposed_and_the_table_of_regions_tells_so(shared_data, tmp_path):
    names = [f"area {index}" for index in range(419)]
    (tmp_path / "regions.tsv").write_text("name\n" + "\n".join(names) + "\n")
    (source,) = (shared_data / "psychosis").glob("*.npz")
    small = tmp_path / "small.npz"
    with np.load(source) as archive:
        kept = {key: archive[key] for key in archive.files[:3]}
    np.savez(small, **kept)
    assert main([str(small), str(tmp_path / "out"), "--task", "rest", "--regions", str(tmp_path / "regions.tsv")]) == 0
    series = _imported(tmp_path / "out")
    assert list(series) == [key.removeprefix("sub-") for key in kept]
    first = next(iter(kept))
    np.testing.assert_array_equal(series[first.removeprefix("sub-")].astype("f4"), kept[first].T)
    (file, *_) = find_series(tmp_path / "out", Selection())
    assert read_regions(file.path) == names


def test_a_known_atlas_gives_names_and_image_where_its_size_fits(templateflow_home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    np.savez(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=(400, 60)).astype("f4"))
    options = ["--task", "rest", "--atlas", "Schaefer400", "--space", "MNI152NLin2009cAsym"]
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), *options]) == 0
    (file,) = find_series(tmp_path / "out", Selection())
    assert "_atlas-Schaefer2018_seg-7Networks_scale-400_stat-mean_" in file.path.name
    assert read_regions(file.path)[0] == "7Networks_LH_Vis_1"
    assert list((tmp_path / "out" / "tpl-MNI152NLin2009cAsym").glob("*_dseg.nii.gz"))
    np.savez(tmp_path / "x.npz", a=np.ones((60, 419)))
    capsys.readouterr()
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "two"), *options]) == 2
    assert "60 x 419, 400 regions are expected" in capsys.readouterr().err
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "two"), *options, "--orientation", "time-roi"]) == 0
    assert "The series have 419 regions and Schaefer400 has 400" in capsys.readouterr().out
    (file,) = find_series(tmp_path / "two", Selection())
    assert "_atlas-Schaefer400_scale-419_" in file.path.name


def test_regions_are_named_by_an_atlas_that_is_not_drawn_in_the_space_of_the_series(
    templateflow_home, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(templateflow_home))
    np.savez(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=(60, 400)))
    options = ["--task", "rest", "--atlas", "Schaefer400", "--space", "T1w"]
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), *options]) == 0
    assert "There will be no maps: --atlas Schaefer400 exists in" in capsys.readouterr().out
    (file,) = find_series(tmp_path / "out", Selection())
    assert read_regions(file.path)[0] == "7Networks_LH_Vis_1"
    assert not list((tmp_path / "out").glob("tpl-*"))


def test_runs_that_can_not_be_used_are_named_and_the_rest_is_written(source, tmp_path, capsys):
    infinite = SERIES["id_0"].copy()
    infinite[0, 0] = np.inf
    np.savez(source / "site-C.npz", narrow=np.ones((30, 3)), infinite=infinite)
    (source / "site-D.npz").write_bytes(b"PK damaged")
    assert main([str(source), str(tmp_path / "out"), "--task", "rest", "--orientation", "time-roi"]) == 1
    told = capsys.readouterr().out
    assert "site-C.npz: narrow has 3 regions; 4 are expected" in told
    assert "site-C.npz: infinite holds infinite values" in told
    assert "site-D.npz cannot be read" in told
    assert len(_imported(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--orientation", "time-roi"], "add --task rest"),
        (["--task", "re-st"], "--task 're-st' is not a BIDS label"),
        (["--task", "rest", "--space", "MNI 152"], "--space 'MNI 152' is not a BIDS label"),
        (["--task", "rest", "--tr", "0"], "a positive number of seconds"),
        (["--task", "rest", "--tr", "nan"], "a positive number of seconds"),
        (["--task", "rest", "--participants", "nowhere.tsv"], "there is no such file"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_written(source, tmp_path, capsys, options, told):
    assert main([str(source), str(tmp_path / "out"), *options]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_runs_of_one_name_are_refused_and_both_are_named(tmp_path, capsys):
    for site in ("a", "b"):
        np.savez(tmp_path / f"{site}.npz", same=np.ones((30, 4)))
    assert main([str(tmp_path), str(tmp_path / "out"), "--task", "rest", "--orientation", "time-roi"]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "a.npz") in told
    assert str(tmp_path / "b.npz") in told


def test_the_source_and_other_programs_datasets_are_never_written_to(source, tmp_path, capsys):
    assert main([str(source), str(source), "--task", "rest"]) == 2
    assert "never written to" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    assert main([str(source), str(tmp_path / "out"), "--task", "rest"]) == 2
    assert "already holds a dataset by fMRIPrep" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset_description.json"]


def test_a_malicious_pickle_exits_2_and_runs_nothing(tmp_path, capsys):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    (tmp_path / "dataset_ppmi_atlas-AAL-3V2.pickle").write_bytes(pickle.dumps([Payload()]))
    assert main([str(tmp_path), str(tmp_path / "out"), "--task", "rest"]) == 2
    assert f"asks for {os.system.__module__}.system" in capsys.readouterr().err
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "out").exists()


def test_the_records_of_neurossm_bring_their_own_participants(shared_data, tmp_path, capsys):
    rng = np.random.default_rng(0)
    records = [
        {"roiTimeseries": rng.normal(size=(210, 166)), "pheno": {"subjectId": index, "disease": "PD", "visit": visit}}
        for index, visit in ((1, "BL"), (2, "BL"), (2, "V04"))
    ]
    (tmp_path / "dataset_ppmi_atlas-AAL-3V2.pickle").write_bytes(pickle.dumps(records))
    atlas = ["--atlas-dir", str(shared_data / "atlases" / "aal3")]
    assert main([str(tmp_path), str(tmp_path / "out"), *atlas]) == 0
    assert "visit differs between runs of one participant (sub-2: BL and V04)" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "participants.tsv", sep="\t", dtype=str)
    assert table.to_dict("list") == {"participant_id": ["sub-1", "sub-2"], "disease": ["PD", "PD"]}
    assert [file.run for file in find_series(tmp_path / "out", Selection())] == [
        "sub-1_task-rest",
        "sub-2_task-rest_run-1",
        "sub-2_task-rest_run-2",
    ]


@pytest.mark.slow
def test_the_group_level_finds_all_of_abide(shared_data, tmp_path, capsys):
    abide = shared_data / "abide"
    options = [
        "--atlas",
        "CC200",
        "--task",
        "rest",
        "--participants",
        str(abide / "participants.tsv"),
        "--id-column",
        "file_id",
    ]
    assert main([str(abide), str(tmp_path / "abide"), *options]) == 0
    capsys.readouterr()
    command = [str(tmp_path / "abide"), str(tmp_path / "out"), "group", "--target", "dx", "--holdout", "0", "--dry-run"]
    assert app(command) == 0
    told = capsys.readouterr().out
    assert "754 runs of 754 participants" in told
    assert "ASD" in told
    assert "control" in told
    assert not (tmp_path / "out").exists()


def test_an_atlas_that_is_not_available_ends_the_import_unless_numbered_regions_are_wanted(
    shared_data, tmp_path, monkeypatch, capsys
):
    np.savez(tmp_path / "x.npz", a=np.random.default_rng(0).normal(size=(60, 166)))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    for name in ("NILEARN_DATA", "NILEARN_SHARED_DATA"):
        monkeypatch.delenv(name, raising=False)
    options = ["--task", "rest", "--atlas", "AAL3", "--space", "MNI152NLin6Asym"]
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), *options]) == 4
    assert "--numbered-regions numbers the regions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), *options, "--numbered-regions"]) == 0
    assert "AAL3 is not available, so there will be no maps" in capsys.readouterr().out
    (file,) = find_series(tmp_path / "out", Selection())
    assert "_atlas-AAL3v2_scale-166_" in file.path.name
    assert read_regions(file.path)[165] == "region-166"
    options += ["--atlas-dir", str(shared_data / "atlases" / "aal3")]
    assert main([str(tmp_path / "x.npz"), str(tmp_path / "out"), *options]) == 0
    assert read_regions(file.path)[0] == "Precentral_L"
    assert list((tmp_path / "out" / "tpl-MNIColin27").glob("*_dseg.nii.gz"))


def test_names_in_another_order_than_the_columns_are_refused(tmp_path, capsys):
    (tmp_path / "source").mkdir()
    rows = "\n".join(f"{index}.5,{index}.25,1.{index}" for index in range(8))
    for name in "ab":
        (tmp_path / "source" / f"{name}.csv").write_text(f"r1,r0,r2\n{rows}\n")
    (tmp_path / "regions.txt").write_text("r0\nr1\nr2\n")
    command = [str(tmp_path / "source"), str(tmp_path / "out"), "--task", "rest", "--orientation", "time-roi"]
    assert main([*command, "--regions", str(tmp_path / "regions.txt")]) == 2
    assert "in another order than the columns of" in capsys.readouterr().err
    assert main(command) == 0
