"""Tables of participants: how they are read, and how runs find their rows."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bids_neurossm.errors import LabelError
from bids_neurossm.phenotype.participants import ParticipantTable, join, read_participants, read_sessions


def table(folder: Path, text: str, name: str = "participants.tsv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> ParticipantTable:
    return read_participants(table(folder, text))


class TestRead:
    def test_spreadsheet_habits_do_no_harm(self, tmp_path: Path) -> None:
        path = tmp_path / "participants.tsv"
        rows = ("participant_id\t dx ", "sub-01\t PD ", "02\tn/a", "\t", "\t", "")
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
        content = read_participants(path)
        assert content.columns == ["participant_id", "dx"]
        assert content.rows["participant_id"].tolist() == ["01", "02"]
        values, notes = content.column("dx")
        assert values.tolist() == ["PD", None]
        assert notes == []

    def test_numbers_stay_text(self, tmp_path: Path) -> None:
        assert read(tmp_path, "participant_id\tdx\nsub-001\t01\n").rows.to_numpy().tolist() == [["001", "01"]]

    def test_the_real_table_of_abide(self, shared_data: Path) -> None:
        content = read_participants(shared_data / "abide" / "participants.tsv")
        assert len(content.rows) == 754
        assert content.rows["participant_id"].iloc[0] == "0051456"
        assert content.rows["site"].nunique() == 18

    def test_a_participant_may_be_called_na(self, tmp_path: Path) -> None:
        assert read(tmp_path, "participant_id\tdx\nsub-NA\tPD\n").rows["participant_id"].tolist() == ["NA"]

    def test_another_column_may_hold_the_identifiers(self, tmp_path: Path) -> None:
        path = table(tmp_path, "Subject,dx\n7,PD\n", "pheno.csv")
        with pytest.raises(
            LabelError, match=r"has the columns Subject, dx; a column participant_id is expected \(--id-"
        ):
            read_participants(path)
        assert read_participants(path, "Subject").rows["participant_id"].tolist() == ["7"]

    def test_rows_without_an_identifier_are_counted(self, tmp_path: Path) -> None:
        content = read(tmp_path, "participant_id\tage\nsub-01\t30\nn/a\t31\n\t30.5\n")
        assert content.rows["participant_id"].tolist() == ["01"]
        assert content.notes == ("participants.tsv: 2 rows without a participant_id were ignored.",)

    def test_a_class_called_none_is_a_class_where_the_sidecar_says_so(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\tother\nsub-01\tNone\tNone\nsub-02\tPD\t1\n")
        assert read_participants(path).column("dx")[0].tolist() == [None, "PD"]
        levels = {"dx": {"Levels": {"None": "healthy", "PD": "Parkinson's disease"}}, "age": {"Units": "years"}}
        table(tmp_path, json.dumps(levels), "participants.json")
        content = read_participants(path)
        assert content.column("dx")[0].tolist() == ["None", "PD"]
        values, notes = content.column("other")
        assert values.tolist() == [None, "1"]
        assert notes == ["participants.tsv, column other: 1 cell `None` read as missing."]

    def test_a_sidecar_that_cannot_be_read_is_not_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "participants.json").symlink_to("nowhere")
        with pytest.raises(LabelError, match=r"participants\.json"):
            read(tmp_path, "participant_id\tdx\nsub-01\tPD\n")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("participant_id\tdx\nsub-01\t1\n01\t2\n", "has 01 more than once"),
            ("participant_id\tsession_id\tdx\nsub-01\tses-1\t1\n01\t1\t2\n", "has 01 1 more than once"),
            ("participant_id,dx\nsub-01,1\n", "a column participant_id is expected"),
            ("participant_id\tdx\nsub-01\t1\nsub-02\t1\t2\n", "line 3, which begins with 'sub-02', has 3 cells"),
            ("participant_id\tdx\nsub-01\n", "line 2, which begins with 'sub-01', has 1 cells"),
        ],
    )
    def test_tables_that_cannot_be_used(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(LabelError, match=message) as caught:
            read(tmp_path, text)
        assert "participants.tsv" in str(caught.value)


class TestSessions:
    def test_one_table_of_all_participants(self, tmp_path: Path) -> None:
        table(tmp_path / "sub-01", "session_id\tscore\nses-1\t10\nses-2\t12\n", "sub-01_sessions.tsv")
        table(tmp_path / "sub-02", "session_id\tscore\tremark\nses-1\t20\tlate\n", "sub-02_sessions.tsv")
        found = read_sessions(tmp_path)
        assert found is not None
        assert found.rows[["participant_id", "session_id", "score"]].to_numpy().tolist() == [
            ["01", "1", "10"],
            ["01", "2", "12"],
            ["02", "1", "20"],
        ]
        assert found.rows["remark"].tolist() == ["", "", "late"]

    def test_a_dataset_without_them(self, tmp_path: Path) -> None:
        assert read_sessions(tmp_path) is None

    def test_one_without_session_id_is_refused(self, tmp_path: Path) -> None:
        table(tmp_path / "sub-01", "visit\tscore\n1\t10\n", "sub-01_sessions.tsv")
        with pytest.raises(LabelError, match=r"sub-01_sessions\.tsv has the columns .*; session_id is expected"):
            read_sessions(tmp_path)


class TestJoin:
    RUNS = pd.DataFrame({"participant_id": ["02", "01", "01"], "session_id": ["1", "1", "2"], "run": ["c", "a", "b"]})

    def test_runs_get_the_values_of_their_participant_in_their_order(self, tmp_path: Path) -> None:
        joined = join(self.RUNS, read(tmp_path, "participant_id\tdx\nsub-01\tPD\nsub-02\tHC\nsub-03\tHC\n"))
        values, _ = joined.values("dx")
        assert values is not None
        assert values.tolist() == ["HC", "PD", "PD"]
        assert joined.notes == ["1 participant of participants.tsv has no series in this analysis: 03."]

    def test_values_follow_the_session_where_the_table_has_sessions(self, tmp_path: Path) -> None:
        text = "participant_id\tsession_id\tage\nsub-01\tses-01\t60\nsub-01\tses-02\t61\n"
        joined = join(self.RUNS, read(tmp_path, text))
        values, _ = joined.values("age")
        assert values is not None
        assert values.tolist() == [None, "60", "61"]

    def test_a_row_without_a_session_holds_for_all_of_them(self, tmp_path: Path) -> None:
        text = "participant_id\tsession_id\tdx\nsub-01\tses-1\tPD\nsub-01\tn/a\tHC\nsub-02\t\tHC\n"
        values, _ = join(self.RUNS, read(tmp_path, text)).values("dx")
        assert values is not None
        assert values.tolist() == ["HC", "PD", "HC"]

    def test_not_in_the_table_and_missing_in_the_table_are_two_reasons(self, tmp_path: Path) -> None:
        joined = join(self.RUNS, read(tmp_path, "participant_id\tdx\nsub-01\tn/a\n"))
        assert joined.why_not_listed(0) == "participants.tsv does not list sub-02"
        assert joined.why_not_listed(1) is None
        text = "participant_id\tsession_id\tdx\nsub-01\tses-1\tPD\nsub-02\tses-1\tPD\n"
        joined = join(self.RUNS, read(tmp_path, text))
        assert joined.why_not_listed(2) == "participants.tsv lists sub-01, but not ses-2"

    def test_a_table_of_other_people_is_refused_with_some_of_each_side(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\n" + "".join(f"sub-x{n}\tPD\n" for n in range(1, 6)))
        with pytest.raises(LabelError) as caught:
            join(self.RUNS, read_participants(path))
        assert str(caught.value) == (
            f"{path} lists none of the participants of the series: they are of sub-02 ses-1, sub-01 ses-1, sub-01 "
            "ses-2; the table lists sub-x1, sub-x2, sub-x3 and 2 more. Give the table of these participants with "
            "--participants-file, or spell them alike."
        )

    def test_runs_without_a_session_take_a_value_that_all_sessions_share(self, tmp_path: Path) -> None:
        runs = self.RUNS.assign(session_id="").iloc[[0, 1]].reset_index(drop=True)
        text = (
            "participant_id\tsession_id\tsex\tage\nsub-01\tses-1\tF\t60\nsub-01\tses-2\tn/a\t61\nsub-02\tses-1\tM\t50\n"
        )
        joined = join(runs, read(tmp_path, text))
        values, _ = joined.values("sex")
        assert values is not None
        assert values.tolist() == ["M", "F"]
        with pytest.raises(LabelError, match=r"gives sub-01 several values of age in different sessions \(60, 61\)"):
            joined.values("age")
        values, notes = joined.values("age", named=False)
        assert values is None
        assert notes[0].endswith("and its series have no session: age is not used.")
