"""Which regions the columns of series are, and what the atlas is called where it does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.roi_sources import array_run

from bids_neurossm.errors import UsageError
from bids_neurossm.roi_arrays.atlas import Atlas, entities_for, find_atlas, kept_columns, read_names, region_names
from bids_neurossm.roi_arrays.options import ImportOptions

GAPS = Atlas("Five", {"atlas": "Five", "scale": "5"}, n_regions=5, absent=(2, 4))


def asked(folder: Path, **further: Any) -> ImportOptions:
    return ImportOptions(folder / "source", folder / "out", **further)


def test_a_known_atlas_tells_its_regions_and_the_numbers_that_are_none(tmp_path: Path) -> None:
    notes: list[str] = []
    found = find_atlas(asked(tmp_path), "AAL3", notes)
    assert (found.n_regions, found.absent, found.sizes) == (166, (35, 36, 81, 82), {166, 170})
    assert notes == []


def test_an_atlas_that_is_not_known_has_a_name_and_no_image(tmp_path: Path) -> None:
    notes: list[str] = []
    assert find_atlas(asked(tmp_path), "CC 200", notes) == Atlas("CC 200", {"atlas": "CC200"})
    assert find_atlas(asked(tmp_path), None, notes) == Atlas(None, {})
    assert notes == [
        "The atlas CC 200 has no image here, so there will be no maps.",
        "Without --atlas the regions have no image, and there will be no maps.",
    ]


def test_columns_for_numbers_that_are_no_label_are_left_out() -> None:
    assert kept_columns(GAPS, 7) == (0, 2, 4, 5, 6)
    assert kept_columns(GAPS, 5) is None
    assert kept_columns(GAPS, 6) is None


def test_an_atlas_of_another_size_does_not_go_by_the_name_of_the_known_one() -> None:
    notes: list[str] = []
    assert entities_for(GAPS, 5, notes) == entities_for(GAPS, 7, notes) == {"atlas": "Five", "scale": "5"}
    assert entities_for(Atlas("CC200", {"atlas": "CC200"}), 200, notes) == {"atlas": "CC200", "scale": "200"}
    assert notes == []
    known = Atlas("Schaefer400", {"atlas": "Schaefer2018", "scale": "400"}, n_regions=400)
    assert entities_for(known, 419, notes) == {"atlas": "Schaefer400", "scale": "419"}
    assert notes == [
        "The series have 419 regions and Schaefer400 has 400: they are not called by its names, and there will be no "
        "maps."
    ]


@pytest.mark.parametrize(
    "text", ["a\nb c\n", "name\na\nb c\n", "Region\r\na\r\n\r\nb c\r\n", "index\tname\n1\ta\n2\tb c\n"]
)
def test_names_are_a_list_or_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "regions.tsv").write_text(text)
    assert read_names(tmp_path / "regions.tsv") == ["a", "b c"]


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "regions.txt").write_text("a\nb\na\n")
    with pytest.raises(UsageError, match=r"has the name 'a' more than once"):
        read_names(tmp_path / "regions.txt")


def test_names_come_from_the_table_then_from_the_columns_and_else_are_numbers(tmp_path: Path) -> None:
    options, no_atlas = asked(tmp_path), Atlas(None, {})
    named, other, plain = array_run(columns=("x", "y")), array_run(columns=("x", "z")), array_run()
    assert region_names(options, [named], ["y", "z"], no_atlas, 2) == ["y", "z"]
    assert region_names(options, [named, named], None, no_atlas, 2) == ["x", "y"]
    assert region_names(options, [named, other], None, no_atlas, 2) == ["region-001", "region-002"]
    assert region_names(options, [plain], None, no_atlas, 1000)[::999] == ["region-0001", "region-1000"]
    with pytest.raises(UsageError, match="names 1 regions; the series have 2"):
        region_names(options, [named], ["x"], no_atlas, 2)
    with pytest.raises(UsageError, match=r"in another order than the columns of x\.npz"):
        region_names(options, [named], ["y", "x"], no_atlas, 2)
