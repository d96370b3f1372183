"""Tables of participants as labs keep them, through the group command: the right label, or a sentence with the cell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.resting import resting_series

from bids_neurossm.cli.parser import parse_config
from bids_neurossm.cli.run import main
from bids_neurossm.errors import LabelError, NoInputError
from bids_neurossm.planning.group import GroupPlan, plan_group

LABELS = [f"{number:02d}" for number in range(1, 41)]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resting_series(tmp_path_factory.mktemp("labels") / "series", LABELS)


def table(path: Path, columns: dict[str, Sequence[Any]], separator: str = "\t") -> Path:
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def command(dataset: Path, out: Path, *options: str | Path) -> list[str]:
    fixed = ("--model", "pearson-connectivity", "--baselines", "none", "--no-cpa", "--nprocs", "1", "--folds", "2")
    return [str(dataset), str(out), "group", *fixed, *map(str, options)]


def plan(dataset: Path, out: Path, *options: str | Path) -> GroupPlan:
    return plan_group(parse_config(command(dataset, out, *options)))


def labels_of(planned: GroupPlan) -> dict[str, str]:
    return {row["participant_id"]: row["label"] for row in planned.cohort.runs}


def diagnosis(labels: Sequence[str] = LABELS) -> list[str]:
    return [("con", "pat")[number % 2] for number in range(len(labels))]


TRUTH = dict(zip(LABELS, diagnosis(), strict=True))


def exported(folder: Path, program: str) -> Path:
    """Write the same forty people as a spreadsheet or a statistics program would: age and sex known but for one."""
    age = [str(20 + number) for number in range(40)]
    sex = [("M", "F")[(number // 2) % 2] for number in range(40)]
    path = folder / f"{program}.{'csv' if 'csv' in program else 'tsv'}"
    ids = [f"sub-{label}" for label in LABELS]
    missing = {"excel": "#N/A", "excel csv": "", "r": "NA", "r csv": "NA", "spss": " ", "python": ""}[program]
    age[7] = missing
    rows = list(zip(ids, diagnosis(), age, sex, strict=True))
    names = ("participant_id", "dx", "age", "sex")
    if program == "excel":  # Unicode-free "Text (tab delimited)"
        text = "\r\n".join("\t".join(row) for row in (names, *rows)) + "\r\n"
        path.write_bytes(text.encode())
    elif program == "excel csv":  # a locale with a decimal comma
        path.write_bytes(b"\xef\xbb\xbf" + ("\r\n".join(";".join(row) for row in (names, *rows)) + "\r\n").encode())
    elif program == "r":  # write.table(x, sep = "\t", row.names = FALSE)
        quoted = ["\t".join(f'"{name}"' for name in names)]
        quoted += [f'"{who}"\t"{dx}"\t{years}\t"{mf}"' for who, dx, years, mf in rows]
        path.write_text("\n".join(quoted) + "\n")
    elif program == "r csv":  # write.csv(x)
        quoted = [",".join(['""', *(f'"{name}"' for name in names)])]
        quoted += [f'"{index}","{who}","{dx}",{years},"{mf}"' for index, (who, dx, years, mf) in enumerate(rows, 1)]
        path.write_text("\n".join(quoted) + "\n")
    elif program == "spss":  # save translate /type = tab: padded strings, numbers with decimals
        padded = [
            f"{who:<12}\t{dx:<8}\t{years + '.00' if years.strip() else years}\t{mf}" for who, dx, years, mf in rows
        ]
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(["\t".join(names), *padded]).encode() + b"\r\n")
    else:  # DataFrame.to_csv(sep="\t")
        path.write_text(
            "\t".join(["", *names]) + "\n" + "".join(f"{i}\t" + "\t".join(r) + "\n" for i, r in enumerate(rows))
        )
    return path


@pytest.mark.parametrize("program", ["excel", "excel csv", "r", "r csv", "spss", "python"])
def test_every_export_of_one_table_is_one_analysis(cohort: Path, tmp_path: Path, program: str) -> None:
    planned = plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", exported(tmp_path, program))
    assert labels_of(planned) == TRUTH
    assert planned.analysis.covariates == ("age", "sex")
    ages = [row["age"] for row in planned.cohort.runs]
    assert np.isnan(ages[7])
    assert np.delete(ages, 7).tolist() == [20.0 + number for number in range(40) if number != 7]
    assert [row["sex"] for row in planned.cohort.runs[:4]] == ["M", "M", "F", "F"]


def test_row_names_of_r_are_refused_with_the_remedy(cohort: Path, tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("participant_id\tdx\n" + "".join(f"{i}\tsub-{each}\tcon\n" for i, each in enumerate(LABELS, 1)))
    with pytest.raises(LabelError, match=r"line 2, .* has 3 cells, the first line has 2.*row\.names = FALSE"):
        plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", path)


def test_zeros_that_a_spreadsheet_lost_cost_nobody_and_are_reported(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = table(tmp_path / "p.tsv", {"participant_id": [int(each) for each in LABELS], "dx": diagnosis()})
    planned = plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people)
    assert labels_of(planned) == TRUTH
    out = tmp_path / "out"
    assert main(command(cohort, out, "--target", "dx", "--participants-file", people, "--analysis-id", "x")) == 0
    assert "9 participants are spelled differently in the series and in p.tsv" in " ".join(
        capsys.readouterr().out.split()
    )
    listed = pd.read_csv(out / "group" / "x" / "exclusions.tsv", sep="\t", dtype=str, keep_default_na=False)
    assert listed["excluded"].tolist() == ["no"] * 9
    assert listed["participant_id"].tolist() == LABELS[:9]
    assert listed["detail"].iloc[0] == "p.tsv lists it as 1"
    report = (out / "group_x.html").read_text()
    assert "identifiers are spelled differently" in report
    assert "p.tsv lists it as 1" in report
    # With --exact-ids the nine are left out, because they are not in the table.
    exact = plan(cohort, tmp_path / "exact", "--target", "dx", "--participants-file", people, "--exact-ids")
    assert labels_of(exact) == {each: TRUTH[each] for each in LABELS[9:]}
    assert [(row["reason"], row["detail"]) for row in exact.cohort.excluded[:1]] == [
        ("not in the table", "p.tsv does not list sub-01")
    ]


def test_1_and_01_are_two_people(tmp_path: Path) -> None:
    dataset = resting_series(tmp_path / "series", ["1", "01", "2", "3"])
    people = table(tmp_path / "p.tsv", {"participant_id": ["1", "2", "3"], "dx": ["a", "b", "a"]})
    with pytest.raises(LabelError, match=r"the series has both (1 and 01|01 and 1)"):
        plan(dataset, tmp_path / "out", "--target", "dx", "--participants-file", people)
    chosen = ["--participant-label", "01", "2", "3"]  # sub-1 is still there, and the table means it
    with pytest.raises(LabelError, match=r"the series has both (1 and 01|01 and 1)"):
        plan(dataset, tmp_path / "out", "--target", "dx", "--participants-file", people, *chosen)


def test_a_missing_value_and_a_missing_row_are_two_reasons(cohort: Path, tmp_path: Path) -> None:
    values = ["n/a", *diagnosis()[1:-1]]
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS[:-1], "dx": values})
    planned = plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people)
    assert [(row["run"], row["reason"], row["detail"]) for row in planned.cohort.excluded] == [
        ("sub-01_task-rest", "no label", "dx is missing in p.tsv"),
        ("sub-40_task-rest", "not in the table", "p.tsv does not list sub-40"),
    ]
    assert "1 participant of the series is not in p.tsv: 40." in planned.cohort.extra["notes"]


def test_a_class_called_none_goes_all_the_way_where_the_sidecar_declares_it(cohort: Path, tmp_path: Path) -> None:
    values = [("None", "NA")[number % 2] for number in range(40)]
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": values})
    options = ["--target", "dx", "--participants-file", people, "--analysis-id", "x"]
    with pytest.raises(LabelError, match="None of the 40 runs can be used"):
        plan(cohort, tmp_path / "none", *options)
    people.with_suffix(".json").write_text(json.dumps({"dx": {"Levels": {"None": "healthy", "NA": "not anxious"}}}))
    out = tmp_path / "out"
    assert main(command(cohort, out, *options)) == 0
    predictions = pd.read_csv(out / "group" / "x" / "predictions.tsv", sep="\t", dtype=str, keep_default_na=False)
    found = dict(zip(predictions["participant_id"], predictions["label"], strict=True))
    assert found == dict(zip(LABELS, values, strict=True))
    assert {"probability_None", "probability_NA"} <= set(predictions.columns)


def test_missing_values_of_the_users_own(cohort: Path, tmp_path: Path) -> None:
    values = ["-" if number < 6 else each for number, each in enumerate(diagnosis())]
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": values})
    options = ["--target", "dx", "--participants-file", people]
    planned = plan(cohort, tmp_path / "out", *options, "--missing-values", "-")
    assert planned.cohort.classes == ["con", "pat"]
    assert len(planned.cohort.runs) == 34


def test_age_and_sex_count_under_any_name(cohort: Path, tmp_path: Path) -> None:
    ages, sexes = [30 + number for number in range(40)], ["M", "F"] * 20
    columns = {"participant_id": LABELS, "dx": diagnosis(), "Age": ages, "Gender": sexes}
    planned = plan(cohort, tmp_path / "a", "--target", "dx", "--participants-file", table(tmp_path / "a.tsv", columns))
    assert planned.analysis.covariates == ("age", "sex")
    assert repr(planned.cohort.runs[0]["age"]) == "30", "whole numbers are integers, however they are written"
    assert planned.cohort.runs[1]["sex"] == "F"
    written = {**columns, "Age": [f"{age}.0" for age in ages]}
    again = plan(cohort, tmp_path / "c", "--target", "dx", "--participants-file", table(tmp_path / "c.tsv", written))
    assert repr(again.cohort.runs) == repr(planned.cohort.runs)
    gap = {**columns, "Age": ["n/a", *ages[1:]]}
    planned = plan(cohort, tmp_path / "d", "--target", "dx", "--participants-file", table(tmp_path / "d.tsv", gap))
    assert repr(planned.cohort.runs[1]["age"]) == "31.0"
    both = {**columns, "sex": sexes[::-1]}
    planned = plan(cohort, tmp_path / "b", "--target", "dx", "--participants-file", table(tmp_path / "b.tsv", both))
    assert planned.cohort.runs[0]["sex"] == "F"
    assert "The column sex is taken as sex; Gender is not used." in planned.cohort.extra["notes"]


@pytest.mark.parametrize(("target", "other"), [("sex", "gender"), ("Gender", "sex"), ("Age", "age")])
def test_the_target_under_another_name_is_no_covariate(cohort: Path, tmp_path: Path, target: str, other: str) -> None:
    values = ["M", "F"] * 20 if target != "Age" else list(range(20, 60))
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, target: values, other: values})
    planned = plan(cohort, tmp_path / "out", "--target", target, "--participants-file", people)
    assert planned.analysis.covariates == ()


def test_an_odd_age_is_set_aside_where_nobody_asked_for_it_and_named_where_somebody_did(
    cohort: Path, tmp_path: Path
) -> None:
    ages = [*map(str, range(20, 59)), "retired"]
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": diagnosis(), "age": ages})
    planned = plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people)
    assert planned.analysis.covariates == ()
    assert "Column age is not used: sub-40 'retired' is no number." in planned.cohort.extra["notes"]
    with pytest.raises(LabelError, match="--covariates age: 39 of 40 cells are numbers, but not sub-40 'retired'"):
        plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people, "--covariates", "age")
    with pytest.raises(LabelError, match="--target age: sub-40 'retired' is no number"):
        plan(cohort, tmp_path / "out", "--target", "age", "--target-type", "continuous", "--participants-file", people)


def test_labels_of_sessions(tmp_path: Path) -> None:
    dataset = resting_series(tmp_path / "series", LABELS[:8], ("1", "2"))
    raw = tmp_path / "raw"
    table(raw / "participants.tsv", {"participant_id": [f"sub-{each}" for each in LABELS[:8]], "sex": ["M", "F"] * 4})
    for number, label in enumerate(LABELS[:8]):
        scores = {"session_id": ["ses-1", "ses-2"], "score": [10.5 + number, 20.5 + number]}
        table(raw / f"sub-{label}" / f"sub-{label}_sessions.tsv", scores)
    planned = plan(
        dataset, tmp_path / "out", "--target", "score", "-d", f"raw={raw}", "--model", "pearson-connectivity"
    )
    assert [(row["run"], row["label"]) for row in planned.cohort.runs[:3]] == [
        ("sub-01_ses-1_task-rest", 10.5),
        ("sub-01_ses-2_task-rest", 20.5),
        ("sub-02_ses-1_task-rest", 11.5),
    ]
    assert planned.analysis.covariates == ("sex",)


def test_a_table_with_sessions_against_series_without(cohort: Path, tmp_path: Path) -> None:
    twice = [each for each in LABELS for _ in range(2)]
    columns = {
        "participant_id": twice,
        "session_id": ["ses-1", "ses-2"] * 40,
        "dx": [each for each in diagnosis() for _ in range(2)],
        "score": [f"{number / 2}" for number in range(80)],
    }
    people = table(tmp_path / "p.tsv", columns)
    assert labels_of(plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people)) == TRUTH
    with pytest.raises(LabelError, match=r"gives sub-01 several values of score in different sessions \(0\.0, 0\.5\)"):
        plan(cohort, tmp_path / "out", "--target", "score", "--participants-file", people)


def test_own_names_of_the_program_are_no_covariates(cohort: Path, tmp_path: Path) -> None:
    columns = {"participant_id": LABELS, "dx": diagnosis(), "group": [f"g{n // 4}" for n in range(40)]}
    people = table(tmp_path / "p.tsv", columns)
    with pytest.raises(LabelError, match="--covariates group: a column of that name is kept for every run"):
        plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people, "--covariates", "group")
    planned = plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people, "--group-by", "group")
    assert {row["group"] for row in planned.cohort.runs} == {f"g{number}" for number in range(10)}


def test_participants_who_are_nowhere_are_refused(cohort: Path, tmp_path: Path) -> None:
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": diagnosis()})
    options = ["--target", "dx", "--participants-file", people]
    with pytest.raises(NoInputError, match="has no participant 99; there are 01, 02"):
        plan(cohort, tmp_path / "out", *options, "--participant-label", "99", *LABELS[:8])
    planned = plan(cohort, tmp_path / "out", *options, "--exclude-participant-label", "1")
    assert len(planned.cohort.runs) == 40
    assert any("--exclude-participant-label 1 leaves out nobody" in note for note in planned.cohort.extra["notes"])
    with pytest.raises(NoInputError, match="match the options; there are tasks rest"):
        plan(cohort, tmp_path / "out", *options, "--task-id", "Rest")


def test_a_diagnosis_that_changes_between_sessions_is_refused_before_training(tmp_path: Path) -> None:
    dataset = resting_series(tmp_path / "series", LABELS[:8], ("1", "2"))
    columns = {
        "participant_id": [each for each in LABELS[:8] for _ in range(2)],
        "session_id": ["1", "2"] * 8,
        "dx": ["con", "con", "pat", "con"] * 4,
    }
    people = table(tmp_path / "p.tsv", columns)
    options = ["--target", "dx", "--participants-file", people]
    with pytest.raises(LabelError, match=r"changes between sessions of 4 participants, 02, 04, 06, 08, .*--session-id"):
        plan(dataset, tmp_path / "out", *options)
    assert len(plan(dataset, tmp_path / "out", *options, "--session-id", "1").cohort.runs) == 8


def test_families_that_differ_only_in_spelling(cohort: Path, tmp_path: Path) -> None:
    families = [f"{number // 2}" + (".0" if number % 2 else "") for number in range(40)]
    sites = ["UCLA", "ucla", "NYU", "NYU"] * 10
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": diagnosis(), "fam": families, "site": sites})
    options = ["--target", "dx", "--participants-file", people, "--group-by", "fam"]
    planned = plan(cohort, tmp_path / "out", *options)
    assert len({row["group"] for row in planned.cohort.runs}) == 20
    notes = planned.cohort.extra["notes"]
    assert "Column site: 'UCLA' (10) and 'ucla' (10) look alike and are two groups." in notes


def test_age_and_site_of_a_phenotype_file_are_taken_from_participants(cohort: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    table(raw / "phenotype" / "updrs.tsv", {"participant_id": LABELS, "total": [f"{n}.5" for n in range(40)]})
    table(raw / "participants.tsv", {"participant_id": LABELS, "age": range(30, 70), "site": ["A", "B"] * 20})
    planned = plan(cohort, tmp_path / "out", "--target", "phenotype/updrs:total", "-d", f"raw={raw}")
    assert planned.analysis.covariates == ("age", "site")
    assert (planned.cohort.runs[3]["label"], planned.cohort.runs[3]["age"]) == (3.5, 33.0)


def test_a_class_without_letters_says_how_to_call_it_missing(cohort: Path, tmp_path: Path) -> None:
    people = table(tmp_path / "p.tsv", {"participant_id": LABELS, "dx": ["-", *diagnosis()[1:]]})
    with pytest.raises(LabelError, match=r"The class '-' has no letter .*if it means missing: --missing-values '-'"):
        plan(cohort, tmp_path / "out", "--target", "dx", "--participants-file", people)
