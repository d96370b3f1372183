"""What ``bids-neurossm-import`` refuses in the published datasets: one sentence and the right exit code each."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.published_layouts import record, runs_of, save

from bids_neurossm.cli.import_series import main

RNG = np.random.default_rng(3)

BAD: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "a stated task that its length contradicts": (
        lambda folder: save(
            folder / "dataset_hcpTask_schaefer.pickle", [record(1, RNG.normal(size=(405, 400)), task="EMOTION")]
        ),
        7,
        "is labelled EMOTION and has 405 volumes, as runs of WM have; runs of EMOTION have 176",
    ),
    "an unknown task code": (
        lambda folder: save(
            folder / "dataset_hcpTask_schaefer.pickle", [record(1, RNG.normal(size=(176, 400)), task=7)]
        ),
        2,
        "has the task 7; known codes are 0 EMOTION, 1 GAMBLING",
    ),
    "a negative task code": (
        lambda folder: save(
            folder / "dataset_hcpTask_schaefer.pickle", [record(1, RNG.normal(size=(176, 400)), task=-1)]
        ),
        2,
        "has the task -1; known codes are",
    ),
    "a task code without a table": (
        lambda folder: save(folder / "x.pickle", [record(1, RNG.normal(size=(176, 5)), task=3)]),
        2,
        "nothing says which task that is: give --task-codes TSV",
    ),
    "more runs of a task than the study has": (
        lambda folder: save(folder / "dataset_hcpTask_schaefer.pickle", runs_of("WM", "WM", "WM")),
        2,
        "has 3 runs of WM of participant 1; the study has at most 2",
    ),
    "an unknown key of the participant": (
        lambda folder: save(
            folder / "dataset_hcpRest_schaefer.pickle",
            [{"roiTimeseries": RNG.normal(size=(1200, 400)), "pheno": {"subjId": 1, "gender": 0}}],
        ),
        2,
        "has the keys subjId, gender; none of subjectId, participant_id, subject, sub, id, file_id is among them: give",
    ),
    "two files of one task": (
        lambda folder: [
            save(folder / f"dataset_hcpTask_schaefer{name}.pickle", runs_of(*tasks))
            for name, tasks in (("", ("WM",)), ("_2", ("WM", "WM")))
        ],
        2,
        "both hold runs of WM of participant 1: import one of the two files",
    ),
    "several atlases in one array": (
        lambda folder: save(
            folder / "dataset_hcpRest_schaefer.pickle",
            [record(1, RNG.normal(size=(1200, 400))), record(2, RNG.normal(size=(1100, 166)))],
        ),
        2,
        "mixes series of different numbers of regions (1 of 1200 x 400, 1 of 1100 x 166)",
    ),
    "an array of another atlas whose length is a number of regions": (
        lambda folder: save(
            folder / "dataset_hcpRest_schaefer.pickle",
            [record(1, RNG.normal(size=(1200, 400))), record(2, RNG.normal(size=(400, 166)))],
        ),
        2,
        "one of them lies the other way or is of another atlas",
    ),
    "as many volumes as regions": (
        lambda folder: save(folder / "dataset_hcpRest_schaefer.pickle", [record(1, RNG.normal(size=(400, 400)))]),
        2,
        "is 400 x 400, 400 regions are expected, and nothing tells which side is time: give --orientation",
    ),
    "series of NaN": (
        lambda folder: save(folder / "dataset_hcpRest_schaefer.pickle", [record(1, np.full((1200, 400), np.nan))]),
        1,
        "holds no number at all",
    ),
    "a pheno.csv of other people": (
        lambda folder: [
            save(folder / "dataset_hcpTask_schaefer.pickle", runs_of("WM", subject="100307")),
            (folder / "pheno.csv").write_text("Subject,Release,Gender\n200001,Q1,F\n200002,Q1,M\n"),
        ],
        7,
        "lists none of the participants of the series: it has 200001, 200002, the series have 100307",
    ),
    "a pheno.csv with one identifier twice": (
        lambda folder: [
            save(folder / "dataset_hcpTask_schaefer.pickle", runs_of("WM", subject="100307")),
            (folder / "pheno.csv").write_text("Subject,Release,Gender\n100307,Q1,F\n100307,S500,M\n"),
        ],
        7,
        "has 100307 more than once in the column Subject",
    ),
    "a pheno.csv that states another sex": (
        lambda folder: [
            save(
                folder / "dataset_hcpRest_schaefer.pickle",
                [record("100307", RNG.normal(size=(1200, 400)), gender=0)],
            ),
            (folder / "pheno.csv").write_text("Subject,Release,Gender\n100307,Q1,M\n"),
        ],
        7,
        "says that 100307 is female, and",
    ),
    "two people under one identifier": (
        lambda folder: save(
            folder / "dataset_hcpRest_schaefer.pickle",
            [record("1", RNG.normal(size=(1200, 400)), gender=each) for each in (0, 1)],
        ),
        7,
        "runs of participant 1 are labelled female and male",
    ),
    "one identifier in two studies": (
        lambda folder: [
            save(folder / "dataset_hcpRest_schaefer.pickle", [record("100307", RNG.normal(size=(1200, 400)))]),
            save(folder / "dataset_ppmi_atlas-AAL-3V2.pickle", [record("100307", RNG.normal(size=(210, 166)))]),
        ],
        2,
        "100307 is a participant of HCP and of PPMI",
    ),
    "a truncated pickle": (
        lambda folder: (folder / "dataset_hcpTask_schaefer.pickle").write_bytes(pickle.dumps(runs_of("WM"))[:-5000]),
        2,
        "if the file is cut short, copy it again",
    ),
    "columns of unequal length": (
        lambda folder: save(
            folder / "x.pickle",
            {"roiTimeseries": [RNG.normal(size=(30, 5)), RNG.normal(size=(31, 5))], "subjectId": ["a", "b", "c"]},
        ),
        1,
        "has 2 series and 3 values of subjectId",
    ),
    "classes or participants that cannot be told apart": (
        lambda folder: save(
            folder / "x.pickle", {"a": [RNG.normal(size=(30, 5))] * 2, "b": [RNG.normal(size=(31, 5))]}
        ),
        2,
        "nothing says whether the keys are participants, classes or runs",
    ),
    "a record that is filed under another participant": (
        lambda folder: save(
            folder / "x.pickle",
            {"PD": {"a": record("a", RNG.normal(size=(30, 5)))}, "HC": {"b": record("c", RNG.normal(size=(31, 5)))}},
        ),
        2,
        "is filed under 'b' and its subjectId is 'c'",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence_and_the_right_exit_code(tmp_path, atlases, capfd, what):
    build, code, told = BAD[what]
    (tmp_path / "data").mkdir()
    build(tmp_path / "data")
    published = any(path.name.startswith("dataset_") for path in (tmp_path / "data").iterdir())
    options = atlases if published else ["--orientation", "time-roi"]
    assert main([str(tmp_path / "data"), str(tmp_path / "out"), *options]) == code
    out, err = capfd.readouterr()
    (line,) = [line for line in (out + err).splitlines() if told in line]
    assert line.startswith(("bids-neurossm: ", "failed: "))
    assert "Traceback" not in err
    if code != 1:
        assert not (tmp_path / "out").exists()


def test_a_given_table_that_states_another_sex_is_refused(tmp_path, atlases, capsys):
    path = save(tmp_path / "dataset_hcpRest_schaefer.pickle", [record(1, RNG.normal(size=(1200, 400)), gender=1)])
    (tmp_path / "labels.tsv").write_text("participant_id\tsex\nsub-1\tF\n")
    options = [*atlases, "--participants", str(tmp_path / "labels.tsv")]
    assert main([str(path), str(tmp_path / "out"), *options]) == 7
    assert "says that 1 is male, and" in capsys.readouterr().err
    (tmp_path / "labels.tsv").write_text("participant_id\tsex\nsub-1\t0\n")  # whose codes are not known
    assert main([str(path), str(tmp_path / "out"), *options]) == 0


def test_a_repetition_time_that_contradicts_the_protocol_is_refused(tmp_path, atlases, capsys):
    path = save(tmp_path / "dataset_hcpRest_schaefer.pickle", [record(1, RNG.normal(size=(1200, 400)))])
    assert main([str(path), str(tmp_path / "out"), *atlases, "--tr", "2"]) == 2
    assert "runs of the HCP have a repetition time of 0.72 s, and --tr says 2" in capsys.readouterr().err
