"""Labels: where they are looked for, how tables of labs are read, and what counts as a class."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bids_neurossm.dataset.labels import find_table, join, parse_target, read_participants, read_target
from bids_neurossm.errors import LabelError, UsageError


def table(folder: Path, text: str, name: str = "participants.tsv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestTarget:
    def test_a_column_of_participants(self) -> None:
        target = parse_target("dx")
        assert (target.kind, target.column, target.file, target.level) == ("participants", "dx", None, "participant")

    @pytest.mark.parametrize("text", ["phenotype/updrs:total", "phenotype/updrs.tsv:total"])
    def test_a_column_of_a_phenotype_file(self, text: str) -> None:
        target = parse_target(text)
        assert (target.kind, target.column, target.file) == ("phenotype", "total", "updrs.tsv")
        assert target.level == "participant"

    def test_an_entity_labels_the_run(self) -> None:
        target = parse_target("entity:task")
        assert (target.kind, target.column, target.level) == ("entity", "task", "run")

    @pytest.mark.parametrize("text", ["", "phenotype/updrs", "a:b", "phenotype/../secret:x", "dir/file"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match="--target"):
            parse_target(text)


class TestFindTable:
    def test_the_file_of_the_user_comes_first(self, tmp_path: Path) -> None:
        mine, other = table(tmp_path / "mine", "x"), table(tmp_path / "bids", "x")
        assert find_table(parse_target("dx"), mine, other.parent, {}) == mine

    def test_bids_dir_comes_before_the_raw_dataset(self, tmp_path: Path) -> None:
        bids, raw = table(tmp_path / "bids", "x"), table(tmp_path / "raw", "x")
        assert find_table(parse_target("dx"), None, bids.parent, {"raw": raw.parent}) == bids
        bids.unlink()
        assert find_table(parse_target("dx"), None, bids.parent, {"raw": raw.parent}) == raw

    @pytest.mark.parametrize("key", ["SourceDatasets", "DatasetLinks"])
    @pytest.mark.parametrize("form", ["absolute", "uri", "relative"])
    def test_the_datasets_that_it_came_from_are_searched(self, tmp_path: Path, key: str, form: str) -> None:
        raw = table(tmp_path / "raw data", "x").parent
        derivatives = tmp_path / "fmriprep"
        url = {"absolute": str(raw), "uri": raw.as_uri(), "relative": "../raw data"}[form]
        value = [{"URL": url}, {"DOI": "10.1/2"}] if key == "SourceDatasets" else {"raw": url}
        table(derivatives, json.dumps({key: value}), "dataset_description.json")
        assert find_table(parse_target("dx"), None, derivatives, {}).resolve() == (raw / "participants.tsv").resolve()

    def test_a_phenotype_file_is_never_replaced_by_the_participants_file(self, tmp_path: Path) -> None:
        mine = table(tmp_path / "mine", "x")
        scores = table(tmp_path / "raw", "x", "phenotype/updrs.tsv")
        target = parse_target("phenotype/updrs:total")
        assert find_table(target, mine, tmp_path / "bids", {"raw": tmp_path / "raw"}) == scores

    def test_the_places_tried_are_all_named(self, tmp_path: Path) -> None:
        derivatives, raw = tmp_path / "fmriprep", tmp_path / "raw"
        table(derivatives, json.dumps({"SourceDatasets": [{"URL": "file:///data/source"}]}), "dataset_description.json")
        with pytest.raises(LabelError) as caught:
            find_table(parse_target("dx"), None, derivatives, {"raw": raw})
        for place in (derivatives, raw, Path("/data/source")):
            assert str(place / "participants.tsv") in str(caught.value)
        assert "--participants-file TSV, or -d raw=PATH" in str(caught.value)
        assert caught.value.exit_code == 7


class TestReadParticipants:
    def test_spreadsheet_habits_do_no_harm(self, tmp_path: Path) -> None:
        path = tmp_path / "participants.tsv"
        rows = ("participant_id\t dx ", "sub-01\t PD ", "02\tn/a", "\t", "\t", "")
        path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
        content = read_participants(path)
        assert list(content.columns) == ["participant_id", "dx"]
        assert content["participant_id"].tolist() == ["01", "02"]
        assert content["dx"].iloc[0] == "PD"
        assert pd.isna(content["dx"].iloc[1])

    @pytest.mark.parametrize("missing", ["n/a", "N/A", "NA", "NaN", "nan", "", " ", "-9999"])
    def test_spellings_of_a_missing_value(self, tmp_path: Path, missing: str) -> None:
        content = read_participants(table(tmp_path, f"participant_id\tage\tsex\nsub-01\t{missing}\tF\n"))
        assert pd.isna(content["age"].iloc[0])

    def test_numbers_stay_text(self, tmp_path: Path) -> None:
        content = read_participants(table(tmp_path, "participant_id\tdx\nsub-001\t01\n"))
        assert content.to_numpy().tolist() == [["001", "01"]]

    def test_the_real_table_of_abide(self, shared_data: Path) -> None:
        content = read_participants(shared_data / "abide" / "participants.tsv")
        assert len(content) == 754
        assert content["participant_id"].iloc[0] == "0051456"
        assert read_target(content["dx"], "auto", "dx")[1] == "class"
        assert read_target(content["sex"], "auto", "sex")[1] == "class"
        assert read_target(content["age"], "auto", "age")[1] == "continuous"
        assert content["site"].nunique() == 18

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("participant_id\tdx\nsub-01\t1\n01\t2\n", "has 01 more than once"),
            ("participant_id\tsession_id\tdx\nsub-01\tses-1\t1\n01\t1\t2\n", "has 01 1 more than once"),
            ("subject\tdx\nsub-01\t1\n", "has the columns subject, dx; .*participant_id is expected"),
            ("participant_id,dx\nsub-01,1\n", "a tab-separated column participant_id is expected"),
            ("participant_id\tdx\nsub-01\t1\nsub-02\t1\t2\n", "is not a readable table"),
            ("participant_id\tdx\nsub-01\t1\t2\nsub-02\t1\t2\n", "is not a readable table .*Length of header"),
            ("", "is not a readable table"),
        ],
    )
    def test_tables_that_can_not_be_used(self, tmp_path: Path, text: str, message: str) -> None:
        with pytest.raises(LabelError, match=message) as caught:
            read_participants(table(tmp_path, text))
        assert "participants.tsv" in str(caught.value)

    def test_other_encodings_and_absent_files(self, tmp_path: Path) -> None:
        (tmp_path / "participants.tsv").write_bytes("participant_id\tname\nsub-01\tJosé\n".encode("latin-1"))
        for path in (tmp_path / "participants.tsv", tmp_path / "absent.tsv"):
            with pytest.raises(LabelError, match="is not a readable table"):
                read_participants(path)


class TestJoin:
    RUNS = pd.DataFrame({"participant_id": ["02", "01", "01"], "session_id": ["1", "1", "2"], "run": ["c", "a", "b"]})

    def test_runs_get_the_values_of_their_participant_in_their_order(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\tage\nsub-01\tPD\t60\nsub-02\tHC\t50\nsub-03\tHC\t40\n")
        joined = join(self.RUNS, read_participants(path), ["dx", "age", "dx"], path)
        assert joined["run"].tolist() == ["c", "a", "b"]
        assert joined["dx"].tolist() == ["HC", "PD", "PD"]
        assert joined["age"].tolist() == ["50", "60", "60"]

    def test_values_follow_the_session_where_the_table_has_sessions(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tsession_id\tage\nsub-01\tses-1\t60\nsub-01\tses-2\t61\n")
        joined = join(self.RUNS, read_participants(path), ["age"], path)
        assert joined["age"].tolist()[1:] == ["60", "61"]
        assert pd.isna(joined["age"].iloc[0])

    def test_a_participant_without_a_row_is_missing(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\nsub-01\tPD\n")
        joined = join(self.RUNS, read_participants(path), ["dx"], path)
        assert joined["dx"].isna().tolist() == [True, False, False]

    def test_a_table_of_other_people_is_refused_with_some_of_each_side(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\n" + "".join(f"sub-{n}\tPD\n" for n in range(1, 6)))
        with pytest.raises(LabelError) as caught:
            join(self.RUNS, read_participants(path), ["dx"], path)
        assert str(caught.value) == (
            f"{path} holds none of the participants of the series: the series are of sub-02, sub-01; the table lists "
            "sub-1, sub-2, sub-3 and 2 more. Give the table of these participants with --participants-file, or spell "
            "them alike."
        )
        path = table(tmp_path, "participant_id\tsession_id\tdx\nsub-01\tses-baseline\tPD\n")
        sides = r"of sub-02 ses-1, sub-01 ses-1, sub-01 ses-2; the table lists sub-01 ses-baseline\."
        with pytest.raises(LabelError, match=sides):
            join(self.RUNS, read_participants(path), ["dx"], path)

    def test_runs_without_a_session_take_a_value_that_all_sessions_share(self, tmp_path: Path) -> None:
        runs = self.RUNS.assign(session_id="").iloc[[0, 1]]
        text = (
            "participant_id\tsession_id\tsex\tage\nsub-01\tses-1\tF\t60\nsub-01\tses-2\tF\t61\nsub-02\tses-1\tM\t50\n"
        )
        path = table(tmp_path, text)
        assert join(runs, read_participants(path), ["sex"], path)["sex"].tolist() == ["M", "F"]
        with pytest.raises(LabelError, match="gives sub-01 different values in different sessions"):
            join(runs, read_participants(path), ["age"], path)

    def test_an_unknown_column_lists_those_that_are_there(self, tmp_path: Path) -> None:
        path = table(tmp_path, "participant_id\tdx\tage\nsub-01\tPD\t60\n")
        with pytest.raises(LabelError, match=r"has no column 'sex'; it has participant_id, dx, age\."):
            join(self.RUNS, read_participants(path), ["sex"], path)


class TestReadTarget:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["1", "2", "1", "2"], "class"),  # a diagnosis coded 1 and 2
            (["0", "1", None], "class"),
            (["PD", "HC", None], "class"),
            (["0", "1", "2"] * 10, "class"),  # three groups, ten each
            ([str(20 + i % 40) for i in range(80)], "continuous"),  # age in whole years
            (["21.5", "30.25", "44.0"], "continuous"),
            (["1", "2", "3"], "continuous"),  # three values that come once each
            (["0.5", "1.5", "2.5"] * 20, "continuous"),
        ],
    )
    def test_what_auto_takes_it_for(self, values: list[str | None], expected: str) -> None:
        assert read_target(pd.Series(values, dtype=object), "auto", "x")[1] == expected

    def test_one_and_one_point_zero_are_one_class(self) -> None:
        values, kind = read_target(pd.Series(["1", "1.0", "2", None], dtype=object), "auto", "dx")
        assert kind == "class"
        assert values[:3].tolist() == ["1", "1", "2"]
        assert pd.isna(values[3])

    def test_numbers_are_floats_and_missing_ones_are_nan(self) -> None:
        values, kind = read_target(pd.Series(["20", None, "31.5"], dtype=object), "continuous", "age")
        assert kind == "continuous"
        assert values.dtype == float
        assert values.dropna().tolist() == [20.0, 31.5]

    def test_the_user_may_overrule(self) -> None:
        years = pd.Series([str(20 + i) for i in range(40)], dtype=object)
        assert read_target(years, "class", "age")[1] == "class"
        values, kind = read_target(pd.Series(["1", "2"], dtype=object), "continuous", "dx")
        assert (kind, values.tolist()) == ("continuous", [1.0, 2.0])

    def test_text_is_no_continuous_target(self) -> None:
        with pytest.raises(LabelError, match="--target age: 'old' is not a number"):
            read_target(pd.Series(["20", "old", None], dtype=object), "continuous", "age")

    @pytest.mark.parametrize("wanted", ["auto", "continuous"])
    @pytest.mark.parametrize("infinite", ["inf", "-Infinity", "1e400"])
    def test_infinity_is_no_target(self, wanted: str, infinite: str) -> None:
        values = pd.Series(["20", "30", "40", infinite], dtype=object)
        with pytest.raises(LabelError, match="--target age: a value is infinite"):
            read_target(values, wanted, "age")
