"""What is asked of an import checks itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.options import ImportOptions


def test_prefixes_of_labels_are_tolerated(tmp_path: Path) -> None:
    options = ImportOptions(tmp_path, tmp_path / "out", space="space-T1w", task="task-rest", desc="desc-clean")
    assert (options.space, options.task, options.desc) == ("T1w", "rest", "clean")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"desc": "a_b"}, "--desc 'a_b' is not a BIDS label"),
        ({"task": "task-"}, "--task 'task-' is not a BIDS label"),
        ({"repetition_time": float("inf")}, "--tr inf: a positive number of seconds is expected"),
        ({"repetition_time": -2.0}, r"--tr -2\.0: a positive number of seconds is expected"),
        ({"regions": Path("nowhere.tsv")}, r"--regions nowhere\.tsv: there is no such file"),
        ({"task_codes": Path("nowhere.tsv")}, r"--task-codes nowhere\.tsv: there is no such file"),
    ],
)
def test_an_impossible_value_is_refused_by_name(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        ImportOptions(tmp_path, tmp_path / "out", **values)


def test_a_link_to_the_source_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "source")
    with pytest.raises(UsageError, match="the input is never written to"):
        ImportOptions(tmp_path / "source", tmp_path / "link")
