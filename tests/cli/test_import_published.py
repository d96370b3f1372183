"""The published datasets through ``bids-neurossm-import``: the whole tree, every layout, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.published_layouts import CONTAINERS, LAYOUTS, LENGTHS, cohort, published_tree, record, runs_of, save

from bids_neurossm.cli.import_series import main
from bids_neurossm.config import Selection
from bids_neurossm.dataset.series import find_series, read_regions, read_series

RNG = np.random.default_rng(2)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, np.ndarray]]]:
    root = tmp_path_factory.mktemp("published") / "Dataset" / "Data"
    return root, published_tree(root)


def imported(out: Path) -> dict[str, np.ndarray]:
    files = find_series(out, Selection())
    return {file.path.name.partition("_atlas")[0]: read_series(file.path, read_regions(file.path)) for file in files}


def participants(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "participants.tsv", sep="\t", dtype=str, keep_default_na=False).set_index("participant_id")


def sidecar(out: Path, pattern: str) -> dict[str, Any]:
    (path,) = out.rglob(pattern)
    return dict(json.loads(path.read_text()))


# --- the tree -----------------------------------------------------------------------------------------------------


def test_the_whole_tree_is_imported_in_one_command(tree, tmp_path, atlases, capsys):
    root, made = tree
    assert main([str(root), str(tmp_path / "out"), *atlases]) == 0
    told = capsys.readouterr().out
    first = [name for name in made["task"] if name[:10] in ("sub-100307", "sub-100309")]
    expected = {**made["rest"], **{name: made["task"][name] for name in first}, **made["ppmi"]}
    series = imported(tmp_path / "out")
    assert series.keys() == expected.keys()
    for name, values in expected.items():
        assert series[name].astype(values.dtype).tobytes() == values.tobytes()
    assert "Release Q1: 14 task runs of 2 participants kept; 14 task runs of 2 participants of other" in told
    assert "21 runs written" in told
    table = participants(tmp_path / "out")
    assert table.loc["sub-100307"].to_dict() == {
        "gender": "1",
        "Release": "Q1",
        "Gender": "M",
        "Age": "26-30",
        "disease": "n/a",
    }
    assert table.loc["sub-3001", ["gender", "disease"]].tolist() == ["n/a", "1"]
    assert len(table) == 7


def test_each_file_of_the_tree_has_the_names_of_its_own_atlas_and_its_own_repetition_time(tree, tmp_path, atlases):
    assert main([str(tree[0]), str(tmp_path / "out"), *atlases]) == 0
    (rest,) = (tmp_path / "out").rglob("sub-100307_task-REST_*.tsv")
    (ppmi,) = (tmp_path / "out").rglob("sub-3000_*.tsv")
    assert "_atlas-Schaefer2018_seg-7Networks_scale-400_" in rest.name
    assert "_atlas-AAL3v2_scale-166_" in ppmi.name
    assert (read_regions(rest)[0], read_regions(ppmi)[0]) == ("7Networks_LH_Vis_1", "Precentral_L")
    assert sidecar(tmp_path / "out", "sub-100307_task-REST_*.json")["RepetitionTime"] == 0.72
    assert "RepetitionTime" not in sidecar(tmp_path / "out", "sub-3000_*.json")


@pytest.mark.parametrize("place", ["published", "next to the file", "--participants"])
def test_labels_and_release_are_joined_wherever_pheno_csv_is(tree, tmp_path, atlases, capsys, place):
    root, _ = tree
    source, options = root / "dataset_hcpTask_schaefer.npy", list(atlases)
    if place != "published":
        (tmp_path / "data").mkdir()
        source = tmp_path / "data" / source.name
        source.write_bytes((root / source.name).read_bytes())
        table = tmp_path / ("data/pheno.csv" if place == "next to the file" else "labels.csv")
        table.write_bytes((root / "HCP_1200" / "Preprocessed" / "pheno.csv").read_bytes())
        options += ["--participants", str(table)] if place == "--participants" else []
    assert main([str(source), str(tmp_path / "out"), *options]) == 0
    assert "14 task runs of 2 participants kept" in capsys.readouterr().out
    assert {name[:10] for name in imported(tmp_path / "out")} == {"sub-100307", "sub-100309"}
    table = participants(tmp_path / "out")
    assert table.loc[["sub-100307", "sub-100309"], ["Gender", "Release"]].to_numpy().tolist() == [["M", "Q1"]] * 2


def test_another_release_or_all_can_be_kept(tree, tmp_path, atlases, capsys):
    source = tree[0] / "dataset_hcpTask_schaefer.npy"
    assert main([str(source), str(tmp_path / "all"), *atlases, "--release", "all"]) == 0
    assert len(imported(tmp_path / "all")) == 28
    assert main([str(source), str(tmp_path / "late"), *atlases, "--release", "S900"]) == 0
    assert {name[:10] for name in imported(tmp_path / "late")} == {"sub-100308", "sub-100310"}
    assert main([str(source), str(tmp_path / "none"), *atlases, "--release", "S500"]) == 3
    assert "No run is of release S500; the table has Q1, S900" in capsys.readouterr().err


def test_task_runs_without_a_table_are_all_kept_and_that_is_said(tmp_path, atlases, capsys):
    path = save(tmp_path / "dataset_hcpTask_schaefer.pickle", runs_of("WM"))
    assert main([str(path), str(tmp_path / "out"), *atlases]) == 0
    assert "Nothing states the release of 1 task run of 1 participant: all are kept" in capsys.readouterr().out


def test_files_that_are_imported_one_after_another_keep_the_labels_of_both(tree, tmp_path, atlases):
    for name in ("dataset_hcpRest_schaefer.npy", "dataset_hcpTask_schaefer.npy"):
        alone = tmp_path / name
        alone.write_bytes((tree[0] / name).read_bytes())
        assert main([str(alone), str(tmp_path / "out"), *atlases]) == 0
    assert participants(tmp_path / "out")["gender"].to_dict() == {
        f"sub-{who}": str(who % 2) for who in range(100307, 100311)
    }
    (tmp_path / "pheno.csv").write_text("participant_id,dx,Release\n100307,2,Q1\n100309,1,Q1\n")
    assert main([str(tmp_path / "dataset_hcpTask_schaefer.npy"), str(tmp_path / "out"), *atlases]) == 0
    table = participants(tmp_path / "out")
    assert table["dx"].to_dict() == {"sub-100307": "2", "sub-100308": "n/a", "sub-100309": "1", "sub-100310": "n/a"}
    assert table["gender"].to_dict() == {f"sub-{who}": str(who % 2) for who in range(100307, 100311)}


def test_a_given_table_counts_and_what_records_say_besides_is_added(tmp_path, atlases):
    records = [record(who, RNG.normal(size=(1200, 400)), gender=who % 2, age=20 + who) for who in (1, 2, 3)]
    path = save(tmp_path / "dataset_hcpRest_schaefer.pickle", records)
    (tmp_path / "labels.tsv").write_text("participant_id\tage\tdx\nsub-1\t99\tcase\nsub-2\tn/a\tcontrol\n")
    assert main([str(path), str(tmp_path / "out"), *atlases, "--participants", str(tmp_path / "labels.tsv")]) == 0
    table = participants(tmp_path / "out")
    assert table.columns.tolist() == ["age", "dx", "gender"]
    assert table.loc["sub-1"].tolist() == ["99", "case", "1"]
    assert table.loc["sub-2"].tolist() == ["n/a", "control", "0"]
    assert table.loc["sub-3"].tolist() == ["23", "n/a", "1"]


def test_a_column_of_identifiers_and_the_names_of_participants_may_be_two(tmp_path, atlases):
    path = save(tmp_path / "dataset_hcpTask_schaefer.pickle", runs_of("WM", subject="100307"))
    (tmp_path / "labels.csv").write_text("participant_id,HCP,Release,dx\nA1,100307,Q1,2\nA2,100308,Q1,1\n")
    options = ["--participants", str(tmp_path / "labels.csv"), "--id-column", "HCP"]
    assert main([str(path), str(tmp_path / "out"), *atlases, *options]) == 0
    assert list(imported(tmp_path / "out")) == ["sub-A1_task-WM"]
    assert participants(tmp_path / "out")["dx"].to_dict() == {"sub-A1": "2", "sub-A2": "1"}


# --- layouts and containers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["torch .save", "torch .pth before 1.6", "numpy .npy", "pickle, protocol 4"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_imported_to_the_last_digit(tmp_path, layout, container):
    runs, (build, facts) = cohort(), LAYOUTS[layout]
    path = CONTAINERS[container](tmp_path / "cohort", build(runs, np.asarray))
    assert main([str(path), str(tmp_path / "out"), "--task", "rest", "--atlas", "Six"]) == 0
    series = imported(tmp_path / "out")
    assert list(series) == [f"sub-{run.subject}_task-rest" for run in runs]
    for run in runs:
        assert series[f"sub-{run.subject}_task-rest"].tobytes() == run.series.tobytes()
    assert (tmp_path / "out" / "participants.tsv").exists() == bool(facts)
    for run in runs if facts else []:
        wanted = {"gender": str(run.gender), "group": run.group, "class": run.group}
        assert participants(tmp_path / "out").loc[f"sub-{run.subject}"].to_dict() == {
            name: wanted[name] for name in facts
        }


def test_aal3_with_a_column_for_every_number_loses_those_that_are_no_label(tmp_path, atlases, capsys):
    whole = RNG.normal(size=(210, 170))
    absent = [34, 35, 80, 81]
    whole[:, absent] = 0
    path = save(tmp_path / "dataset_ppmi_atlas-AAL-3V2.pickle", [record(1, whole), record(2, np.full_like(whole, 1.5))])
    assert main([str(path), str(tmp_path / "out"), *atlases]) == 0
    assert "AAL3 has no labels 35, 36, 81, 82" in capsys.readouterr().out
    series = imported(tmp_path / "out")["sub-1_task-rest"]
    assert series.tobytes() == np.ascontiguousarray(np.delete(whole, absent, axis=1)).tobytes()
    (file, _) = find_series(tmp_path / "out", Selection())
    assert (len(read_regions(file.path)), read_regions(file.path)[34]) == (166, "Cingulate_Mid_L")
    whole[:, 34] = RNG.normal(size=210)
    save(path, [record(1, whole)])
    assert main([str(path), str(tmp_path / "other"), *atlases]) == 1
    assert "has numbers in column 35, which is no region of AAL3" in capsys.readouterr().out


def test_task_codes_of_the_hcp_are_known_and_others_come_from_a_table(tmp_path, atlases):
    coded = [record(1, RNG.normal(size=(length, 400)), task=code) for code, length in enumerate(LENGTHS.values())]
    path = save(tmp_path / "dataset_hcpTask_schaefer.pickle", coded)
    assert main([str(path), str(tmp_path / "out"), *atlases]) == 0
    series = imported(tmp_path / "out")
    assert {name: len(values) for name, values in series.items()} == {
        f"sub-1_task-{task}": length for task, length in LENGTHS.items()
    }
    (tmp_path / "codes.tsv").write_text("code\ttask\n10\tnback\n20\tflanker\n")
    mine = save(tmp_path / "mine.pickle", [record(1, RNG.normal(size=(50 + c, 8)), task=c) for c in (10, 20)])
    options = ["--task-codes", str(tmp_path / "codes.tsv"), "--atlas", "Eight"]
    assert main([str(mine), str(tmp_path / "two"), *options]) == 0
    assert {name: len(values) for name, values in imported(tmp_path / "two").items()} == {
        "sub-1_task-nback": 60,
        "sub-1_task-flanker": 70,
    }


def test_a_run_without_a_stated_task_takes_it_from_its_length(tmp_path, atlases):
    records = [record(1, RNG.normal(size=(length, 400))) for length in LENGTHS.values()]
    path = save(tmp_path / "dataset_hcpTask_schaefer.pickle", records)
    assert main([str(path), str(tmp_path / "out"), *atlases]) == 0
    assert {name: len(values) for name, values in imported(tmp_path / "out").items()} == {
        f"sub-1_task-{task}": length for task, length in LENGTHS.items()
    }


def test_another_key_of_the_participant_is_named_by_id_key(tmp_path):
    records = [{"roiTimeseries": RNG.normal(size=(30 + i, 5)), "pheno": {"subjId": f"a{i}", "dx": i}} for i in range(2)]
    path = save(tmp_path / "x.pickle", records)
    options = ["--task", "rest", "--atlas", "Five"]
    assert main([str(path), str(tmp_path / "out"), *options, "--id-key", "subjId"]) == 0
    assert list(imported(tmp_path / "out")) == ["sub-a0_task-rest", "sub-a1_task-rest"]
    assert list(participants(tmp_path / "out").columns) == ["dx"]
