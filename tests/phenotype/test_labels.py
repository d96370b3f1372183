"""Labels: where they are looked for, how tables of labs are read, and what counts as a class."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bids_neurossm.errors import LabelError, UsageError
from bids_neurossm.phenotype.labels import find_table, label_datasets, parse_target, read_covariate, read_target


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
        assert find_table(parse_target("dx"), mine, [other.parent]) == mine

    def test_bids_dir_comes_before_the_raw_dataset(self, tmp_path: Path) -> None:
        bids, raw = table(tmp_path / "bids", "x"), table(tmp_path / "raw", "x")
        datasets = label_datasets(bids.parent, {"raw": raw.parent})
        assert find_table(parse_target("dx"), None, datasets) == bids
        bids.unlink()
        assert find_table(parse_target("dx"), None, datasets) == raw

    @pytest.mark.parametrize("key", ["SourceDatasets", "DatasetLinks"])
    @pytest.mark.parametrize("form", ["absolute", "uri", "relative"])
    def test_the_datasets_that_it_came_from_are_searched(self, tmp_path: Path, key: str, form: str) -> None:
        raw = table(tmp_path / "raw data", "x").parent
        derivatives = tmp_path / "fmriprep"
        url = {"absolute": str(raw), "uri": raw.as_uri(), "relative": "../raw data"}[form]
        value = [{"URL": url}, {"DOI": "10.1/2"}] if key == "SourceDatasets" else {"raw": url}
        table(derivatives, json.dumps({key: value}), "dataset_description.json")
        found = find_table(parse_target("dx"), None, label_datasets(derivatives, {}))
        assert found.resolve() == (raw / "participants.tsv").resolve()

    def test_a_phenotype_file_is_never_replaced_by_the_participants_file(self, tmp_path: Path) -> None:
        mine = table(tmp_path / "mine", "x")
        scores = table(tmp_path / "raw", "x", "phenotype/updrs.tsv")
        target = parse_target("phenotype/updrs:total")
        assert find_table(target, mine, [tmp_path / "bids", tmp_path / "raw"]) == scores

    def test_a_source_whose_place_is_not_recorded_is_asked_for(self, tmp_path: Path) -> None:
        results = tmp_path / "results"
        described = {"SourceDatasets": [{"Name": "fmriprep"}, {"URL": "../raw"}]}
        table(results, json.dumps(described), "dataset_description.json")
        with pytest.raises(LabelError) as caught:
            find_table(parse_target("dx"), None, [results])
        assert f"The place of fmriprep of {results} is not recorded: give it as -d NAME=PATH." in str(caught.value)

    def test_the_places_tried_are_all_named(self, tmp_path: Path) -> None:
        derivatives, raw = tmp_path / "fmriprep", tmp_path / "raw"
        table(derivatives, json.dumps({"SourceDatasets": [{"URL": "file:///data/source"}]}), "dataset_description.json")
        with pytest.raises(LabelError) as caught:
            find_table(parse_target("dx"), None, label_datasets(derivatives, {"raw": raw}))
        for place in (derivatives, raw, Path("/data/source")):
            assert str(place / "participants.tsv") in str(caught.value)
        assert "--participants-file TSV, or -d raw=PATH" in str(caught.value)
        assert caught.value.exit_code == 7


class TestReadTarget:
    @staticmethod
    def read(values: list[str | None], wanted: str = "auto", column: str = "score") -> tuple[pd.Series, str, list[str]]:
        people = pd.Series([f"{index + 1:02d}" for index in range(len(values))])
        return read_target(pd.Series(values, dtype=object), wanted, parse_target(column), people)

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
        assert self.read(values)[1] == expected

    def test_numbers_are_floats_and_missing_ones_are_nan(self) -> None:
        values, kind, _ = self.read(["20", None, "31.5"], "continuous")
        assert kind == "continuous"
        assert values.dtype == float
        assert values.dropna().tolist() == [20.0, 31.5]

    def test_the_user_may_overrule(self) -> None:
        assert self.read([str(20 + i) for i in range(40)], "class")[1] == "class"
        values, kind, _ = self.read(["1", "2"], "continuous", "dx")
        assert (kind, values.tolist()) == ("continuous", [1.0, 2.0])

    def test_text_is_no_continuous_target_and_the_participant_is_named(self) -> None:
        with pytest.raises(LabelError, match="--target score: sub-02 'old' is no number"):
            self.read(["20", "old", None], "continuous")

    @pytest.mark.parametrize("wanted", ["auto", "continuous"])
    @pytest.mark.parametrize("infinite", ["inf", "-Infinity", "1e400"])
    def test_infinity_is_no_target(self, wanted: str, infinite: str) -> None:
        with pytest.raises(LabelError, match=f"--target score: sub-04 '{infinite}' is no finite number"):
            self.read(["20", "30", "40", infinite], wanted)

    def test_one_odd_cell_does_not_turn_a_score_into_classes(self) -> None:
        scores = [str(20 + 0.5 * index) for index in range(40)]
        scores[4] = "-"
        with pytest.raises(LabelError, match="39 of 40 cells are numbers, but not sub-05 '-'"):
            self.read(scores)
        assert self.read([*scores[:4], *scores[5:]])[1] == "continuous"
        # --target-type class is trusted.
        assert self.read(scores, "class")[1] == "class"

    @pytest.mark.parametrize(
        ("numbers", "odd", "refused"),
        [(40, 10, True), (39, 10, False), (11, 1, True), (10, 1, False)],
        ids=["four fifths", "less than four fifths", "eleven different numbers", "ten different numbers"],
    )
    def test_where_a_column_of_numbers_ends(self, numbers: int, odd: int, refused: bool) -> None:
        values = [*map(str, range(numbers)), *(f"x{index}" for index in range(odd))] * 3
        if refused:
            with pytest.raises(LabelError, match="cells are numbers, but not"):
                self.read(values)
        else:
            assert self.read(values)[1] == "class"

    def test_a_short_scale_that_one_cell_makes_text_is_reported(self) -> None:
        _, kind, notes = self.read([*map(str, [22, 23, 24] * 10), "28?"])
        assert kind == "class"
        assert notes == ["--target score: read as text, since sub-31 '28?' is no number."]

    def test_texts_of_nearly_everybody_are_no_classes(self) -> None:
        with pytest.raises(LabelError, match=r"60 participants have 60 different texts .*sub-01 '0%'"):
            self.read([f"{index}%" for index in range(60)])

    def test_a_cell_counts_once_for_each_participant(self) -> None:
        people = pd.Series([f"{index:02d}" for index in range(20)] + ["20"] * 30)
        values = pd.Series([*map(str, range(20)), *(["odd"] * 30)], dtype=object)
        with pytest.raises(LabelError, match="but not sub-20 'odd'"):
            read_target(values, "auto", parse_target("score"), people)

    def test_decimal_commas_are_refused_with_the_cells(self) -> None:
        with pytest.raises(LabelError, match=r"sub-01 '20,5', sub-02 '21,5'.* have a decimal comma"):
            self.read([f"{20 + index},5" for index in range(30)])

    def test_ages_are_read_as_labs_write_them(self) -> None:
        ages = [str(20 + index) for index in range(40)]
        ages[:3] = ["89+", "045Y", "45,5"]
        values, kind, notes = self.read(ages, column="Age")
        assert (kind, values[:4].tolist()) == ("continuous", [89.0, 45.0, 45.5, 23.0])
        assert notes == [
            "--target Age: 3 cells read as ages in years, `89+` as 89, `045Y` as 45, `45,5` as 45.5.",
        ]

    def test_codes_of_classes_keep_their_text(self) -> None:
        codes = ["370143000", "370143009", "58214004"] * 12
        values, kind, _ = self.read(codes, "class", "dx")
        assert kind == "class"
        assert values.tolist() == codes

    def test_labels_that_differ_in_case_alone_are_two_classes_and_are_reported(self) -> None:
        values, _, notes = self.read(["AD"] * 5 + ["ad"] * 2 + ["HC"] * 5, column="dx")
        assert set(values) == {"AD", "ad", "HC"}
        assert notes == ["--target dx: 'AD' (5) and 'ad' (2) look alike and are two classes."]


class TestReadCovariate:
    PEOPLE = pd.Series([f"{index + 1:02d}" for index in range(30)])

    def read(self, values: list[str], name: str, named: bool) -> tuple[pd.Series | None, list[str]]:
        return read_covariate(pd.Series(values, dtype=object), name, self.PEOPLE[: len(values)], named=named)

    def test_one_odd_cell_does_not_turn_age_into_words(self) -> None:
        ages = [*map(str, range(20, 49)), "retired"]
        values, notes = self.read(ages, "age", named=False)
        assert values is None
        assert notes == ["Column age is not used: sub-30 'retired' is no number."]
        with pytest.raises(LabelError, match="--covariates age: 29 of 30 cells are numbers, but not sub-30 'retired'"):
            self.read(ages, "age", named=True)

    def test_a_capped_age_is_a_number(self) -> None:
        values, notes = self.read([*map(str, range(20, 49)), "89+"], "age", named=False)
        assert values is not None
        assert values.tolist() == [*map(float, range(20, 49)), 89.0]
        assert notes == ["Column age: 1 cell read as ages in years, `89+` as 89."]

    @pytest.mark.parametrize("cell", ["1e308", "inf"])
    def test_a_number_of_no_use_is_named(self, cell: str) -> None:
        values = [*map(str, [1, 2, 3] * 5), cell]
        assert self.read(values, "iq", named=False)[0] is None
        with pytest.raises(LabelError, match=f"--covariates iq: sub-16 '{cell}' is no usable number"):
            self.read(values, "iq", named=True)

    def test_age_groups_are_words_and_numbers_are_numbers(self) -> None:
        groups, _ = self.read(["20-30", "30-40"] * 10, "age", named=False)
        assert groups is not None
        assert set(groups) == {"20-30", "30-40"}
        numbers, _ = self.read(["1", "2"] * 10, "sex", named=False)
        assert numbers is not None
        assert numbers.dtype == float
