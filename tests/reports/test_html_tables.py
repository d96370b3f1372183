"""Tables and records as pages read and lay them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bids_neurossm.errors import RunError
from bids_neurossm.reports.html_tables import number, read_json, read_matrix, read_table, with_interval


def test_what_a_page_shows_of_tables_and_facts_has_no_control_characters(tmp_path: Path) -> None:
    (tmp_path / "metrics.tsv").write_text("label\tvalue\na\x1b[31m\t1.5\n", encoding="utf-8")
    table = read_table(tmp_path / "metrics.tsv")
    assert table is not None
    assert table["label"].to_list() == ["a\\u001b[31m"]
    assert table["value"].to_list() == [1.5]
    (tmp_path / "summary.json").write_text('{"classes": ["b\\u202e"]}', encoding="utf-8")
    assert read_json(tmp_path / "summary.json") == {"classes": ["b\\u202e"]}


def test_labels_stay_text_and_only_na_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "predictions.tsv"
    path.write_text("participant_id\tlabel\tfold\tvalue\n001\tNA\t1\tn/a\n002\tNone\tall\t0.5\n")
    table = read_table(path)
    assert table is not None
    assert table["participant_id"].tolist() == ["001", "002"]
    assert table["label"].tolist() == ["NA", "None"]
    assert table["fold"].tolist() == ["1", "all"]
    assert np.isnan(table["value"][0])


def test_a_matrix_is_read_with_or_without_a_column_of_names_and_must_be_square(tmp_path: Path) -> None:
    path = tmp_path / "relmat.tsv"
    for text in ("a\tb\n1\t0.5\n0.5\tn/a\n", "name\ta\tb\na\t1\t0.5\nb\t0.5\tn/a\n"):
        path.write_text(text)
        found = read_matrix(path)
        assert found is not None
        names, matrix = found
        assert names == ["a", "b"]
        np.testing.assert_array_equal(matrix.to_numpy(), [[1, 0.5], [0.5, np.nan]])
    path.write_text("a\tb\n1\t0.5\n")
    with pytest.raises(RunError, match="square"):
        read_matrix(path)


def test_numbers_are_laid_out_for_reading() -> None:
    assert [number(value) for value in (1234, -0.25, np.float64(0.001), True, "text", np.nan)] == [
        "1,234", "−0.25", "<0.01", "yes", "text", "–",
    ]  # fmt: skip
    assert with_interval(0.71234, 0.65, 0.77) == "0.712 [0.650, 0.770]"
    assert with_interval(0.71234, None, None) == "0.712"
